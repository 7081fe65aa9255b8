# SPDX-License-Identifier: Apache-2.0
"""That sets and groups must exist which a match names, even where a constant decides.

`expr` keeps such names beside TRUE, because OVN leaves a flow out that names what is not
there; `normal` asks here before it takes the match apart.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Protocol

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.logic import conjunction, disjunction
from ovn_bpf_controller.lang.nodes import TRUE, And, Expr, Or, PortGroupRef, SetRef


class Names(Protocol):
    """What of a MatchEnv is asked here."""

    def address_set(self, name: str) -> Sequence[str] | None:
        """Members, None when there is no such set."""

    def port_group(self, name: str) -> Sequence[str] | None:
        """Members on the datapath, None when it has none."""


def check(ref: SetRef | PortGroupRef, members: Sequence[str] | None) -> Sequence[str]:
    """The members.  Raises LangError when there is no such set or group."""
    if members is not None:
        return members
    if isinstance(ref, SetRef):
        raise LangError("address set does not exist", f"${ref.name}", 0)
    raise LangError("port group does not exist", f"@{ref.name}", 0)


def settled(expr: Expr, names: Names) -> Expr:
    """expr without what stands beside a TRUE.  Raises LangError as check() does."""
    if not isinstance(expr, And | Or):
        return expr
    if isinstance(expr, Or) and any(arg is TRUE for arg in expr.args):
        for ref in expr.args:
            if isinstance(ref, SetRef):
                check(ref, names.address_set(ref.name))
            elif isinstance(ref, PortGroupRef):
                check(ref, names.port_group(ref.name))
        return TRUE
    args = [settled(arg, names) if isinstance(arg, And | Or) else arg for arg in expr.args]
    if all(map(operator.is_, args, expr.args)):
        return expr
    return conjunction(args) if isinstance(expr, And) else disjunction(args)
