# SPDX-License-Identifier: Apache-2.0
"""What lists of actions require of packets, besides the matches of their flows.

compile.flow joins it to the match.  There is one object for each such expression, so that
flows by the thousand compare objects, and one whose templates are known is not parsed.
"""

from __future__ import annotations

from typing import Final

from ovn_bpf_controller.compile.known import known
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions


class Prereqs:
    """See the module; made by of() and named() alone.  name: repr() of the expression."""

    __slots__ = ("_expr", "name")

    def __init__(self, name: str, expr: nodes.Expr | None = None) -> None:
        self.name = name
        self._expr = expr

    @property
    def expr(self) -> nodes.Expr:
        """The expression itself."""
        if self._expr is None:
            self._expr = action_prereqs(parse_actions(known().prereqs[self.name]))
        return self._expr


_EVERY: Final[dict[str, Prereqs]] = {}


def of(expr: nodes.Expr) -> Prereqs:
    """The one with this expression."""
    name = repr(expr)
    found = _EVERY.get(name)
    if found is None:
        found = _EVERY[name] = Prereqs(name, expr)
    return found


def named(name: str) -> Prereqs:
    """The one with this name, which the build kept."""
    found = _EVERY.get(name)
    if found is None:
        found = _EVERY[name] = Prereqs(name)
    return found


NONE: Final = of(nodes.TRUE)
