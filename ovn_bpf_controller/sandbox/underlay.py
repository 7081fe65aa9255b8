# SPDX-License-Identifier: Apache-2.0
"""The network between chassis: a Linux bridge in a namespace of its own.

The databases and ovn-northd live in that namespace too.  Addresses are from the
ranges reserved for documentation, which no real network routes.
"""

from __future__ import annotations

from dataclasses import dataclass

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.layout import Layout
from ovn_bpf_controller.sandbox.spec import Topology


@dataclass(frozen=True)
class Addresses:
    """A chassis's place in the underlay, by its number from 0."""

    number: int

    @property
    def ipv4(self) -> str:
        return f"192.0.2.{10 + self.number}"

    @property
    def ipv6(self) -> str:
        return f"2001:db8::{10 + self.number:x}"

    def of(self, family: str) -> str:
        """The address of `family`, "ipv4" or "ipv6"."""
        return self.ipv4 if family == "ipv4" else self.ipv6

    @staticmethod
    def server(family: str) -> str:
        """Where the databases listen, as an OVSDB remote spells it."""
        return "192.0.2.1" if family == "ipv4" else "[2001:db8::1]"


def make_bridge(layout: Layout, topology: Topology) -> None:
    """Make the bridge in its namespace, which exists."""
    netns.ip(
        layout.underlay_netns,
        "link add br0 type bridge mcast_snooping 0",
        f"link set br0 mtu {topology.mtu} up",
        "addr add 192.0.2.1/24 dev br0",
        "addr add 2001:db8::1/64 dev br0 nodad",
    )


def connect(layout: Layout, topology: Topology, chassis: str, number: int) -> None:
    """Join a chassis to the bridge by a veth whose end there is eth0."""
    inside, port = layout.chassis_netns(chassis), f"hv{number}"
    netns.ip(
        layout.underlay_netns,
        f"link add {port} mtu {topology.mtu} type veth "
        f"peer name eth0 mtu {topology.mtu} netns {inside}",
        f"link set {port} master br0 up",
    )
    netns.ip(inside, "link set eth0 up")
    if topology.mixed:
        # OVS's userspace data path takes frames from packet sockets as they
        # are: a checksum left to the device would reach the guest unfinished.
        disable_tx_offload(layout.underlay_netns, port)
        disable_tx_offload(inside, "eth0")


def disable_tx_offload(name: str, device: str) -> None:
    """Make `device` in namespace `name` send finished checksums and no GSO."""
    netns.run(netns.argv(name, ["ethtool", "-K", device, "tx", "off"]))
