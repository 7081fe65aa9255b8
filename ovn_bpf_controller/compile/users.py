# SPDX-License-Identifier: Apache-2.0
"""Which flows asked for which name, so that a change of it finds them.

compile.compiler keeps the index; a flow is on it with each datapath that it is compiled
for, as names mean other things there.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Final

from ovn_bpf_controller.compile.env import Ref

User = tuple[str, int]  # uuid of a flow, tunnel key of a datapath
_NOBODY: Final[frozenset[User]] = frozenset()


class Users:
    """Flows on datapaths by what they asked for."""

    def __init__(self) -> None:
        self._of: dict[Ref, set[User]] = {}

    def of(self, ref: Ref) -> Set[User]:
        """Whoever asked for it."""
        return self._of.get(ref, _NOBODY)

    def add(self, user: User, refs: Iterable[Ref]) -> None:
        """`user` asked for these."""
        for ref in refs:
            users = self._of.get(ref)
            if users is None:
                self._of[ref] = {user}
            else:
                users.add(user)

    def remove(self, user: User, refs: Iterable[Ref]) -> list[Ref]:
        """`user` asked for these, and does no more; returns those that nobody does now."""
        unused = []
        for ref in refs:
            users = self._of.get(ref)
            if users is not None:
                users.discard(user)
                if not users:
                    del self._of[ref]
                    unused.append(ref)
        return unused
