# SPDX-License-Identifier: Apache-2.0
"""Which flows need the slow path, and what their verbs say to it.

compile.compiler keeps the book; the agent gives what is in it to the slow path, by the
numbers that the instructions carry (compile.punts).
"""

from __future__ import annotations

from collections.abc import ItemsView

from ovn_bpf_controller.compile.users import User

Arguments = tuple[tuple[int, str], ...]  # number, JSON


class Punting:
    """Arguments by flow and datapath."""

    def __init__(self) -> None:
        self._of: dict[User, Arguments] = {}
        self._all: dict[int, str] | None = None  # None: to be collected again

    def put(self, user: User, arguments: Arguments) -> None:
        """Makes these all that the verbs of `user` say."""
        if not arguments:
            self.drop(user)
            return
        self._of[user] = arguments
        self._all = None

    def drop(self, user: User) -> None:
        """It is gone, or has no such verbs any more."""
        if self._of.pop(user, None):
            self._all = None

    def items(self) -> ItemsView[User, Arguments]:
        """All flows that say anything."""
        return self._of.items()

    def arguments(self) -> dict[int, str]:
        """What is said, by number; the same object as long as that is the same."""
        if self._all is None:
            self._all = {number: text for found in self._of.values() for number, text in found}
        return self._all
