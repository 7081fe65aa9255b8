# SPDX-License-Identifier: Apache-2.0
"""Port security beside a real ovn-controller: the same flows from the same strings.

The chassis is ovn-controller 23.03 with ovs-vswitchd on dummy devices.  What it has
in OpenFlow tables 73 to 75 is read back and compared rule by rule, except for
neighbour discovery inside table 74, where releases differ (see port_security.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.compile.port_security import IN, IN_ND, OUT, SideRule, Verdict, expand
from tests.support.ovsdb import Daemon, LocalServer, OvnCentral, run_tool

MAC1, MAC2 = "0a:00:00:00:00:01", "0a:00:00:00:00:02"

PORT_SECURITY = [
    [MAC1],
    [f"{MAC1} 10.0.0.1"],
    [f"{MAC1} 10.0.0.1/24"],
    [f"{MAC1} 10.0.0.0/24 192.168.5.0/28"],
    [f"{MAC1} fd00::1"],
    [f"{MAC1} fd00::/64"],
    [f"{MAC1} fd00::1/64 fd01::2"],
    [f"{MAC1} 10.0.0.1 fd00::1"],
    [f"{MAC1} 10.0.0.1", f"{MAC2} 10.0.0.2 fd00::2"],
    [MAC1, f"{MAC2} fd00::2"],
]

Flow = tuple[int, int, frozenset[tuple[str, int, int]], Verdict]

TABLES = {73: IN, 74: IN_ND, 75: OUT}
KINDS = {
    "ip": {"eth.type": 0x0800},
    "arp": {"eth.type": 0x0806},
    "ipv6": {"eth.type": 0x86DD},
    "udp": {"eth.type": 0x0800, "ip.proto": 17},
    "icmp6": {"eth.type": 0x86DD, "ip.proto": 58},
}
FIELDS = {
    "reg14": ("inport", 32),
    "reg15": ("outport", 32),
    "dl_src": ("eth.src", 48),
    "dl_dst": ("eth.dst", 48),
    "nw_src": ("ip4.src", 32),
    "nw_dst": ("ip4.dst", 32),
    "ipv6_src": ("ip6.src", 128),
    "ipv6_dst": ("ip6.dst", 128),
    "arp_spa": ("arp.spa", 32),
    "arp_sha": ("arp.sha", 48),
    "icmp_type": ("icmp6.type", 8),
    "icmp_code": ("icmp6.code", 8),
    "tp_src": ("udp.src", 16),
    "tp_dst": ("udp.dst", 16),
}
KIND_WIDTHS = {"eth.type": 16, "ip.proto": 8}


class Process(Daemon):
    """A daemon of OVS or OVN; whether it has done its work shows in the databases."""

    def __init__(self, directory: Path, name: str, argv: list[str]) -> None:
        super().__init__(directory, name)
        self._argv = argv

    def start(self) -> None:
        common = ["--no-chdir", "-vconsole:info", "-vsyslog:off", "-vfile:off"]
        self.spawn([self.name, *common, *self._argv])


def number(text: str, width: int) -> int:
    if width == 48:
        return int(text.replace(":", ""), 16)
    if "." in text or width == 128:
        return int(ipaddress.ip_address(text))
    return int(text, 0)


def one_field(name: str, text: str) -> tuple[str, int, int]:
    root, width = FIELDS[name]
    full = (1 << width) - 1
    value, _, mask = text.partition("/")
    if not mask:
        return root, number(value, width), full
    if mask.isdecimal():
        return root, number(value, width), full ^ (full >> int(mask))
    return root, number(value, width), number(mask, width)


def parse_flow(line: str) -> Flow:
    """A line of ovs-ofctl dump-flows as a rule."""
    match, _, actions = line.strip().partition(" actions=")
    table = priority = -1
    terms: set[tuple[str, int, int]] = set()
    for token in re.split(r"[, ]+", match):
        name, _, text = token.partition("=")
        if name == "table":
            table = int(text)
        elif name == "priority":
            priority = int(text)
        elif name in KINDS:
            terms |= {(f, v, (1 << KIND_WIDTHS[f]) - 1) for f, v in KINDS[name].items()}
        elif name not in ("cookie", "metadata", ""):
            terms.add(one_field(name, text))
    verdict = {
        "set_field:0x1000/0x1000->reg10": Verdict.DENY,
        "set_field:0/0x1000->reg10": Verdict.ALLOW,
        "resubmit(,74)": Verdict.ASK_ND,
    }[actions]
    return TABLES[table], priority, frozenset(terms), verdict


def comparable(rule: SideRule) -> Flow:
    return rule.table, rule.priority, frozenset(rule.conj), rule.verdict


def discovery(flow: Flow) -> bool:
    return flow[0] == IN_ND and ("ip.proto", 58, 0xFF) in flow[2]


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What a real chassis has in tables 73 to 75 with a port for each case."""
    directory = tmp_path_factory.mktemp("chassis")
    with OvnCentral(directory / "central") as central, LocalServer(directory / "hv") as ovs:
        vswitchd = Process(
            directory / "hv",
            "ovs-vswitchd",
            ["--enable-dummy=override", "--disable-system", ovs.remote],
        )
        controller = Process(directory / "hv", "ovn-controller", [ovs.remote])
        with vswitchd:
            ovs.vsctl(
                *("set", "Open_vSwitch", ".", "external_ids:system-id=hv1"),
                f"external_ids:ovn-remote={central.sb.remote}",
                *("external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip=127.0.0.1"),
                *("--", "add-br", "br-int"),
                *("--", "set", "Bridge", "br-int", "datapath_type=dummy", "fail-mode=secure"),
            )
            central.nbctl("ls-add", "sw0")
            for n, strings in enumerate(PORT_SECURITY):
                central.nbctl("lsp-add", "sw0", f"lp{n}")
                central.nbctl("lsp-set-port-security", f"lp{n}", *strings)
                ovs.vsctl(
                    *("add-port", "br-int", f"vif{n}"),
                    *("--", "set", "Interface", f"vif{n}", "type=dummy"),
                    f"external_ids:iface-id=lp{n}",
                )
            with controller:
                for n in range(len(PORT_SECURITY)):
                    central.sbctl("wait-until", "Port_Binding", f"lp{n}", "up=true")
                central.nbctl("--wait=hv", "sync")
                yield [
                    line
                    for table in TABLES
                    for line in run_tool(
                        *("ovs-ofctl", "--no-stats", "--no-names", "-OOpenFlow15"),
                        *("dump-flows", f"unix:{directory}/hv/br-int.mgmt", f"table={table}"),
                    ).splitlines()
                    if "priority=" in line
                ]


@pytest.mark.parametrize("n", range(len(PORT_SECURITY)), ids=lambda n: "; ".join(PORT_SECURITY[n]))
def test_port_security_is_what_ovn_controller_makes_of_it(flows: list[str], n: int) -> None:
    key = n + 1  # tunnel keys of a switch's ports, in the order in which they came
    named = re.compile(rf"\breg1[45]=0x{key:x},")
    theirs = {parse_flow(line) for line in flows if named.search(line)
              and not ("table=74" in line and "icmp6" in line)}  # fmt: skip
    rules, errors = expand(key, PORT_SECURITY[n])
    assert not errors
    ours = {comparable(rule) for rule in rules}
    assert {f for f in ours if not discovery(f)} == theirs
    assert any(discovery(f) for f in ours)
