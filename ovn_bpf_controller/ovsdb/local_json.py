# SPDX-License-Identifier: Apache-2.0
"""Our framing in the place of python-ovs' JSON parser, for its IDL of the local database.

python-ovs makes a Python call for each character unless its C extension is there,
which wheels have not: that was a tenth of an agent's start.  local.py installs it.
"""

from __future__ import annotations

from typing import Any

import ovs.json

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.framing import Framer


class Parser:
    """What ovs.jsonrpc wants of an ovs.json.Parser: one value out of pieces of text."""

    def __init__(self) -> None:
        self._framer = Framer()
        self._result: Any = None

    def feed(self, text: str) -> int:
        """Takes text in; returns how many characters of it the value needed."""
        data = text.encode()
        try:
            self._framer.feed(data)
            self._result = self._framer.next()
        except DatabaseError as error:
            self._result = str(error)  # python-ovs takes a str for an error
        if self._result is None:
            return len(text)
        used = len(data) - len(self._framer)
        return len(data[:used].decode())

    def is_done(self) -> bool:
        """Whether finish() has something to tell."""
        return self._result is not None

    def finish(self) -> Any:
        """The value, or what is wrong as a str."""
        return "unexpected end of input" if self._result is None else self._result


def install() -> None:
    """Makes python-ovs use it, if it has none in C."""
    if ovs.json.PARSER != ovs.json.PARSER_C:
        ovs.json.Parser = Parser
