# SPDX-License-Identifier: Apache-2.0
"""Answers are made ready for ports that are here, whatever else a switch has."""

from __future__ import annotations

from ovn_bpf_controller.askers import Askers
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath
from ovn_bpf_controller.compile.compiler import FlowCompiler, LogicalFlow
from ovn_bpf_controller.model import Datapath, Port, PortKind
from tests.support.world import World

HERE, ELSEWHERE, ROUTER = 1, 2, 3
NAMES = {"vm1": HERE, "vm2": ELSEWHERE, "r0": ROUTER}


def datapath(*kinds: PortKind) -> LocalDatapath:
    ports = {key: Port(1, key, kind) for key, kind in enumerate(kinds, 1)}
    return LocalDatapath("sw", Datapath(1), ports=ports, port_keys=NAMES)


def compiler() -> FlowCompiler:
    made = FlowCompiler(World(ports={(1, name): key for name, key in NAMES.items()}))
    flows = {
        "here": ('inport == "vm1" && udp.dst == 67', "put_dhcp_opts(offerip = 10.0.0.1)"),
        "elsewhere": ('inport == "vm2" && udp.dst == 67', "put_dhcp_opts(offerip = 10.0.0.2)"),
        "router": (
            'inport == "r0" && nd_rs',
            'put_nd_ra_opts(addr_mode = "slaac", slla = 00:00:00:00:00:01, prefix = fd00::/64)',
        ),
        "any": ("udp.dst == 53", "dns_lookup()"),
    }
    for uuid, (match, verb) in flows.items():
        row = LogicalFlow(uuid, 0, 0, 1, match, f"reg0[3] = {verb}; next;")
        made.set_flow(uuid, row, [1])
    made.flush()
    assert not list(made.unsupported())
    return made


def numbers_of(made: FlowCompiler, *uuids: str) -> set[str]:
    return {str(n) for (uuid, _), found in made.punting() if uuid in uuids for n, _ in found}


def test_ports_elsewhere_do_not_ask() -> None:
    made, askers = compiler(), Askers()
    desired = Desired(datapaths={"sw": datapath(PortKind.VIF, PortKind.REMOTE, PortKind.PATCH)})
    found = askers.numbers(made, desired)
    assert found == numbers_of(made, "here", "router", "any")
    assert askers.numbers(made, desired) is found
    moved = Desired(datapaths={"sw": datapath(PortKind.REMOTE, PortKind.VIF, PortKind.PATCH)})
    assert askers.numbers(made, moved) == numbers_of(made, "elsewhere", "router", "any")
    assert askers.numbers(made, Desired()) == set()


def test_flows_that_go_ask_no_more() -> None:
    made, askers = compiler(), Askers()
    desired = Desired(datapaths={"sw": datapath(PortKind.VIF, PortKind.NONE, PortKind.PATCH)})
    assert askers.numbers(made, desired) == numbers_of(made, "here", "elsewhere", "router", "any")
    made.remove_flow("any")
    made.flush()
    assert askers.numbers(made, desired) == numbers_of(made, "here", "elsewhere", "router")
