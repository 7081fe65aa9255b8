# SPDX-License-Identifier: Apache-2.0
"""A guest: a namespace whose eth0 is the other end of a logical port's VIF.

bed.Sandbox makes and plugs them.  Where each is plugged is kept in a file, so
that the next command of the command line knows.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import manifest, netns, underlay
from ovn_bpf_controller.sandbox.chassis import Chassis
from ovn_bpf_controller.sandbox.layout import Layout, token, vif_name
from ovn_bpf_controller.sandbox.spec import Interface, Topology


@dataclass(frozen=True)
class Guest:
    """What the inside of a port looks like.  ips: "address/prefix"; mtu in bytes."""

    lsp: str
    mac: str
    ips: tuple[str, ...]
    gateways: tuple[str, ...]
    mtu: int

    def address(self, version: int) -> str | None:
        """The first address of IP `version`, without its prefix length."""
        for text in self.ips:
            interface = ipaddress.ip_interface(text)
            if interface.version == version:
                return str(interface.ip)
        return None


class Port:
    """A logical port's guest; chassis is the name of where it is plugged, or ""."""

    def __init__(self, layout: Layout, guest: Guest, chassis: str = "") -> None:
        self.guest = guest
        self.name = guest.lsp
        self.chassis = chassis
        self.netns = layout.port_netns(guest.lsp)
        self.vif = vif_name(guest.lsp)
        self._file = layout.ports / f"{token(guest.lsp)}.json"

    @property
    def mac(self) -> str:
        return self.guest.mac

    @property
    def ip4(self) -> str:
        """The guest's IPv4 address; SandboxError if it has none."""
        return self._address(4)

    @property
    def ip6(self) -> str:
        """The guest's IPv6 address; SandboxError if it has none."""
        return self._address(6)

    def _address(self, version: int) -> str:
        address = self.guest.address(version)
        if address is None:
            raise SandboxError(f"{self.name} has no IPv{version} address")
        return address

    def wire(self, chassis: Chassis, topology: Topology) -> None:
        """Make the veth to `chassis` and configure the guest's end."""
        netns.ip(
            chassis.netns,
            f"link add {self.vif} type veth peer name eth0 address {self.mac} netns {self.netns}",
            f"link set {self.vif} up",
        )
        if chassis.spec.userspace:
            underlay.disable_tx_offload(chassis.netns, self.vif)
            underlay.disable_tx_offload(self.netns, "eth0")
        self.configure()
        self.chassis = chassis.name
        self.save()

    def configure(self) -> None:
        """Addresses, MTU and default routes of eth0, as for a fresh guest."""
        commands = [f"link set eth0 mtu {self.guest.mtu} up"]
        # Even where duplicate address detection is off, the kernel ends it later, in
        # a work queue, and an address is no source until then.
        for text in self.guest.ips:
            commands.append(f"addr add {text} dev eth0" + (" nodad" if ":" in text else ""))
        commands += [f"route add default via {text}" for text in self.guest.gateways]
        netns.ip(self.netns, *commands)

    def unwire(self, chassis: Chassis) -> None:
        """Remove the veth; the guest stays, without a network."""
        netns.ip(chassis.netns, f"link del {self.vif}")
        self.chassis = ""
        self.save()

    def save(self) -> None:
        """Write down where the port is, for other processes."""
        self._file.write_text(json.dumps({"chassis": self.chassis, "guest": asdict(self.guest)}))

    def forget(self) -> None:
        """Remove the namespace and the record."""
        manifest.kill_all(lambda: netns.pids([self.netns]))
        netns.delete(self.netns)
        self._file.unlink(missing_ok=True)

    def argv(self, *command: str) -> list[str]:
        """What runs `command` in the guest."""
        return netns.argv(self.netns, command)

    def run(self, *command: str) -> str:
        """Output of `command` in the guest; SandboxError when it fails."""
        return netns.run(self.argv(*command))

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start `command` in the guest with pipes; the caller waits for it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(self.argv(*command), stdout=pipe, stderr=pipe, text=True)


def load(layout: Layout, file: Path) -> Port:
    """The port that save() wrote to `file`."""
    record = json.loads(file.read_text())
    guest = record["guest"]
    for key in ("ips", "gateways"):
        guest[key] = tuple(guest[key])
    return Port(layout, Guest(**guest), record["chassis"])


def gateways(topology: Topology, switch: str, ips: tuple[Interface, ...]) -> tuple[str, ...]:
    """Router addresses in `switch` that share a network with `ips`, one a family."""
    found: dict[int, str] = {}
    for router in topology.routers.values():
        for leg in router.ports:
            for network in leg.networks if leg.switch == switch else ():
                if any(ip.network == network.network for ip in ips):
                    found.setdefault(network.version, str(network.ip))
    return tuple(found.values())
