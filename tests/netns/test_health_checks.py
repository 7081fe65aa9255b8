# SPDX-License-Identifier: Apache-2.0
"""Load balancer health checks: a backend whose server stops gets no connections.

OVN's system tests 26 and 27, "Load balancer health checks": one backend is on the
client's switch and one behind a router, ACLs let services alone be reached, and where no
backend is left the client is refused.  UDP besides.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support import traffic

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}
  sw1: {ipv4: 20.0.0.0/24, ipv6: "fd20::/64"}
routers:
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
      lr0-sw1: {switch: sw1, mac: "0e:00:00:00:00:02", networks: [20.0.0.1/24, "fd20::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1, port_security: true}
  vm2: {switch: sw0, chassis: hv1, port_security: true}
  vm3: {switch: sw1, chassis: hv2, port_security: true}
port_groups: {guests: [vm1, vm2, vm3]}
nbctl:
  - acl-add guests from-lport 1001 "inport == @guests && ip" drop
  - acl-add guests from-lport 1002 "inport == @guests && ip" allow-related
  - acl-add guests to-lport 1001 "outport == @guests && ip" drop
  - acl-add guests to-lport 1002 "outport == @guests && (icmp || tcp.dst == 80 || udp.dst == 80)"
      allow-related
"""
BACKENDS = ("vm2", "vm3")
PORT = 80
PATIENCE = 60.0
KINDS = ("alone", "oracle")
VIP = {4: "10.0.0.100", 6: "fd00::100"}
PROBE = {  # where checks of a backend seem to come from
    "vm2": {4: "10.0.0.200", 6: "fd00::200"},
    "vm3": {4: "20.0.0.200", 6: "fd20::200"},
}
OFTEN = [f"options:{name}=1" for name in ("interval", "timeout", "success_count", "failure_count")]


def literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class Service:
    """What listens in each backend, as far as it is started."""

    def __init__(self, bed: Sandbox, version: int, protocol: str) -> None:
        self._bed = bed
        self._version = version
        self._kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        self.sockets: dict[str, socket.socket] = {}

    def start(self, name: str) -> None:
        family = socket.AF_INET if self._version == 4 else socket.AF_INET6
        with netns.entered(self._bed.ports[name].netns):
            made = socket.socket(family, self._kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(self._bed.ports[name].guest.address(self._version)), PORT))
        if self._kind == socket.SOCK_STREAM:
            made.listen(64)
        made.setblocking(False)
        self.sockets[name] = made

    def stop(self, name: str) -> None:
        self.sockets.pop(name).close()

    def took(self) -> set[str]:
        """Who has a connection that nobody has taken yet; they are all taken."""
        found = set()
        for name, listener in self.sockets.items():
            while True:
                try:
                    listener.accept()[0].close()
                except BlockingIOError:
                    break
                found.add(name)
        return found


CASES = [(4, "tcp"), (6, "tcp"), (4, "udp"), (6, "udp")]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[1]}{case[0]}")
def case(request: pytest.FixtureRequest) -> tuple[int, str]:
    found: tuple[int, str] = request.param
    return found


@pytest.fixture(scope="module")
def service(bed: Sandbox, case: tuple[int, str]) -> Iterator[Service]:
    """A load balancer with health checks; nothing listens behind it yet."""
    version, protocol = case
    addresses = {name: str(bed.ports[name].guest.address(version)) for name in BACKENDS}
    vip = f"{literal(VIP[version])}:{PORT}"
    backends = ",".join(f"{literal(address)}:{PORT}" for address in addresses.values())
    bed.nbctl("--reject", "lb-add", "lb", vip, backends, protocol)
    for name, address in addresses.items():
        mapping = f'"{literal(address)}"="{name}:{literal(PROBE[name][version])}"'
        bed.nbctl("set", "load_balancer", "lb", f"ip_port_mappings:{mapping}")
    create = ("--id=@check", "create", "load_balancer_health_check", f'vip="{vip}"', *OFTEN)
    bed.nbctl(*create, "--", "set", "load_balancer", "lb", "health_check=@check")
    for switch in ("sw0", "sw1"):
        bed.nbctl("ls-lb-add", switch, "lb")
    bed.nbctl("--wait=hv", "lr-lb-add", "lr0", "lb")
    traffic.acquaint(bed, "vm1", "vm2")
    router = f"{VIP[version]} lladdr 0e:00:00:00:00:01"
    netns.ip(bed.ports["vm1"].netns, f"neigh replace {router} dev eth0 nud permanent")
    made = Service(bed, version, protocol)
    yield made
    for name in list(made.sockets):
        made.stop(name)
    bed.nbctl("--wait=hv", "lb-del", "lb")


def statuses(bed: Sandbox) -> dict[str, str]:
    out = bed.sbctl("--bare", "--columns=logical_port,status", "list", "service_monitor")
    words = out.split()
    return dict(zip(words[::2], words[1::2], strict=False))


def wait_statuses(bed: Sandbox, **wanted: str) -> None:
    wait_until(lambda: statuses(bed) == wanted, PATIENCE, f"{wanted} of service monitors")


def backends(bed: Sandbox) -> set[str]:
    """Names of those that flows balance to."""
    flows = [line for line in bed.sbctl("dump-flows", "sw0").splitlines() if "backends=" in line]
    guests = {name: bed.ports[name].guest for name in BACKENDS}
    return {
        name
        for name, guest in guests.items()
        for line in flows
        if any(f"{literal(str(guest.address(v)))}:{PORT}" in line for v in (4, 6))
    }


def refused(bed: Sandbox, version: int, protocol: str) -> bool:
    """Whether the client is told that nobody serves the virtual address."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(family, kind)
    with client:
        client.settimeout(traffic.ARRIVES)
        try:
            client.connect((VIP[version], PORT))
            client.send(b"?")
            client.recv(1)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


def visit(bed: Sandbox, version: int) -> bool:
    """A TCP connection to the virtual address.

    There is none while all backends are offline, as a check that is answered late makes
    the only one for a moment.
    """
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(bed.ports["vm1"].netns):
        client = socket.socket(family, socket.SOCK_STREAM)
    with client:
        client.settimeout(traffic.ARRIVES)
        try:
            client.connect((VIP[version], PORT))
        except (TimeoutError, ConnectionRefusedError):
            return False
    return True


def test_connections_go_where_servers_are(
    bed: Sandbox, service: Service, case: tuple[int, str]
) -> None:
    version, protocol = case
    wait_statuses(bed, vm2="offline", vm3="offline")
    for name in BACKENDS:
        service.start(name)
    wait_statuses(bed, vm2="online", vm3="online")
    wait_until(lambda: backends(bed) == set(BACKENDS), PATIENCE, "both backends in flows")
    service.stop("vm3")
    wait_statuses(bed, vm2="online", vm3="offline")
    wait_until(lambda: backends(bed) == {"vm2"}, PATIENCE, "one backend in flows")
    bed.nbctl("--wait=hv", "sync")
    if protocol == "tcp":
        service.took()
        for _ in range(20):
            wait_until(lambda: visit(bed, version), PATIENCE, "a connection")
        assert service.took() == {"vm2"}
    service.stop("vm2")
    wait_statuses(bed, vm2="offline", vm3="offline")
    wait_until(lambda: not backends(bed), PATIENCE, "no backend in flows")
    bed.nbctl("--wait=hv", "sync")
    assert traffic.obeyed(bed, lambda: refused(bed, version, protocol))
    for name in BACKENDS:
        service.start(name)
    wait_statuses(bed, vm2="online", vm3="online")


@pytest.mark.parametrize("case", CASES[:1], ids=["tcp4"], indirect=True)
def test_only_ports_that_are_plugged_are_online(bed: Sandbox, service: Service) -> None:
    """northd says so, and nobody contradicts."""
    for name in BACKENDS:
        if name not in service.sockets:
            service.start(name)
    wait_statuses(bed, vm2="online", vm3="online")
    bed.unplug("vm2")
    wait_statuses(bed, vm2="offline", vm3="online")
    bed.nbctl("--wait=hv", "sync")
    assert statuses(bed)["vm2"] == "offline"
    service.stop("vm2")
    bed.plug("vm2", "hv1")
    service.start("vm2")
    wait_statuses(bed, vm2="online", vm3="online")
