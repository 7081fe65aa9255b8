# SPDX-License-Identifier: Apache-2.0
"""The exception tree.

Everything the agent raises on purpose is an OvnBpfError.  The daemon turns a
StartupError into one line and an exit status; any other costs only the flow,
row or packet that it is about, which is counted and logged.
"""

from __future__ import annotations


class OvnBpfError(Exception):
    """Root of the tree; its text is written for an operator."""


class StartupError(OvnBpfError):
    """The process cannot run: bad options, no kernel support, second instance."""


class DatabaseError(OvnBpfError):
    """An OVSDB server said something that we cannot use, or refused a write."""


class LangError(OvnBpfError):
    """A match or action that is not valid OVN language.

    text: what was parsed; position: offset in characters where it went wrong.
    """

    def __init__(self, message: str, text: str, position: int) -> None:
        super().__init__(f"{message} at column {position + 1} of {text!r}")
        self.message = message
        self.text = text
        self.position = position


class UnsupportedError(OvnBpfError):
    """Valid OVN that this version cannot carry out; the message names the verb."""


class DataPlaneError(OvnBpfError):
    """The kernel refused a program, a map or an attachment, or a table is full."""


class MapFullError(DataPlaneError):
    """A table is full; the text names its map."""


class SandboxError(OvnBpfError):
    """The sandbox cannot do what was asked: bad topology, a daemon that fails to start."""
