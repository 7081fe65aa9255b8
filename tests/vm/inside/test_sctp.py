# SPDX-License-Identifier: Apache-2.0
"""SCTP between real sockets, which the host's kernel may not have: ACLs, NAT, balancing.

Once on our chassis and once on real ovn-controllers with Open vSwitch's kernel data
path, whose tracker's rules ours are (docs/conntrack.md).

    client - ls0 - lr (gateway router on hv1) - ls1 - server1 (on hv1), server2 (on hv2)
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import conntrack, talk
from tests.support.balancers import add, address, change, endpoint, remove_all

TOPOLOGY = """
chassis: {{hv1: {agent}, hv2: {agent}}}
switches:
  ls0: {{ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
  ls1: {{ipv4: 10.0.1.0/24, ipv6: "fd01::/64"}}
routers:
  lr:
    ports:
      lr-ls0: {{switch: ls0, mac: "0e:00:00:00:00:01", networks: [10.0.0.254/24, "fd00::fe/64"]}}
      lr-ls1: {{switch: ls1, mac: "0e:00:00:00:00:02", networks: [10.0.1.254/24, "fd01::fe/64"]}}
ports:
  client: {{switch: ls0, chassis: hv1}}
  server1: {{switch: ls1, chassis: hv1}}
  server2: {{switch: ls1, chassis: hv2}}
nbctl:
  - set logical_router lr options:chassis=hv1
"""
AGENTS = {"ours": "{}", "oracle": "{agent: ovn-controller, datapath: system}"}
SERVERS = ("server1", "server2")
VERSIONS = (4, 6)
VIP = {4: "30.0.0.1", 6: "fd30::1"}
OUTSIDE = {4: "10.0.1.99", 6: "fd01::99"}  # the client's, seen from the servers
PORT = 5000
PROTOCOL = 132  # not in every Python
SECONDS = 120
BULK = 100_000

_STATE = re.compile(r"protoinfo=\(state=([A-Z_]+),vtag_orig=(\d+),vtag_reply=(\d+)\)")


@pytest.fixture(scope="module", params=AGENTS)
def bed(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(parse(TOPOLOGY.format(agent=AGENTS[request.param]))) as sandbox:
        talk.warm(sandbox, *(("client", server) for server in SERVERS))
        yield sandbox


@pytest.fixture(autouse=True)
def nothing_left(bed: Sandbox) -> Iterator[None]:
    conntrack.flush(bed)
    yield
    remove_all(bed)
    change(bed, "clear", "logical_router", "lr", "nat")


@contextmanager
def sctp(bed: Sandbox, guest: str, version: int, port: int = 0) -> Iterator[socket.socket]:
    """A socket of a guest's, bound to its address alone: no second path."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with netns.entered(bed.ports[guest].netns):
        made = socket.socket(family, socket.SOCK_STREAM, PROTOCOL)
    with made:
        made.settimeout(SECONDS)
        made.bind((address(bed, guest, version), port))
        yield made


@dataclass
class Association:
    """Both ends; source: the client as the server sees it."""

    client: socket.socket
    server: socket.socket
    name: str
    source: str

    def talks(self, size: int = 100) -> bool:
        """Do so many bytes arrive, there and back?"""
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            sent, left = bytes(1000), size
            while left > 0:
                sender.sendall(sent[:left])
                got = len(receiver.recv(len(sent[:left]), socket.MSG_WAITALL))
                if not got:
                    return False
                left -= got
        return True


@contextmanager
def associated(bed: Sandbox, version: int, target: str, port: int = PORT) -> Iterator[Association]:
    """The client with whichever server answers at the address."""
    with ExitStack() as stack:
        listeners = {}
        for name in SERVERS:
            listener = stack.enter_context(sctp(bed, name, version, PORT))
            listener.listen()
            listeners[listener] = name
        client = stack.enter_context(sctp(bed, "client", version))
        client.connect((target, port))
        ready, _, _ = select.select(list(listeners), [], [], SECONDS)
        assert len(ready) == 1, f"{ready} accept"
        server, peer = ready[0].accept()
        stack.enter_context(server)
        server.settimeout(SECONDS)
        yield Association(client, server, listeners[ready[0]], peer[0])


def states(bed: Sandbox, target: str) -> list[str]:
    """Those of the tracked associations with this address, both tags known."""
    found = []
    for line in conntrack.dump(bed):
        if line.startswith("sctp,") and f"dst={target}," in line:
            seen = _STATE.search(line)
            assert seen, line
            found.append(seen[1])
            assert seen[1] == "CLOSED" or {seen[2], seen[3]}.isdisjoint({"0"}), line
    return found


def ended(bed: Sandbox, target: str) -> None:
    """Waits until the tracker has seen the last of the association."""
    wait_until(lambda: set(states(bed, target)) <= {"CLOSED"}, SECONDS, "its end")


def guard(bed: Sandbox, action: str = "allow-related") -> None:
    """Everybody may speak to the servers; they speak to nobody first."""
    acl = ("--", "acl-add", "ls1")
    to, by = (
        " || ".join(f'{way} == "{name}"' for name in SERVERS) for way in ("outport", "inport")
    )
    change(
        bed,
        *("acl-add", "ls1", "to-lport", "1000", f"({to}) && sctp.dst == {PORT}", action),
        *(*acl, "to-lport", "900", f"({to}) && ip", "drop"),
        *(*acl, "from-lport", "900", f"({by}) && sctp", "drop"),
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_stateful_acls_let_answers_pass(bed: Sandbox, version: int) -> None:
    guard(bed)
    for name in SERVERS:
        target = address(bed, name, version)
        with associated(bed, version, target) as found:
            assert found.name == name
            assert found.talks()
            assert set(states(bed, target)) == {"ESTABLISHED"}
        ended(bed, target)


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_not_allowed_does_not_pass(bed: Sandbox, version: int) -> None:
    guard(bed, "drop")
    with sctp(bed, "client", version) as client:
        client.settimeout(3)
        with pytest.raises(TimeoutError):
            client.connect((address(bed, "server1", version), PORT))
    assert states(bed, address(bed, "server1", version)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_reject_aborts(bed: Sandbox, version: int) -> None:
    guard(bed, "reject")
    with sctp(bed, "client", version) as client, pytest.raises(ConnectionRefusedError):
        client.connect((address(bed, "server1", version), PORT))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_load_balancer_chooses_servers(bed: Sandbox, version: int) -> None:
    """All of 24 at one: 1.2e-7."""
    hosts = [endpoint(address(bed, name, version), PORT) for name in SERVERS]
    add(bed, "lb", {endpoint(VIP[version], 80): hosts}, "lr:lr", protocol="sctp")
    reached = set()
    for _ in range(24):
        with associated(bed, version, VIP[version], 80) as found:
            assert found.talks()
            assert found.source == address(bed, "client", version)
            assert "ESTABLISHED" in states(bed, VIP[version])
            reached.add(found.name)
        if len(reached) == len(SERVERS):
            break
    assert reached == set(SERVERS)


@pytest.mark.parametrize("version", VERSIONS)
def test_snat_hides_the_client(bed: Sandbox, version: int) -> None:
    inside = address(bed, "client", version)
    change(bed, "lr-nat-add", "lr", "snat", OUTSIDE[version], inside)
    target = address(bed, "server2", version)
    with associated(bed, version, target) as found:
        assert found.source == OUTSIDE[version]
        assert found.talks(BULK)
        assert "ESTABLISHED" in states(bed, OUTSIDE[version])


@pytest.mark.parametrize("version", VERSIONS)
def test_dnat_leads_to_a_server(bed: Sandbox, version: int) -> None:
    change(bed, "lr-nat-add", "lr", "dnat", VIP[version], address(bed, "server2", version))
    with associated(bed, version, VIP[version], PORT) as found:
        assert found.name == "server2"
        assert found.talks(BULK)
        assert states(bed, VIP[version]) == ["ESTABLISHED"]
