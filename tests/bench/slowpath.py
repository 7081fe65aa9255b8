# SPDX-License-Identifier: Apache-2.0
"""How long the slow path takes to answer: at rest, while another port floods it, and
while the agent compiles a large deployment anew.

What is asked is what the slow path alone answers: DHCPv6, and while the agent compiles
packets whose next hop it has to ask for; during the flood DHCPv4 and ARP besides, which the
program answers.  What counts are the kernel's times of request and answer at the guest's
device: it takes Python longer to notice.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.bench import ending
from tests.bench.scale import databases
from tests.bench.scale.client import Client
from tests.bench.scale.contender import OURS, Contender
from tests.bench.scale.measure import Bench
from tests.support import dhcp, punting
from tests.support.ovsdb import OvsdbServer

BOUND = 0.05  # seconds: what is promised while a port floods
PLUGGED = 50
_TOPOLOGY = """
chassis: {hv1: {agent: ovn-bpf-controller}}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""
_SERVER = "c0:ff:ee:00:00:01"
_OPTIONS = {"server_id": "10.0.0.1", "server_mac": _SERVER, "lease_time": "3600"}

Row = dict[str, float]


def measure(seconds: float = 10.0, topology: str = "L") -> dict[str, Row]:
    """By situation: median and worst in ms, and how many of how many questions were
    answered; of a flood its frames a second."""
    found = {}
    with Sandbox(parse(_TOPOLOGY)) as bed:
        punting.serve(bed, "vm1", "vm2")
        punting.latencies(bed, "vm2", 0.5)
        found["at rest"] = _row(punting.latencies(bed, "vm2", seconds))
        for name, question in _questions(bed, "vm2").items():
            with punting.flooding(bed, "vm1", seconds) as flood:
                answers = punting.asked(bed.ports["vm2"].netns, "eth0", question, seconds)
            found[f"another port floods: {name}"] = _row(answers) | {"flood": flood.rate}
    for name, row in _recompile(seconds, topology).items():
        found[f"the agent compiles {topology} anew: {name}"] = row
    return found


def _questions(bed: Sandbox, guest: str) -> dict[str, punting.Question]:
    """What a guest asks during a flood: the slow path, and what the program answers."""
    dhcp.serve(bed, _OPTIONS, guest)
    port, other = bed.ports[guest], bed.ports["vm1"]
    return {
        "DHCPv6": punting.dhcpv6(port.mac),
        "DHCPv4": punting.dhcpv4(port.mac),
        "ARP": punting.arp(port.mac, port.ip4, other.ip4),
    }


def _row(latencies: list[float]) -> Row:
    answered = [each for each in latencies if each < float("inf")]
    return {
        "asked": len(latencies),
        "answered": len(answered),
        "median": statistics.median(answered or [float("inf")]) * 1000,
        "worst": max(answered or [float("inf")]) * 1000,
    }


def _recompile(seconds: float, topology: str) -> dict[str, Row]:
    deployment = databases.get(topology)
    local = deployment.local[:PLUGGED]
    with tempfile.TemporaryDirectory(prefix="obs-scale-") as directory:
        home = Path(directory, "run")
        home.mkdir()
        server = OvsdbServer(home)
        shutil.copy(deployment.southbound, server.database)
        with server, Contender(home, OURS, server.remote, True, local, 0) as contender:
            mac = _serve(Client(str(server.socket), "OVN_Southbound"), local[0])
            bench = Bench(server, contender)
            try:
                bench.cold(local)
                where = f"/proc/{contender.pid}/ns/net"
                for device in ("t0", "t0p"):
                    command = ["nsenter", f"--net={where}", "ip", "link", "set", device, "up"]
                    subprocess.run(command, check=True)
                questions = {
                    "DHCPv6": punting.dhcpv6(mac),
                    "ARP for a next hop": punting.next_hop(mac, 4),
                    "ND for a next hop": punting.next_hop(mac, 6),
                }
                punting.asked(where, "t0p", questions["DHCPv6"], 0.5)
                return {
                    name: _while_compiling(contender, where, question, seconds)
                    for name, question in questions.items()
                }
            finally:
                bench.close()


def _while_compiling(
    contender: Contender, where: str, question: punting.Question, seconds: float
) -> Row:
    answers: list[float] = []

    def ask() -> None:
        answers.extend(punting.asked(where, "t0p", question, seconds))

    guest = threading.Thread(target=ask)
    before, begun = contender.cost().cpu, time.monotonic()
    guest.start()
    while guest.is_alive():
        contender.appctl("inc-engine/recompute")
    guest.join()
    cpu = (contender.cost().cpu - before) / (time.monotonic() - begun)
    return _row(answers) | {"cpu": cpu}


def _serve(southbound: Client, lport: str) -> str:
    """Flows for what a port asks, past all that guards it; its MAC address."""
    [binding] = southbound.select("Port_Binding", ["logical_port", "==", lport])
    mac = str(binding["mac"]).split()[0]
    asks = f'inport == "{lport}" && udp.src == 546 && udp.dst == 547'
    hop = f'inport == "{lport}" && ip.proto == {punting.NEXT_HOP}'
    back = f"eth.src = {_SERVER}; outport = inport; flags.loopback = 1; output;"
    turn = "eth.dst = eth.src; ip6.dst = ip6.src; ip6.src = fe80::1; udp.src = 547; udp.dst = 546;"
    flows = [
        ("ingress", 0, asks, f"reg0[3] = put_dhcpv6_opts(server_id = {_SERVER}); next;"),
        ("ingress", 1, f"{asks} && reg0[3]",
         f"{turn} {back}"),
        ("ingress", 0, f"{hop} && ip4", f"arp {{ arp.op = 1; arp.tpa = ip4.dst; {back} }};"),
        ("ingress", 0, f"{hop} && ip6", f"nd_ns {{ {back} }};"),
        ("egress", 0, f"eth.src == {_SERVER} && (udp.dst == 546 || arp || nd_ns)", "output;"),
    ]  # fmt: skip
    southbound.transact(
        *(
            {"op": "insert", "table": "Logical_Flow",
             "row": {"logical_datapath": binding["datapath"], "pipeline": pipeline,
                     "table_id": table, "priority": 65535, "match": match, "actions": actions}}
            for pipeline, table, match, actions in flows
        )
    )  # fmt: skip
    southbound.close()
    return mac


def report(found: dict[str, Row]) -> str:
    """A line a situation."""
    lines = ["Answers to a guest"]
    for name, row in found.items():
        more = ""
        if "flood" in row:
            more = f", {row['flood']:,.0f} requests/s of the other port"
        if "cpu" in row:
            more = f", agent at {row['cpu']:.0%} of a CPU"
        missed = " MISSED" if row["answered"] < row["asked"] or row["worst"] > BOUND * 1000 else ""
        lines.append(
            f"  {name:44}{row['answered']:6.0f} of {row['asked']:.0f}, median "
            f"{row['median']:7.2f} ms, worst {row['worst']:8.2f} ms{more}{missed}"
        )
    return "\n".join(lines)


def main() -> None:
    """python -m tests.bench.slowpath"""
    ending.by_signal()
    found: dict[str, Any] = measure()
    print(report(found))


if __name__ == "__main__":
    main()
