# SPDX-License-Identifier: Apache-2.0
"""Load balancers and ACLs of a sandbox's Northbound, made by a test and removed after.

For the modules that share one topology among many tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack


def endpoint(address: str, port: int = 0) -> str:
    """ "192.0.2.1:80", "[2001:db8::1]:80", or the address alone."""
    if not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def address(bed: Sandbox, port: str, version: int) -> str:
    """A guest's address of IP `version`."""
    return bed.ports[port].ip4 if version == 4 else bed.ports[port].ip6


def change(bed: Sandbox, *command: str) -> None:
    """ovn-nbctl, and wait until every chassis obeys."""
    bed.nbctl("--wait=hv", "--", *command)


def settle(bed: Sandbox) -> None:
    """Let Open vSwitch forget what it has cached."""
    for chassis in bed.chassis.values():
        chassis.purge_flows()


def add(
    bed: Sandbox,
    name: str,
    vips: Mapping[str, Iterable[str]],
    *owners: str,
    protocol: str = "tcp",
    options: Mapping[str, str] | None = None,
) -> None:
    """Make load balancer `name` on switches and routers, and wait until it is obeyed.

    vips: endpoints of backends by virtual endpoint, neither with a port for all
    protocols.  owners: "ls:foo", "lr:r1".
    """
    pairs = [f'vips:"{vip}"="{",".join(backends)}"' for vip, backends in vips.items()]
    pairs += [f"options:{key}={value}" for key, value in (options or {}).items()]
    command = ["--id=@lb", "create", "load_balancer", f"name={name}", f"protocol={protocol}"]
    command += pairs
    for owner in owners:
        kind, _, owning = owner.partition(":")
        table = {"ls": "logical_switch", "lr": "logical_router"}[kind]
        command += ["--", "add", table, owning, "load_balancer", "@lb"]
    change(bed, *command)


def remove_all(bed: Sandbox) -> None:
    """No load balancer, ACL, port group; wait until that is obeyed."""
    command = ["--all", "destroy", "load_balancer", "--", "--all", "destroy", "port_group"]
    for switch in bed.topology.switches:
        command += ["--", "clear", "logical_switch", switch, "acls"]
    change(bed, *command)


def tracked(
    client: str, vip: str, backends: Iterable[str], after: str = ",mark=2", protocol: str = "tcp"
) -> list[str]:
    """What conntrack.towards() says of a client's connections to a virtual address."""
    line = {"tcp": conntrack.tcp, "udp": conntrack.udp, "icmp": conntrack.echo}[protocol]
    return sorted(line((client, vip), (backend, client), after) for backend in backends)
