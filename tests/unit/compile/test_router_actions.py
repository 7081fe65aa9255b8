# SPDX-License-Identifier: Apache-2.0
"""Verbs of routers as instructions; tests/bpf shows what they do to frames."""

from __future__ import annotations

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile import mac_binding
from ovn_bpf_controller.compile.actions import INGRESS, lower
from ovn_bpf_controller.compile.insns import Insn, decode, disassemble
from ovn_bpf_controller.compile.telling import About
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.actions import parse_actions

ALL = 0xFFFFFFFF
PORTS = {"lp1": 1, "lp2": 2}


def code(text: str) -> list[Insn]:
    lowered = lower(parse_actions(text), INGRESS, 5, lambda name: PORTS.get(name, 0))
    assert not lowered.unsupported
    assert all("?" not in line for line in disassemble(lowered.insns))
    return decode(lowered.insns)


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("icmp4", lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT),
        ("icmp6", lib.OVN_REPLY_ERROR | lib.OVN_REPLY_PORT),
        ("icmp4_error", lib.OVN_REPLY_ERROR),
        ("icmp6_error", lib.OVN_REPLY_ERROR),
        ("tcp_reset", lib.OVN_REPLY_RESET),
        ("sctp_abort", lib.OVN_REPLY_ABORT),
        ("reject", 0x1F),
    ],
)
def test_replies_are_made_of_a_copy(verb: str, flags: int) -> None:
    clone, reply, output, end, last = code(f"{verb} {{ output; }};")
    assert (clone.op, clone.a) == (lib.OP_CLONE, 3)
    assert (reply.op, reply.a) == (lib.OP_REPLY, flags)
    assert (output.op, end.op, last.op) == (lib.OP_OUTPUT, lib.OP_END, lib.OP_END)


def test_frag_mtu_has_a_word_of_its_own() -> None:
    insns = code("icmp4_error { icmp4.frag_mtu = 1400; output; };")
    assert Insn(lib.OP_SET, dst=lib.OW_ICMP_REST, a=0xFFFF, b=1400) in insns
    insns = code("icmp6_error { icmp6.frag_mtu = 70000; output; };")
    assert Insn(lib.OP_SET, dst=lib.OW_ICMP_REST, a=ALL, b=70000) in insns


def test_check_pkt_larger_sets_its_bit() -> None:
    word = lib.OW_REG0 + 9
    assert code("reg9[1] = check_pkt_larger(1518);")[0] == Insn(
        lib.OP_LARGER, dst=word, a=1, b=1518
    )


def test_select_goes_on_with_a_weighted_choice() -> None:
    insns = code("reg8[16..31] = select(1=10, 2=30);")
    picks = [(i.b, i.c) for i in insns if i.op == lib.OP_PICK]
    assert picks == [(10, 1), (40, 2)]
    (hashed,) = [i for i in insns if i.op == lib.OP_HASH]
    assert (hashed.a, hashed.b) == (lib.OVN_HASH_5TUPLE, 40)
    assert insns[-2] == Insn(lib.OP_NEXT, src=0, aux=6)
    moved = insns[-3]
    assert (moved.op, moved.dst, moved.a, moved.c) == (lib.OP_MOVE, lib.OW_REG0 + 8, 16, 16)


def test_select_hashes_the_fields_that_it_names() -> None:
    text = 'reg8[16..31] = select(values=(1, 2); hash_fields="ip_src,tcp_dst");'
    (hashed,) = [i for i in code(text) if i.op == lib.OP_HASH]
    assert hashed.a == lib.OVN_HASH_IP_SRC | lib.OVN_HASH_L4_DST


def test_a_forwarding_group_is_all_or_nothing() -> None:
    insns = code('fwd_group(childports="lp1", "lp2");')
    assert [i.c for i in insns if i.op == lib.OP_PICK] == [1, 2]
    assert insns[-2].op == lib.OP_OUTPUT
    assert code('fwd_group(childports="lp1", "nobody", "lp2");') == [Insn(lib.OP_END)]


@pytest.mark.parametrize(("behind", "goes"), [(("lp1", "lp2"), True), (("lp1",), False)])
def test_a_forwarding_group_that_asks_for_liveness_has_tunnels(
    behind: tuple[str, ...], goes: bool
) -> None:
    about = About(tunnelled=lambda name: name in behind)
    for liveness in (True, False):
        text = f'fwd_group(liveness="{str(liveness).lower()}", childports="lp1", "lp2");'
        key = PORTS.__getitem__
        found = decode(lower(parse_actions(text), INGRESS, 5, key, about=about).insns)
        assert (Insn(lib.OP_OUTPUT) in found) == (goes or not liveness)


def test_queues_are_numbered_as_ovs_numbers_them() -> None:
    assert code("set_queue(0);")[0] == Insn(lib.OP_QUEUE, a=1 << 16 | 1)
    assert code("set_queue(61440);")[0] == Insn(lib.OP_QUEUE, a=1 << 16 | 61441)


def test_neighbour_verbs_share_their_arguments_places() -> None:
    insns = code("get_arp(outport, reg0);")
    assert Insn(lib.OP_CALL, aux=lib.OVN_TABLE_MAC_BINDING) in insns
    assert Insn(lib.OP_SET, dst=lib.OW_ARG_IP + 2, a=ALL, b=0xFFFF) in insns
    (call,) = [i for i in code("reg9[2] = lookup_nd(inport, ip6.src, nd.tll);") if i.b == 2]
    assert (call.op, call.aux, call.dst) == (lib.OP_CALL, lib.OVN_TABLE_MAC_LOOKUP, lib.OW_REG0 + 9)
    assert code("put_nd(inport, nd.target, nd.tll);")[-2] == Insn(lib.OP_MAC_PUT)


@pytest.mark.parametrize(
    "row", [("10.0.0.256", "0a:00:00:00:00:01"), ("10.0.0.1", "0a:00"), ("", "")]
)
def test_a_row_that_is_none_is_an_error(row: tuple[str, str]) -> None:
    with pytest.raises(LangError):
        mac_binding.expand(1, *row, mac_binding.DYNAMIC)
