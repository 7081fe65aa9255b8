# SPDX-License-Identifier: Apache-2.0
"""Rows that no northd would write cost their own flow and nothing else.

ovn-northd is stopped meanwhile: it would put them right within milliseconds.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ANNOUNCED = ("invalid: ",)  # flows that nobody can carry out
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw0, chassis: hv2, port_security: true}
"""

Row = dict[str, Any]


@pytest.fixture
def quiet(bed: Sandbox) -> Iterator[Sandbox]:
    """The sandbox with ovn-northd frozen; afterwards everything it finds amiss is undone."""
    northd = process.read_pid(bed.layout.root / "ovn-northd.pid")
    assert northd is not None
    bed.sync()
    os.kill(northd, signal.SIGSTOP)
    try:
        yield bed
    finally:
        os.kill(northd, signal.SIGCONT)
        bed.sync()


def insert(table: str, **row: Any) -> dict[str, Any]:
    return {"op": "insert", "table": table, "row": row}


def transact(bed: Sandbox, *operations: dict[str, Any]) -> None:
    """One Southbound transaction, and every chassis past it."""
    number = int(bed.sbctl("get", "sb_global", ".", "nb_cfg")) + 1
    update = {"op": "update", "table": "SB_Global", "where": [], "row": {"nb_cfg": number}}
    request = json.dumps(["OVN_Southbound", *operations, update])
    replies = json.loads(netns.run(["ovsdb-client", "transact", bed.layout.sb, request]))
    assert not [reply for reply in replies if reply and "error" in reply], replies
    for name in bed.chassis:
        bed.sbctl("wait-until", "chassis_private", name, f"nb_cfg={number}")


def switch(bed: Sandbox) -> list[str]:
    """The switch's Datapath_Binding as an OVSDB value."""
    return ["uuid", bed.sbctl("--bare", "--columns=_uuid", "find", "datapath_binding").split()[0]]


def flow(bed: Sandbox, match: str, actions: str, table: int = 0, priority: int = 100) -> Row:
    """A Logical_Flow of the switch's ingress pipeline."""
    return insert("Logical_Flow", logical_datapath=switch(bed), pipeline="ingress",
                  table_id=table, priority=priority, match=match, actions=actions)  # fmt: skip


BAD_MATCHES = (
    "",
    "((((",
    "ip4.src == ",
    "ip4.src == 300.1.2.3",
    "no.such.field == 1",
    "eth.src == $no_such_set",
    "inport == @no_such_group && ip4",
    'inport == "no such port"',
    "ip4.src == 10.0.0.0/99",
    "tcp.dst == 70000",
    "ip4 && ip6",
    "1 == 1 == 1",
    "\U0001f4a5 == 1",
    "(" * 5000 + "ip" + ")" * 5000,
)

BAD_ACTIONS = (
    "",
    "frobnicate;",
    "next(99);",
    "next(pipeline=nowhere);",
    "outport = 5; output;",
    "reg99 = 1; next;",
    "ip.ttl = 1000; next;",
    'outport = "no such port"; output;',
    "clone { clone { clone { next; ",
    "set_meter(); put_dhcp_opts();",
    "drop",
    "clone { " * 200 + "next; " + "}; " * 200,
)


@pytest.mark.parametrize("table", [0, 5])
def test_unparsable_flows_cost_themselves_and_a_good_one_beside_them_works(
    quiet: Sandbox, table: int
) -> None:
    operations = [flow(quiet, match, "drop;", table, 200) for match in BAD_MATCHES]
    operations += [
        flow(quiet, f"udp.dst == {20000 + n}", actions, table, 200)
        for n, actions in enumerate(BAD_ACTIONS)
    ]
    operations.append(flow(quiet, "ip4 && udp.dst == 4242", "drop;", table, 300))
    pids = [chassis.agent_pid() for chassis in quiet.chassis.values()]
    transact(quiet, *operations)
    assert quiet.unanswered(list(itertools.permutations(quiet.ports, 2))) == []
    for target in ("vm2", "vm3"):
        blocked = functools.partial(traffic.blocked, quiet, "vm1", target, 4242)
        assert traffic.obeyed(quiet, blocked)
        assert traffic.delivers(quiet, "vm1", target, 4243)
    assert [chassis.agent_pid() for chassis in quiet.chassis.values()] == pids


def test_rows_of_other_tables_that_make_no_sense_are_survived(quiet: Sandbox) -> None:
    datapath = switch(quiet)
    pids = [chassis.agent_pid() for chassis in quiet.chassis.values()]
    transact(
        quiet,
        insert("Address_Set", name="odd", addresses=["set", ["not an address", "", "1.2.3.4/77"]]),
        insert("Port_Group", name="odd", ports=["set", ["no such port", ""]]),
        insert("Port_Binding", logical_port="odd", datapath=datapath, tunnel_key=32767,
               type="no such type", mac=["set", ["garbage", "", "zz:zz"]]),
        insert("Port_Binding", logical_port="odd patch", datapath=datapath, tunnel_key=32766,
               type="patch", options=["map", [["peer", "nobody"]]]),
        insert("Multicast_Group", name="odd", datapath=datapath, tunnel_key=65535),
        insert("Datapath_Binding", tunnel_key=16777215, external_ids=["map", []]),
        {**insert("Encap", type="geneve", ip="not an address", chassis_name="odd",
                  options=["map", [["csum", "perhaps"], ["dst_port", "many"]]]),
         "uuid-name": "encap"},
        insert("Chassis", name="odd", hostname="", encaps=["named-uuid", "encap"]),
        insert("MAC_Binding", logical_port="nobody", ip="?", mac="?", datapath=datapath),
        flow(quiet, "eth.src == $odd", "drop;", 0, 400),
        flow(quiet, "inport == @odd", "drop;", 0, 400),
    )  # fmt: skip
    assert quiet.unanswered(list(itertools.permutations(quiet.ports, 2))) == []
    assert [chassis.agent_pid() for chassis in quiet.chassis.values()] == pids
    remove = {"op": "delete", "where": [["name", "==", "odd"]]}
    transact(quiet, {"table": "Chassis", **remove}, {"table": "Address_Set", **remove})


def test_port_security_that_makes_no_sense_costs_its_port_alone(bed: Sandbox) -> None:
    """Through Northbound, where anybody can write it."""
    good = bed.nbctl("lsp-get-port-security", "vm2").strip()
    bed.nbctl("--wait=hv", "set", "logical_switch_port", "vm2",
              'port_security="gibberish 10.0.0.0/99"')  # fmt: skip
    assert bed.unanswered([("vm1", "vm3"), ("vm3", "vm1")]) == []
    bed.nbctl("--wait=hv", "lsp-set-port-security", "vm2", good)
    assert bed.unanswered([("vm1", "vm2"), ("vm2", "vm3")]) == []
