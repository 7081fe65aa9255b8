# SPDX-License-Identifier: Apache-2.0
"""Random table changes, as hypothesis draws them.

From few numbers, so that what one change adds another replaces or removes.
"""

from __future__ import annotations

from hypothesis import strategies as st

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.model import Datapath, McGroup, Port, PortKind, Rule, SetMember, Tunnel


def insns(*each: tuple[int, ...]) -> bytes:
    return bytes(ffi.buffer(ffi.new("struct ovn_insn[]", list(each))))


END = (lib.OP_END, 0, 0, 0, 0, 0, 0)
DROP = insns((lib.OP_DROP, 0, 0, 0, lib.DROP_ACTION, 0, 0), END)
OUTPUT = insns((lib.OP_OUTPUT, 0, 0, 0, 0, 0, 0), END)
CLONE = insns((lib.OP_CLONE, 0, 0, 0, 2, 0, 0), (lib.OP_OUTPUT, 0, 0, 0, 0, 0, 0), END, END)


def goes_on(table: int) -> bytes:
    egress, number = divmod(table, lib.OVN_EGRESS_BASE)
    return insns((lib.OP_NEXT, 0, egress, number + 1, 0, 0, 0), END)


WORDS = {
    "none": (),
    "one": ((lib.OW_INPORT, 0xFFFFFFFF),),
    "prefix": ((lib.OW_IP_DST, 0xFFFFFF00),),
    "set": ((lib.OW_INPORT, 0xFFFFFFFF), (lib.OW_SET_SRC, 0xFFFFFFFF)),
    "sets": ((lib.OW_SET_DST, 0xFFFFFFFF), (lib.OW_SET_OUT, 0xFFFFFFFF)),
    "more": tuple((word, 0xFFFFFFFF) for word in (lib.OW_SET_SRC, *range(69, 72))),
    "class m": tuple((w, 0xFFFF) for w in range(9)),
    "class l": tuple((w, 0xFF) for w in range(17)),
}
TABLES = (0, 1, 2, 3, 62, lib.OVN_EGRESS_BASE, lib.OVN_EGRESS_BASE + 1, 127)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mask = draw(st.sampled_from(list(WORDS.values())))
    table = draw(st.sampled_from(TABLES))
    lists = [DROP, OUTPUT, CLONE]
    if (table + 1) % lib.OVN_EGRESS_BASE:
        lists += [goes_on(table)] * 3
    return Rule(
        dp=draw(st.sampled_from([1, 2, 0xFFFFFF])),
        table=table,
        prio=draw(st.sampled_from([0, 1, 100, 65535])),
        mask=mask,
        values=tuple(draw(st.sampled_from([0, 7])) & bits for _, bits in mask),
        insns=draw(st.sampled_from(lists)),
        flow=draw(st.integers(0, 9)),
    )


NAMES = st.sampled_from(["hv1", "hv2", "hv3"])


@st.composite
def ports(draw: st.DrawFn) -> Port:
    dp, port = draw(st.sampled_from([1, 2])), draw(st.integers(1, 4))
    kind = draw(st.sampled_from(PortKind))
    # A device is one port's: it is told apart by the port's own number.
    return Port(
        dp=dp,
        port=port,
        kind=kind,
        localport=draw(st.booleans()),
        ifindex=dp * 100 + port * 10 + draw(st.integers(0, 1)) if kind == PortKind.VIF else 0,
        vlan=draw(st.sampled_from([0, 5])) if kind == PortKind.VIF else 0,
        chassis=draw(NAMES) if kind == PortKind.REMOTE else "",
        peer_dp=3 if kind == PortKind.PATCH else 0,
        ct_zone=draw(st.integers(0, 2)),
    )


@st.composite
def groups(draw: st.DrawFn) -> McGroup:
    return McGroup(
        dp=draw(st.sampled_from([1, 2])),
        key=32768 + draw(st.integers(0, 2)),
        local=tuple(draw(st.lists(st.integers(1, 9), max_size=4))),
        remote=tuple(draw(st.lists(NAMES, max_size=3, unique=True))),
    )


@st.composite
def tunnels(draw: st.DrawFn) -> Tunnel:
    number = draw(st.integers(1, 3))
    return Tunnel(
        name=f"hv{number}",
        local="192.0.2.100",
        remote=f"192.0.2.{number}",
        ifindex=draw(st.integers(1, 2)),
        mtu=1500,
    )


@st.composite
def members(draw: st.DrawFn) -> SetMember:
    kinds = [lib.OVN_SET_IP4, lib.OVN_SET_IP6, lib.OVN_SET_PORT, lib.OVN_SET_L4, lib.OVN_SET_MAC]
    kind = draw(st.sampled_from(kinds))
    numbers = st.lists(st.integers(1, 40), min_size=1, max_size=20, unique=True)
    return SetMember(
        kind=kind,
        plen=0 if kind == lib.OVN_SET_PORT else draw(st.sampled_from([8, 12, 16])),
        value=(draw(st.sampled_from([0x0A000000, 0x0B000000])), 0, 0, 0),
        sets=tuple(sorted(draw(numbers))),
    )


DATAPATHS = st.builds(Datapath, dp=st.sampled_from([1, 2, 9]), dnat_zone=st.integers(0, 3))


def some(what: st.SearchStrategy[object], most: int) -> st.SearchStrategy[list[object]]:
    return st.lists(what, max_size=most)


CHANGES = st.builds(
    TableChange,
    rules_removed=some(rules(), 8),
    rules_added=some(rules(), 8),
    ports_removed=some(ports(), 3),
    ports_added=some(ports(), 4),
    groups_removed=some(groups(), 2),
    groups_added=some(groups(), 2),
    tunnels_removed=some(tunnels(), 1),
    tunnels_added=some(tunnels(), 2),
    sets_removed=some(members(), 2),
    sets_added=some(members(), 3),
    datapaths_removed=some(DATAPATHS, 1),
    datapaths_added=some(DATAPATHS, 1),
)
THEN = st.sampled_from(["", "reclaim", "settle", "adopt"])
