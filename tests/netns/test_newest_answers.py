# SPDX-License-Identifier: Apache-2.0
"""What only the newest northd asks of a chassis: DHCP relay, and DHCPv6's newer options.

A real client and a real server, with a router of ours between them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scapy.layers import dhcp6
from scapy.layers.inet6 import UDP, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import dhcp, newest, traffic

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

TOPOLOGY = """
chassis:
  hv1: {agent: ovn-bpf-controller}
  hv2: {agent: ovn-bpf-controller}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 172.16.0.0/24}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      r0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [172.16.0.1/24]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  server: {switch: sw1, chassis: hv2}
"""
SERVED = """
authoritative;
default-lease-time 600;
subnet 172.16.0.0 netmask 255.255.255.0 {}
subnet 10.0.0.0 netmask 255.255.255.0 {
    range 10.0.0.100 10.0.0.110;
    option routers 10.0.0.1;
    option domain-name "relayed.org";
}
"""


@pytest.fixture(scope="module")
def newest_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with newest.sandbox(TOPOLOGY, tmp_path_factory.mktemp("programs")) as made:
        yield made


@contextmanager
def dhcpd(bed: Sandbox, directory: Path) -> Iterator[Path]:
    """ISC's server in its guest; what it says."""
    config, leases, log = (directory / name for name in ("dhcpd.conf", "leases", "log"))
    config.write_text(SERVED)
    leases.touch()
    files = ["-cf", str(config), "-lf", str(leases), "-pf", str(directory / "dhcpd.pid")]
    argv = bed.ports["server"].argv("dhcpd", "-4", "-d", *files, "eth0")
    with log.open("wb") as out:
        daemon = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        process.wait_until(lambda: "Sending on" in log.read_text(), 60.0, "dhcpd to start")
        yield log
    finally:
        daemon.terminate()
        daemon.wait()


def test_a_client_is_configured_by_a_server_behind_the_relay(
    newest_bed: Sandbox, tmp_path: Path
) -> None:
    bed = newest_bed
    server = bed.ports["server"].ip4
    row = bed.nbctl("create", "DHCP_Relay", "name=there", f'servers="{server}"')
    bed.nbctl("set", "logical_router_port", "r0-sw0", f"dhcp_relay={row}")
    [peer] = [
        name
        for name in bed.nbctl("--bare", "--columns=name", "list", "logical_switch_port").split()
        if bed.nbctl("get", "logical_switch_port", name, "options") == "{router-port=r0-sw0}"
    ]
    bed.nbctl("set", "logical_switch", "sw0", f"other_config:dhcp_relay_port={peer}")
    bed.sync()
    assert "dhcp_relay_req_chk" in bed.sbctl("lflow-list", "r0")
    with dhcpd(bed, tmp_path) as log:
        got = dhcp.dhclient(bed, "vm1", tmp_path, "-4")
        said = log.read_text()
    assert got["new_ip_address"].startswith("10.0.0.1")
    assert (got["new_routers"], got["new_domain_name"]) == ("10.0.0.1", "relayed.org")
    assert got["new_dhcp_server_identifier"] == server
    assert "via 10.0.0.1" in said


def test_newer_options_of_dhcpv6(newest_bed: Sandbox) -> None:
    bed = newest_bed
    # A switch with a relay has no answers of its own.
    bed.nbctl("remove", "logical_switch", "sw0", "other_config", "dhcp_relay_port")
    options = {"server_id": "c0:ff:ee:00:00:01", "fqdn": '"vm1.ovn.org"'}
    options |= {"bootfile_name": '"tftp://[fd00::9]/ipxe"'}
    options |= {"bootfile_name_alt": '"tftp://[fd00::9]/other"'}
    dhcp.serve6(bed, options, "vm1")
    for ipxe in (False, True):
        reply = solicit(bed, ipxe=ipxe)
        url = reply[dhcp6.DHCP6OptBootFileUrl].optdata if boot(reply) else b""
        assert bytes(url) == b"tftp://[fd00::9]/" + (b"ipxe" if ipxe else b"other")
        name = reply[dhcp6.DHCP6OptClientFQDN]
        assert bytes(name.fqdn).rstrip(b".") == b"vm1.ovn.org"
        # It registers nothing (N), and says so to who asked it to (O).
        assert int(name.flags) == 6


def boot(reply: Packet) -> bool:
    return dhcp6.DHCP6OptBootFileUrl in reply


def solicit(bed: Sandbox, *, ipxe: bool) -> Packet:
    port = bed.ports["vm1"]
    header = IPv6(src="fe80::77", dst="ff02::1:2", hlim=1) / UDP(sport=546, dport=547)
    duid = dhcp6.DUID_LL(lladdr=port.mac)
    message = dhcp6.DHCP6_Solicit(trid=5) / dhcp6.DHCP6OptClientId(duid=duid)
    message = message / dhcp6.DHCP6OptIA_NA(iaid=9) / dhcp6.DHCP6OptClientFQDN(fqdn=b"x", flags=1)
    if ipxe:
        said = [dhcp6.USER_CLASS_DATA(data=b"iPXE")]
        message = message / dhcp6.DHCP6OptUserClass(userclassdata=said)
    with traffic.Wire(port.netns, "eth0") as wire:
        wire.send(bytes(Ether(src=port.mac, dst="33:33:00:01:00:02") / header / message))
        found = wire.first(lambda data: dhcp6.DHCP6_Advertise in Ether(data), traffic.ARRIVES)
    assert found is not None
    return Ether(found)
