# SPDX-License-Identifier: Apache-2.0
"""Guests of a container: namespaces that are plugged as a hypervisor would plug them."""

from __future__ import annotations

import re

from tests.packaging.container import Container


def configure(host: Container, encap: str = "127.0.0.1") -> None:
    """A chassis of its own Southbound, with one switch.  encap: its tunnels' address."""
    host.run(
        *("ovs-vsctl", "set", "open", ".", "external-ids:system-id=hv1"),
        "external-ids:ovn-remote=unix:/var/run/ovn/ovnsb_db.sock",
        *("external-ids:ovn-encap-type=geneve", f"external-ids:ovn-encap-ip={encap}"),
        # This machine's kernel has no module for vswitchd's other kind.
        "external-ids:ovn-bridge-datapath-type=netdev",
    )
    host.run("ovn-nbctl", "ls-add", "sw0")


def settle(host: Container) -> None:
    """Until all ports are bound and the data plane has what Northbound says."""
    for name in names(host):
        host.run("ovn-nbctl", "--timeout=60", "wait-until", "logical_switch_port", name, "up=true")
    host.run("ovn-nbctl", "--timeout=60", "--wait=hv", "sync")


def names(host: Container) -> list[str]:
    """Logical ports."""
    command = ("ovn-nbctl", "--bare", "--columns=name", "list", "logical_switch_port")
    return host.run(*command).split()


def plug(host: Container, number: int) -> None:
    """A guest in a network namespace, as a hypervisor would plug it."""
    name, mac, address = f"vm{number}", f"0a:00:00:00:00:0{number}", f"10.0.0.{number}"
    host.run("ovn-nbctl", "lsp-add", "sw0", name)
    host.run("ovn-nbctl", "lsp-set-addresses", name, f"{mac} {address}")
    host.run("ip", "netns", "add", name)
    host.run(*f"ip link add tap{number} type veth peer name eth0 netns {name}".split())
    host.run(*f"ip link set tap{number} up".split())
    host.run(*f"ip -n {name} link set eth0 address {mac} up".split())
    host.run(*f"ip -n {name} addr add {address}/24 dev eth0".split())
    host.run(
        *("ovs-vsctl", "--no-wait", "add-port", "br-int", f"tap{number}"),
        *("--", "set", "interface", f"tap{number}", f"external-ids:iface-id={name}"),
    )


def unplug(host: Container, number: int) -> None:
    """Takes a guest away, and its logical port."""
    host.run("ovs-vsctl", "--no-wait", "del-port", "br-int", f"tap{number}")
    host.run("ip", "netns", "del", f"vm{number}")
    host.run("ovn-nbctl", "lsp-del", f"vm{number}")


def pings(host: Container, count: int = 1, interval: float = 0.2, to: str = "10.0.0.2") -> int:
    """How many of `count` echo requests from one guest to another are lost."""
    out = host.call(
        *("ip", "netns", "exec", "vm1", "ping", "-q", "-n", "-W", "1"),
        *("-c", str(count), "-i", str(interval), to),
    ).stdout
    found = re.search(r"(\d+) packets transmitted, (\d+) received", out)
    assert found, out
    return int(found[1]) - int(found[2])
