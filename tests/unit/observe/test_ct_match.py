# SPDX-License-Identifier: Apache-2.0
"""The arguments of flush-conntrack: what they mean, and how they are refused."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.datapath.conntrack import Tuple, mapped
from ovn_bpf_controller.observe.ct_match import MatchError, parse
from tests.unit.observe.test_ct_format import ECHO, conn

NATTED = conn(
    6,
    Tuple(mapped("10.0.0.1"), mapped("30.0.0.1"), 40000, 80),
    Tuple(mapped("10.0.0.9"), mapped("10.0.0.1"), 8080, 40000),
    mark=2,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zone=7",
        "mark=2",
        "mark=0x2/0x2",
        "labels=0x34/0xff",
        "ct_nw_src=10.0.0.1",
        "ct_nw_dst=30.0.0.1,ct_nw_proto=6,ct_tp_dst=80",
        "zone=7 mark=2 ct_nw_src=10.0.0.1 ct_nw_src=10.0.0.9,ct_nw_proto=6,ct_tp_src=8080",
        "ct_nw_proto=6",
    ],
)
def test_what_meets(text: str) -> None:
    assert parse(text.split()).meets(NATTED)


@pytest.mark.parametrize(
    "text",
    [
        "zone=8",
        "mark=3",
        "mark=0/2",
        "labels=1",
        "ct_nw_src=10.0.0.2",
        "ct_ipv6_src=fd00::1",
        "ct_nw_proto=17",
        "ct_nw_src=10.0.0.1 ct_nw_src=10.0.0.1",
        "ct_nw_proto=6,ct_tp_src=80",
    ],
)
def test_what_does_not_meet(text: str) -> None:
    assert not parse(text.split()).meets(NATTED)


def test_icmp_by_identifier() -> None:
    echo = conn(1, *ECHO)
    both = "ct_nw_src=10.9.0.1,ct_nw_dst=10.9.0.2,ct_nw_proto=1"
    assert parse([f"{both},icmp_id=31012,icmp_type=8,icmp_code=0"]).meets(echo)
    assert parse([both]).meets(echo)
    assert not parse([f"{both},icmp_id=1"]).meets(echo)


def test_one_connection_or_many() -> None:
    one = "ct_nw_src=10.0.0.1,ct_nw_dst=30.0.0.1,ct_nw_proto=6,ct_tp_src=40000,ct_tp_dst=80"
    assert parse([one]).five_tuple and parse(["zone=7", one]).five_tuple
    assert not parse([one, "ct_nw_src=10.0.0.9"]).five_tuple
    assert not parse(["mark=1", one]).five_tuple
    assert parse([]).whole and parse(["zone=7"]).whole
    assert not parse(["ct_nw_proto=6"]).whole


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("zone=x", "failed to parse zone"),
        ("zone=65536", "failed to parse zone"),
        ("mark=x", "failed to parse mark"),
        ("labels=-1", "failed to parse labels"),
        ("zone=7 ct_tp_src=1", "port is set without protocol"),
        ("foo=1", "invalid conntrack tuple field: foo"),
        ("bogus", "field bogus missing value"),
        ("ct_nw_src=", "field ct_nw_src missing value"),
        ("ct_nw_src=fd00::1", "failed to parse field ct_nw_src"),
        ("ct_nw_src=1.2.3.4,ct_nw_src=1.2.3.5", "ct_nw_src is set multiple times"),
        ("ct_nw_src=1.2.3.4,ct_ipv6_src=fd00::1", "the L3 protocol does not match fd00::1"),
        ("ct_nw_proto=256", "failed to parse field ct_nw_proto"),
        ("icmp_id=1", "invalid L4 fields"),
        ("ct_nw_proto=6 ct_nw_proto=6 x=1", "invalid arguments"),
    ],
)
def test_ovs_words_for_mistakes(text: str, problem: str) -> None:
    with pytest.raises(MatchError) as refused:
        parse(text.split())
    assert str(refused.value) == problem
