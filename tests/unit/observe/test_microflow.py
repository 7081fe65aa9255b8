# SPDX-License-Identifier: Apache-2.0
"""Microflows as ovn-trace takes them, and the forms of a trace."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.observe import microflow, trace
from ovn_bpf_controller.observe.microflow import MicroflowError
from ovn_bpf_controller.observe.trace_node import Kind, Node, from_json, minimal, summary, to_json
from tests.support.world import World

WORLD = World(
    ports={(1, "vm1"): 1, (1, "vm2"): 2},
    address_sets={"one": ["10.0.0.1"], "two": ["10.0.0.1", "10.0.0.2"]},
    port_groups={(1, "pg"): ["vm1"]},
)


def header(text: str) -> str:
    return microflow.header(microflow.words(microflow.parse(text, WORLD), 1, WORLD))


def test_prerequisites_are_implied() -> None:
    assert header('inport == "vm1" && tcp.dst == 80 && ip4') == (
        "tcp,reg14=0x1,vlan_tci=0x0000,dl_src=00:00:00:00:00:00,dl_dst=00:00:00:00:00:00,"
        "nw_src=0.0.0.0,nw_dst=0.0.0.0,nw_tos=0,nw_ecn=0,nw_ttl=0,nw_frag=no,"
        "tp_src=0,tp_dst=80,tcp_flags=0"
    )


def test_sets_and_groups_of_one_are_no_choice() -> None:
    assert "nw_src=10.0.0.1," in header("ip4.src == $one && icmp4")
    assert "reg14=0x1," in header("inport == @pg")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ip", "ambiguous"),
        ("tcp || udp", "ambiguous"),
        ("ip4.src == $two", "ambiguous"),
        ("tcp && udp", "contradictory"),
        ("ip4 && ip6", "contradictory"),
        ("ip4 &&", "expecting"),
        ('inport == "nosuch"', "no logical port"),
    ],
)
def test_what_is_not_one_packet_is_refused(text: str, problem: str) -> None:
    with pytest.raises(MicroflowError, match=problem):
        header(text)


def test_the_inport_tells_the_datapath() -> None:
    assert microflow.inport(microflow.parse('ip4 && inport == "vm2"', WORLD)) == "vm2"
    for text in ("ip4", 'inport == "vm1" || inport == "vm2"'):
        with pytest.raises(MicroflowError, match="inport"):
            microflow.inport(microflow.parse(text, WORLD))


def test_actions_come_apart_where_ovn_ends_them() -> None:
    text = 'eth.dst = 0a:00:00:00:00:01; /* why; */ clone { outport = "a;}"; output; }; next;'
    assert list(trace.statements(text)) == [
        "eth.dst = 0a:00:00:00:00:01;",
        'clone { outport = "a;}"; output; };',
        'outport = "a;}";',
        "output;",
        "next;",
    ]


def test_forms() -> None:
    root = Node(Kind.PIPELINE, 'ingress(dp="sw0", inport="a")')
    table = root.add(Kind.TABLE, " 0. 1, priority 0", uuid="u")
    table.add(Kind.ACTION, "next(pipeline=egress, table=1);")
    block = table.add(Kind.BLOCK, "clone")
    block.add(Kind.MODIFY, 'output("b")', remark='/* chassis "hv2" */')
    table.add(Kind.DROP, "/* drop: because */")
    assert minimal(root) == 'clone {\n    output("b"); /* chassis "hv2" */\n};\n'
    assert "drop: because" in summary(root) and "next(" not in summary(root)
    assert from_json(to_json(root)) == root
