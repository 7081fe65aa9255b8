# SPDX-License-Identifier: Apache-2.0
"""The bases of all actions, and the actions on the packet at hand: fields, outputs, jumps.

`actions` and `verbs` build them, `compile.actions` lowers them.  What an action adds
to its flow's match is `actions.action_prereqs()`.
"""

from __future__ import annotations

from ovn_bpf_controller.lang.nodes.match import Field
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Base of all actions.

    What an action adds to its flow's match is actions.action_prereqs().
    """


@dataclass(frozen=True, slots=True)
class Nested(Action):
    """Base of the verbs with a block: `actions` run on another packet."""

    actions: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class Result(Action):
    """Base of `R = verb()`.  dst is one bit, but for the ct_* verbs below."""

    dst: Field


class Output(Action):
    """output"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Next(Action):
    """next.  pipeline: "ingress", "egress" or None for the flow's own.

    table: None for the table after the flow's own.
    """

    pipeline: str | None = None
    table: int | None = None


class Drop(Action):
    """drop; always alone in its list.  An empty list drops as well."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Load(Action):
    """field = constant.

    value: integer, or a port's name for a string field ("" clears it).
    mask: bits of the field that are written; full unless one was given.
    """

    dst: Field
    value: int | str
    mask: int


@dataclass(frozen=True, slots=True)
class Move(Action):
    """dst = src, of equal widths."""

    dst: Field
    src: Field


@dataclass(frozen=True, slots=True)
class Exchange(Action):
    """a <-> b, of equal widths."""

    a: Field
    b: Field


@dataclass(frozen=True, slots=True)
class Push(Action):
    """push(field)"""

    field: Field


@dataclass(frozen=True, slots=True)
class Pop(Action):
    """pop(field)"""

    field: Field


class DecTtl(Action):
    """ip.ttl--"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SelectTarget:
    """One member of select: the value to store, and its weight."""

    id: int
    weight: int


@dataclass(frozen=True, slots=True)
class Select(Action):
    """R = select(id=weight, …), R = select(values=(…); hash_fields="…").

    dst has at least 16 bits; a weight that is not written is 100.
    """

    dst: Field
    targets: tuple[SelectTarget, ...]
    hash_fields: str | None = None


@dataclass(frozen=True, slots=True)
class FwdGroup(Action):
    """fwd_group(liveness = "…", childports = "…", …)"""

    liveness: bool
    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetQueue(Action):
    """set_queue(N)"""

    queue_id: int


@dataclass(frozen=True, slots=True)
class CheckPktLarger(Action):
    """R = check_pkt_larger(L), L in bytes of the L2 frame"""

    dst: Field
    length: int


class CheckInPortSec(Result):
    """R = check_in_port_sec()"""

    __slots__ = ()


class CheckOutPortSec(Result):
    """R = check_out_port_sec()"""

    __slots__ = ()


class FloodRemote(Action):
    """flood_remote"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Mirror(Action):
    """mirror("P")"""

    port: str
