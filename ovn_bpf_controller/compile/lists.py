# SPDX-License-Identifier: Apache-2.0
"""A list of instructions in the making: what every kind of action writes with.

compile.actions and compile.ct_actions lower their verbs into one of these.  What a
verb may depend on besides its own text is here as well: where the flow is, and
what kind of datapath it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn
from ovn_bpf_controller.compile.layout import WORD_BITS, Conj, Place, chunks, cut, place
from ovn_bpf_controller.compile.telling import About
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.plaindata import NamedTuple

INGRESS: Final = 0
EGRESS: Final = 1

# Tables that logical flows may have; the rest of the ingress half is the agent's.
TABLES: Final[tuple[int, int]] = (
    lib.OVN_TABLE_AGENT,
    lib.OVN_STAGES_PER_DP - lib.OVN_EGRESS_BASE,
)

# Words of the scratch space for values in flight.
TMP_WORDS: Final = 4


class SideRule(NamedTuple):
    """A rule of a side table, still without its datapath."""

    table: int
    priority: int
    conj: Conj
    insns: bytes


class Traits(NamedTuple):
    """What verbs of connection tracking have to know of a datapath.

    router: else it is a switch.  common_snat: the zone that a router's _in_czone
    verbs share is the SNAT zone (Datapath_Binding external_ids:snat-ct-zone), else
    the DNAT zone.  consolidated: the central keeps addresses and ports of load
    balancers in the registers of OVN 25.03 and later.
    """

    router: bool = False
    common_snat: bool = False
    consolidated: bool = False


SWITCH: Final = Traits()


class InsnList:
    """The list so far, `insns`; what is in a block lies between its OP_CLONE and OP_END.

    side: rules that the list needs in side tables.  last: nothing comes after the
    action that is being lowered in its list.
    """

    def __init__(
        self,
        pipeline: int,
        table: int,
        port_key: Callable[[str], int],
        is_resident: Callable[[str], bool],
        traits: Traits,
    ) -> None:
        self.pipeline = pipeline
        self.table = table
        self.port_key = port_key
        self.is_resident = is_resident
        self.traits = traits
        self.insns: list[Insn] = []
        self.side: list[SideRule] = []
        self.last = True
        self.about = About()

    def emit(self, op: int, **fields: int) -> None:
        """One instruction."""
        self.insns.append(Insn(op, **fields))

    def begin_block(self) -> int:
        """A copy of the packet runs what follows; returns what end_block() wants."""
        self.emit(lib.OP_CLONE)
        return len(self.insns)

    def end_block(self, start: int) -> None:
        """Behind the block's OP_END."""
        self.insns[start - 1] = Insn(lib.OP_CLONE, a=len(self.insns) - start)

    def go_on(self, pipeline: int, table: int) -> None:
        """On in another table; raises UnsupportedError where there is none."""
        if table >= TABLES[pipeline]:
            raise UnsupportedError(f"next to table {table}")
        self.emit(lib.OP_NEXT, src=pipeline, aux=table)

    def load(self, dst: Place, value: int, mask: int) -> None:
        """The bits of `mask`, counted from the field's."""
        for chunk in chunks(dst):
            bits = cut(mask, chunk)
            if bits:
                self.emit(lib.OP_SET, dst=chunk.word, a=bits, b=cut(value, chunk) & bits)

    def copy(self, dst: Place, src: Place) -> None:
        """Piece by piece, each in one word on both sides; the two are disjoint."""
        pos = 0
        while pos < dst.width:
            to_word, to_shift = divmod(dst.shift + pos, WORD_BITS)
            from_word, from_shift = divmod(src.shift + pos, WORD_BITS)
            bits = min(WORD_BITS - to_shift, WORD_BITS - from_shift, dst.width - pos)
            self.emit(
                lib.OP_MOVE,
                dst=dst.word - to_word,
                src=src.word - from_word,
                a=to_shift,
                b=from_shift,
                c=bits,
            )
            pos += bits


def home(field: nodes.Field) -> Place:
    """Where a field of an action lies.  Raises UnsupportedError if nowhere."""
    return place(field.root, field.offset, field.width)


def bit(field: nodes.Field) -> tuple[int, int]:
    """Word and position of a one-bit field."""
    first = next(chunks(home(field)))
    return first.word, first.shift


def overlap(a: Place, b: Place) -> bool:
    """Whether two fields have bits in common."""
    distance = _bit_address(a) - _bit_address(b)
    return -a.width < distance < b.width


def scratch(width: int) -> Place:
    """Room for a value of `width` bits at the low end of the scratch words."""
    return Place(lib.OW_TMP + TMP_WORDS - 1, 0, width)


def hash_mask(fields: str | None) -> int:
    """enum ovn_hash for OVN's hash_fields; what we do not know adds nothing."""
    mask = 0
    for name in (fields or "").replace(",", " ").split():
        mask |= _HASH_FIELDS.get(name.partition("=")[0], 0)
    return mask or int(lib.OVN_HASH_5TUPLE)


def _bit_address(at: Place) -> int:
    """Where a field begins in the words taken as one number, last word lowest."""
    return at.shift - at.word * WORD_BITS


# hash_fields of select and ct_lb, in OVS's words (ovs-fields(7), with the older names
# that OVS takes too: northd writes tp_src where a load balancer has no protocol).
_HASH_FIELDS: Final[dict[str, int]] = {
    "eth_src": lib.OVN_HASH_ETH_SRC,
    "eth_dst": lib.OVN_HASH_ETH_DST,
    "dl_src": lib.OVN_HASH_ETH_SRC,
    "dl_dst": lib.OVN_HASH_ETH_DST,
    "ip_src": lib.OVN_HASH_IP_SRC,
    "ip_dst": lib.OVN_HASH_IP_DST,
    "nw_src": lib.OVN_HASH_IP_SRC,
    "nw_dst": lib.OVN_HASH_IP_DST,
    "nw_proto": lib.OVN_HASH_IP_PROTO,
    "ipv6_src": lib.OVN_HASH_IP_SRC,
    "ipv6_dst": lib.OVN_HASH_IP_DST,
    "ipv6_label": lib.OVN_HASH_IP6_LABEL,
    "ip_proto": lib.OVN_HASH_IP_PROTO,
    "tp_src": lib.OVN_HASH_L4_SRC,
    "tp_dst": lib.OVN_HASH_L4_DST,
    "tcp_src": lib.OVN_HASH_L4_SRC,
    "tcp_dst": lib.OVN_HASH_L4_DST,
    "udp_src": lib.OVN_HASH_L4_SRC,
    "udp_dst": lib.OVN_HASH_L4_DST,
    "sctp_src": lib.OVN_HASH_L4_SRC,
    "sctp_dst": lib.OVN_HASH_L4_DST,
}
