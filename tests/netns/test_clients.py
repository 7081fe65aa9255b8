# SPDX-License-Identifier: Apache-2.0
"""What real programs make of the answers: dhclient, dig, arping, ndisc6, rdisc6."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, traffic

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""
ROUTER, LINK_LOCAL = "0e:00:00:00:00:01", "fe80::c00:ff:fe00:1"
RECORDS = {
    "vm.ovn.org": "10.0.0.4 aef0::4",
    "only4.ovn.org": "10.0.0.6",
    "4.0.0.10.in-addr.arpa": "vm.ovn.org",
}
OPTIONS = {
    "server_id": "10.0.0.1",
    "server_mac": ROUTER,
    "lease_time": "3600",
    "router": "10.0.0.1",
    "dns_server": "{10.0.0.53, 10.0.0.54}",
    "mtu": "1400",
    "domain_name": '"ovn.org"',
    "domain_search_list": '"ovn.org,sub.ovn.org"',
    "ntp_server": "10.0.0.123",
    "classless_static_route": "{172.16.0.0/12,10.0.0.9, 0.0.0.0/0,10.0.0.1}",
}
RA = {
    "address_mode": "dhcpv6_stateless",
    "mtu": "1400",
    "router_preference": "HIGH",
    "rdnss": '"fd00::53"',
    "dnssl": '"ovn.org"',
    "route_info": '"LOW-fd02::/48"',
}


@pytest.fixture(scope="module", autouse=True)
def configured(bed: Sandbox) -> None:
    text = ",".join(f'"{name}"="{value}"' for name, value in RECORDS.items())
    row = bed.nbctl("create", "DNS", f"records={{{text}}}")
    bed.nbctl("set", "logical_switch", "sw0", f"dns_records={row}")
    said = [f"ipv6_ra_configs:{name}={value}" for name, value in RA.items()]
    bed.nbctl("set", "logical_router_port", "r0-sw0", *said)
    dhcp.serve(bed, OPTIONS, "vm1")


def test_dhclient_is_configured_over_ipv4(bed: Sandbox, tmp_path: Path) -> None:
    config = """
        option rfc3442 code 121 = array of unsigned integer 8;
        request subnet-mask, routers, domain-name, domain-name-servers, domain-search,
            interface-mtu, ntp-servers, rfc3442;
    """
    got = dhcp.dhclient(bed, "vm1", tmp_path, "-4", config=config)
    assert got["new_ip_address"] == bed.ports["vm1"].guest.address(4)
    assert got["new_subnet_mask"] == "255.255.255.0"
    assert got["new_routers"] == got["new_dhcp_server_identifier"] == "10.0.0.1"
    assert got["new_domain_name_servers"] == "10.0.0.53 10.0.0.54"
    assert (got["new_domain_name"], got["new_interface_mtu"]) == ("ovn.org", "1400")
    assert got["new_domain_search"] == "ovn.org. sub.ovn.org."
    assert (got["new_ntp_servers"], got["new_dhcp_lease_time"]) == ("10.0.0.123", "3600")
    assert got["new_rfc3442"] == "12 172 16 10 0 0 9 0 10 0 0 1"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("question", "answers"),
    [
        (("vm.ovn.org", "A"), ["10.0.0.4"]),
        (("VM.ovn.ORG", "AAAA"), ["aef0::4"]),
        (("-x", "10.0.0.4"), ["vm.ovn.org."]),
    ],
)
def test_dig_is_answered(
    bed: Sandbox, kind: str, version: int, question: tuple[str, str], answers: list[str]
) -> None:
    """The server asked is vm2, which has none: nobody else answers."""
    server = bed.ports["vm2"].guest.address(version)
    # 23.03.1 leaves queries with EDNS alone; releases before it and after it do not.
    edns = ["+noedns"] if kind == "oracle" else []
    said = bed.ports["vm1"].run("dig", f"@{server}", "+tries=6", "+time=5", *edns, *question)
    lines = [line for line in said.splitlines() if line and not line.startswith(";")]
    assert [line.split()[-1] for line in lines] == answers
    assert "status: NOERROR" in said and re.search(r"flags: qr .*rd", said)


@pytest.mark.parametrize("target", ["router", "vm2"])
def test_arping_is_answered(bed: Sandbox, target: str) -> None:
    address, mac = ("10.0.0.1", ROUTER)
    if target != "router":
        address, mac = bed.ports[target].ip4, bed.ports[target].mac
    said = bed.ports["vm1"].run("arping", "-c", "1", "-w", "30", "-I", "eth0", address)
    assert f"[{mac.upper()}]" in said and "Received 1 response" in said


@pytest.mark.parametrize("target", ["router", "vm2"])
def test_ndisc6_is_answered(bed: Sandbox, target: str) -> None:
    address, mac = ("fd00::1", ROUTER)
    if target != "router":
        address, mac = bed.ports[target].ip6, bed.ports[target].mac
    said = bed.ports["vm1"].run("ndisc6", "-1", "-r", "10", "-w", "2000", address, "eth0")
    assert f"Target link-layer address: {mac.upper()}" in said


def test_rdisc6_reads_the_advertisement(bed: Sandbox) -> None:
    port = bed.ports["vm1"]
    said = traffic.output(port.argv("rdisc6", "-1", "-r", "10", "-w", "2000", "eth0"))
    facts = dict(re.findall(r"^\s*([A-Z][^:]*?)\s*:\s*(.*?)\s*$", said, re.MULTILINE))
    assert facts["Stateful address conf."] == "No"
    assert facts["Stateful other conf."] == "Yes"
    assert facts["Router preference"] == "high"
    assert facts["Prefix"] == "fd00::/64" and facts["Autonomous address conf."] == "Yes"
    assert facts["MTU"].startswith("1400 ")
    assert facts["Recursive DNS server"] == "fd00::53"
    assert facts["DNS search list"] == "ovn.org"
    assert facts["Route"] == "fd02::/48" and facts["Route preference"] == "low"
    assert facts["Source link-layer address"] == ROUTER.upper()
    assert f"from {LINK_LOCAL}" in said
