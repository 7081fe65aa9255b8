# SPDX-License-Identifier: Apache-2.0
"""Verbs of connection tracking as instructions: zones, flags, arguments, operands."""

from __future__ import annotations

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.actions import INGRESS, Lowered, Traits, lower
from ovn_bpf_controller.compile.insns import Insn, decode
from ovn_bpf_controller.lang.actions import parse_actions

FULL = 0xFFFFFFFF
SWITCH = Traits()
ROUTER = Traits(router=True)
SNAT_SHARED = Traits(router=True, common_snat=True)
NEXT = Insn(lib.OP_NEXT, aux=6)
END = Insn(lib.OP_END)
COMMIT, NAT = lib.OVN_CT_COMMIT, lib.OVN_CT_NAT
BALANCE = COMMIT | NAT | lib.OVN_CT_DST | lib.OVN_CT_BALANCE


def lowered(text: str, traits: Traits = SWITCH, residents: str = "") -> Lowered:
    actions = parse_actions(text)
    return lower(actions, INGRESS, 5, lambda _: 0, lambda name: name in residents, traits)


def code(text: str, traits: Traits = SWITCH, residents: str = "") -> list[Insn]:
    made = lowered(text, traits, residents)
    assert not made.unsupported
    return decode(made.insns)


def args(*words: int) -> list[Insn]:
    """OW_ARG_IP and OW_ARG_PORT."""
    return [
        Insn(lib.OP_SET, dst=lib.OW_ARG_IP + n, a=FULL, b=value) for n, value in enumerate(words)
    ]


@pytest.mark.parametrize(
    ("text", "traits", "zone", "does"),
    [
        ("ct_next;", SWITCH, lib.OW_CT_ZONE, 0),
        ("ct_next;", ROUTER, lib.OW_DNAT_ZONE, 0),
        ("ct_next(dnat);", ROUTER, lib.OW_DNAT_ZONE, 0),
        ("ct_next(snat);", ROUTER, lib.OW_SNAT_ZONE, 0),
        ("ct_next(snat);", SWITCH, lib.OW_CT_ZONE, 0),
        ("ct_commit_to_zone(snat);", ROUTER, lib.OW_SNAT_ZONE, COMMIT),
        ("ct_commit_nat;", SWITCH, lib.OW_CT_ZONE, COMMIT | NAT),
        ("ct_commit_nat(snat);", ROUTER, lib.OW_SNAT_ZONE, COMMIT | NAT),
        ("ct_dnat;", ROUTER, lib.OW_DNAT_ZONE, NAT),
        ("ct_snat;", SWITCH, lib.OW_SNAT_ZONE, NAT),
        ("ct_dnat_in_czone;", ROUTER, lib.OW_DNAT_ZONE, NAT),
        ("ct_snat_in_czone;", ROUTER, lib.OW_DNAT_ZONE, NAT),
        ("ct_snat_in_czone;", SNAT_SHARED, lib.OW_SNAT_ZONE, NAT),
        ("ct_dnat_in_czone;", SNAT_SHARED, lib.OW_SNAT_ZONE, NAT),
        ("ct_lb_mark;", SWITCH, lib.OW_CT_ZONE, NAT | lib.OVN_CT_BALANCE),
        ("ct_lb;", ROUTER, lib.OW_DNAT_ZONE, NAT | lib.OVN_CT_BALANCE),
    ],
)
def test_zone_and_flags_are_ovns(text: str, traits: Traits, zone: int, does: int) -> None:
    assert code(text, traits) == [Insn(lib.OP_CT, src=zone, a=does), NEXT, END]


def test_what_follows_a_verb_with_a_table_has_the_packet_as_it_was_and_untracked() -> None:
    assert code("ct_next; reg0 = 1;") == [
        Insn(lib.OP_CLONE, a=3),
        Insn(lib.OP_CT, src=lib.OW_CT_ZONE),
        NEXT,
        END,
        Insn(lib.OP_CT_CLEAR),
        Insn(lib.OP_SET, dst=lib.OW_REG0, a=FULL, b=1),
        END,
    ]


def test_a_commit_has_its_operands_behind_it() -> None:
    insns = code(
        "ct_commit { ct_mark.blocked = 1; ct_label.ecmp_reply_eth = eth.src; "
        "ct_label.label = reg3; }; next;",
        ROUTER,
    )
    does = COMMIT | NAT | lib.OVN_CT_NULL_SNAT | lib.OVN_CT_KEEP
    label, src = lib.OW_CT_LABEL, lib.OW_ETH_SRC
    assert insns == [
        Insn(lib.OP_CT, src=lib.OW_DNAT_ZONE, a=does, c=4),
        Insn(lib.OP_SET, dst=lib.OW_CT_MARK, a=1, b=1),
        Insn(lib.OP_MOVE, dst=label + 2, src=src + 1, c=32),
        Insn(lib.OP_MOVE, dst=label + 1, src=src, c=16),
        Insn(lib.OP_MOVE, dst=label, src=lib.OW_REG0 + 3, c=32),
        NEXT,
        END,
    ]


def test_the_commit_of_old_releases_is_the_same() -> None:
    old = "ct_commit(ct_mark=1/3, ct_label=0x10000000000000000/0x30000000000000000); next;"
    new = "ct_commit { ct_mark = 1/3; ct_label = 0x10000000000000000/0x30000000000000000; }; next;"
    assert code(old) == code(new)
    assert Insn(lib.OP_SET, dst=lib.OW_CT_LABEL + 1, a=3, b=1) in code(new)


def test_an_operand_that_reads_what_it_writes_is_not_supported() -> None:
    made = lowered("ct_commit { ct_label[0..31] = ct_label[8..39]; };")
    assert made.unsupported == ("ct_commit with such an operand",)


@pytest.mark.parametrize(
    ("text", "zone", "flags", "words"),
    [
        ("ct_dnat(10.0.0.1);", lib.OW_DNAT_ZONE, lib.OVN_CT_DST, (0, 0, 0xFFFF, 0x0A000001, 0)),
        (
            "ct_snat(10.0.0.1, 1024-2047);",
            lib.OW_SNAT_ZONE,
            lib.OVN_CT_SRC | lib.OVN_CT_RANDOM,
            (0, 0, 0xFFFF, 0x0A000001, 1024 << 16 | 2047),
        ),
        (
            "ct_snat_in_czone(fd00::9, 7);",
            lib.OW_DNAT_ZONE,
            lib.OVN_CT_SRC | lib.OVN_CT_RANDOM,
            (0xFD000000, 0, 0, 9, 7 << 16 | 7),
        ),
    ],
)
def test_nat_has_its_address_and_ports(
    text: str, zone: int, flags: int, words: tuple[int, ...]
) -> None:
    does = COMMIT | NAT | flags
    assert code(text, ROUTER) == [*args(*words), Insn(lib.OP_CT, src=zone, a=does), NEXT, END]


@pytest.mark.parametrize(
    ("text", "word", "marks"),
    [
        ("ct_lb_mark(backends=10.0.0.1:80,10.0.0.2);", lib.OW_CT_MARK, 2),
        ("ct_lb_mark(backends=10.0.0.1:80,10.0.0.2; skip_snat);", lib.OW_CT_MARK, 6),
        ("ct_lb(backends=10.0.0.1:80,10.0.0.2; force_snat);", lib.OW_CT_LABEL + 3, 10),
    ],
)
def test_a_backend_is_chosen_then_committed_as_natted(text: str, word: int, marks: int) -> None:
    assert code(text, ROUTER) == [
        Insn(lib.OP_CT_LB, a=2, b=lib.OVN_HASH_5TUPLE, c=1),
        Insn(lib.OP_DATA, a=0x0A000001, b=80),
        Insn(lib.OP_DATA, a=0x0A000002),
        Insn(lib.OP_CT, src=lib.OW_DNAT_ZONE, a=BALANCE, c=1),
        Insn(lib.OP_SET, dst=word, a=marks, b=marks),
        NEXT,
        END,
    ]


def test_an_ipv6_backend_takes_two_instructions() -> None:
    text = 'ct_lb_mark(backends=[fd00:1:2:3:4:5:6:7]:443; hash_fields="ipv6_src,ip_proto");'
    assert code(text)[:3] == [
        Insn(lib.OP_CT_LB, a=1, b=lib.OVN_HASH_IP_SRC | lib.OVN_HASH_IP_PROTO, c=2),
        Insn(lib.OP_DATA, a=0xFD000001, b=0x00020003, c=0x00040005),
        Insn(lib.OP_DATA, a=0x00060007, b=443),
    ]


def test_selection_fields_without_a_protocol_are_ports_too() -> None:
    text = 'ct_lb_mark(backends=10.0.0.1:80; hash_fields="ip_dst,ip_src,tp_dst,tp_src");'
    ports = lib.OVN_HASH_L4_SRC | lib.OVN_HASH_L4_DST
    addresses = lib.OVN_HASH_IP_SRC | lib.OVN_HASH_IP_DST
    assert code(text)[0].b == ports | addresses


def test_local_load_balancing_takes_backends_of_this_chassis_alone() -> None:
    text = 'ct_lb_mark_local(backends="a":10.0.0.1:80,"b":10.0.0.2:80);'
    data = [i.a for i in code(text, residents="b") if i.op == lib.OP_DATA]
    assert data == [0x0A000002]
    (none,) = [i for i in code(text) if i.op == lib.OP_CT_LB]
    assert none.a == 0


def test_affinity_is_learnt_with_both_addresses() -> None:
    text = (
        'commit_lb_aff(vip = "172.16.0.1:80", backend = "10.0.0.1:8080", proto = tcp, '
        "timeout = 60);"
    )
    assert code(text) == [
        Insn(lib.OP_LEARN, dst=6, a=lib.OVN_LEARNT_LB_AFF, b=60, c=2),
        Insn(lib.OP_DATA, a=0xAC100001, b=80),
        Insn(lib.OP_DATA, a=0x0A000001, b=8080),
        END,
    ]


@pytest.mark.parametrize(
    ("traits", "ip6", "port"),
    [
        (SWITCH, 0, 8),
        (ROUTER, 4, 8),
        (Traits(consolidated=True), 4, 2),
        (Traits(router=True, consolidated=True), 4, 2),
    ],
)
def test_affinity_is_answered_in_the_registers_of_the_centrals_release(
    traits: Traits, ip6: int, port: int
) -> None:
    text = (
        'commit_lb_aff(vip = "[fd00::1]:80", backend = "[fd01::2]:8080", proto = udp, timeout = 9);'
    )
    (rule,) = lowered(text, traits).side
    assert rule.table == lib.OVN_TABLE_LB_AFF
    assert dict((root, value) for root, value, _ in rule.conj) == {
        "eth.type": 0x86DD,
        "ip6.dst": 0xFD << 120 | 1,
        "ip.proto": 17,
        "tcp.dst": 80,
        "arg.ip": 0xFD01 << 112 | 2,
        "arg.port": 8080,
        "arg.idle": 9,
    }
    reg, wide = lib.OW_REG0, lib.OW_REG0 + ip6
    assert sorted(decode(rule.insns)[:-1]) == sorted(
        [
            *[
                Insn(lib.OP_SET, dst=wide + n, a=FULL, b=value)
                for n, value in enumerate((0xFD010000, 0, 0, 2))
            ],
            Insn(lib.OP_SET, dst=reg + port, a=0xFFFF, b=8080),
            Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_FOUND, b=lib.OVN_RES_FOUND),
        ]
    )


def test_affinity_that_no_flow_would_learn_now_does_not_count() -> None:
    asked, known = code("reg9[6] = chk_lb_aff();")[:2]
    assert asked == Insn(lib.OP_LEARNT, dst=lib.OW_RESULT, a=1, b=lib.OVN_LEARNT_LB_AFF)
    found = {"dst": lib.OW_REG0 + 9, "a": 6, "b": lib.OVN_RES_FOUND}
    assert known == Insn(lib.OP_CALL, aux=lib.OVN_TABLE_LB_AFF, **found)


def test_next_hops_are_learnt_and_asked_for_in_both_directions() -> None:
    kinds = lib.OVN_LEARNT_ECMP_NH, lib.OVN_LEARNT_ECMP_NH_MAC
    learn, mac, any_ = code(
        "commit_ecmp_nh(ipv6 = false, proto = tcp); reg9[5] = chk_ecmp_nh_mac(); "
        "reg9[7] = chk_ecmp_nh();",
        ROUTER,
    )[:3]
    assert learn == Insn(lib.OP_LEARN, a=kinds[0])
    assert mac == Insn(lib.OP_LEARNT, dst=lib.OW_REG0 + 9, a=5, b=kinds[1])
    assert any_ == Insn(lib.OP_LEARNT, dst=lib.OW_REG0 + 9, a=7, b=kinds[0])


def test_hairpins_are_asked_of_side_tables() -> None:
    first, reply, snat = code(
        "reg0[6] = chk_lb_hairpin(); reg0[12] = chk_lb_hairpin_reply(); ct_snat_to_vip;"
    )[:3]
    found = {"dst": lib.OW_REG0, "b": lib.OVN_RES_FOUND}
    assert first == Insn(lib.OP_CALL, a=6, aux=lib.OVN_TABLE_LB_HAIRPIN, **found)
    assert reply == Insn(lib.OP_CALL, a=12, aux=lib.OVN_TABLE_LB_HAIRPIN_REPLY, **found)
    assert snat == Insn(lib.OP_CALL, aux=lib.OVN_TABLE_SNAT_HAIRPIN)


def test_the_original_destination_is_copied() -> None:
    nw, tp, proto, state = code(
        "reg4 = ct_nw_dst(); reg2[0..15] = ct_tp_dst(); reg1[8..15] = ct_proto(); "
        "reg4[0..7] = ct_state_save();"
    )[:4]
    reg = lib.OW_REG0
    assert nw == Insn(lib.OP_MOVE, dst=reg + 4, src=lib.OW_CT_DST + 3, c=32)
    assert tp == Insn(lib.OP_MOVE, dst=reg + 2, src=lib.OW_CT_PORTS, c=16)
    assert proto == Insn(lib.OP_MOVE, dst=reg + 1, src=lib.OW_CT_PROTO, a=8, c=8)
    assert state == Insn(lib.OP_MOVE, dst=reg + 4, src=lib.OW_CT_STATE, c=8)
    ip6 = code("xxreg1 = ct_ip6_dst();")[:4]
    assert {i.dst: i.src for i in ip6} == {reg + 4 + n: lib.OW_CT_DST + n for n in range(4)}
