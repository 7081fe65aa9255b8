# SPDX-License-Identifier: Apache-2.0
"""One hypervisor of a sandbox: a namespace with ovsdb-server, perhaps
ovs-vswitchd, and an agent, each with its own run directory and bpffs.

bed.Sandbox makes them; tests stop, kill, freeze and restart their daemons here.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.layout import Layout
from ovn_bpf_controller.sandbox.spec import ChassisSpec, Topology
from ovn_bpf_controller.sandbox.underlay import Addresses

VSWITCH_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_QUIET = "-vconsole:off"
_LAST_LINES = 40


class Chassis:
    """A chassis named spec.name; addresses are its own in the underlay."""

    def __init__(
        self, layout: Layout, spec: ChassisSpec, topology: Topology, addresses: Addresses
    ) -> None:
        self.name = spec.name
        self.spec = spec
        self.addresses = addresses
        self.root = layout.chassis(spec.name)
        self.netns = layout.chassis_netns(spec.name)
        self.bpffs = self.root / "bpf"
        self._layout = layout
        self._topology = topology

    @property
    def ours(self) -> bool:
        """Whether the agent is the one of this project."""
        return self.spec.agent == "ovn-bpf-controller"

    @property
    def underlay_device(self) -> str:
        """The netdev that has the underlay addresses."""
        return "br-phy" if self.spec.userspace else "eth0"

    @property
    def environment(self) -> dict[str, str]:
        """What makes OVS's and OVN's programs use this chassis's directory."""
        names = ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")
        return {f"{side}_{name}": str(self.root) for side in ("OVS", "OVN") for name in names}

    # Life

    def start_database(self) -> None:
        """Make the local database and serve it."""
        database = self.root / "conf.db"
        if not database.exists():
            netns.run(["ovsdb-tool", "create", str(database), VSWITCH_SCHEMA])
        socket = self.root / "db.sock"
        self.spawn("ovsdb-server", str(database), f"--remote=punix:{socket}", "--pidfile",
                   "--log-file", _QUIET)  # fmt: skip
        process.wait_until(lambda: process.accepts(socket), 60, f"{socket}")

    def configure(self) -> None:
        """Tell the agent who it is and where the Southbound is."""
        family = self._topology.underlay
        ids = {
            "system-id": self.name,
            "hostname": self.name,
            "ovn-remote": f"tcp:{Addresses.server(family)}:6642",
            "ovn-remote-probe-interval": "60000",  # a loaded machine is not a dead one
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": self.addresses.of(family),
        }
        if self.spec.vswitchd:
            ids["ovn-bridge-datapath-type"] = self.spec.datapath
        ids |= self.spec.external_ids
        self.vsctl("--no-wait", "init")
        columns = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *columns)

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd with an empty br-int."""
        self.spawn("ovs-vswitchd", f"unix:{self.root}/db.sock", "--pidfile", "--log-file", _QUIET)
        self.vsctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int",
                   f"datapath_type={self.spec.datapath}", "fail_mode=secure",
                   "other_config:disable-in-band=true")  # fmt: skip

    def build_br_phy(self) -> None:
        """Give the underlay device to OVS, whose userspace tunnels need it so."""
        device = "/sys/class/net/eth0/address"
        mac = netns.run(netns.argv(self.netns, ["cat", device])).strip()
        self.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev",
                   f'other_config:hwaddr="{mac}"', "--", "add-port", "br-phy", "eth0")  # fmt: skip
        self.assign_addresses()

    def assign_addresses(self) -> None:
        """Put the underlay addresses on their device."""
        device = self.underlay_device
        netns.ip(
            self.netns,
            f"addr add {self.addresses.ipv4}/24 dev {device}",
            f"addr add {self.addresses.ipv6}/64 dev {device} nodad",
            f"link set {device} mtu {self._topology.mtu} up",
        )

    def start_agent(self) -> int:
        """Start the agent and return its pid once its pidfile is there."""
        pid = self.spawn_agent()
        self.await_agent(pid)
        return pid

    def spawn_agent(self) -> int:
        """Start the agent without waiting for anything; returns its pid."""
        if (pid := self.agent_pid()) is not None:
            raise SandboxError(f"{self.name}: the agent already runs as {pid}")
        command = agent_command(self.spec.agent)
        return self.spawn(*command, f"unix:{self.root}/db.sock", "--pidfile", "--log-file", _QUIET)

    def await_agent(self, pid: int) -> None:
        """Return once agent `pid` has its pidfile; SandboxError if it ends instead.

        Or after 300 s: on an emulated CPU of a busy host a start takes more than a minute.
        """

        def ready() -> bool:
            if not process.alive(pid):
                raise SandboxError(f"{self.name}: {self.spec.agent} ended: {self._last_line()}")
            return self.agent_pid() == pid

        process.wait_until(ready, 300, f"pidfile of {self.spec.agent} on {self.name}")
        self._name_agent(pid)

    def _last_line(self) -> str:
        """The last line that the agent printed."""
        output = self._printed().read_text().strip()
        return output.splitlines()[-1] if output else "no output"

    def _printed(self) -> Path:
        return self.root / f"{Path(agent_command(self.spec.agent)[0]).name}.out"

    def _name_agent(self, pid: int) -> None:
        """Let `ovn-appctl -t <chassis>` find the agent from the sandbox's own directory."""
        top = self._layout.root
        for stale in [*top.glob(f"{self.name}.*.ctl"), top / f"{self.name}.pid"]:
            stale.unlink(missing_ok=True)
        (top / f"{self.name}.pid").symlink_to(self.root / "ovn-controller.pid")
        (top / f"{self.name}.{pid}.ctl").symlink_to(self.root / f"ovn-controller.{pid}.ctl")

    def spawn(self, program: str, *arguments: str) -> int:
        """Start a daemon in the chassis's namespaces, output to <program>.out."""
        output = self.root / f"{Path(program).name}.out"
        command = netns.argv(self.netns, [program, *arguments], self.bpffs)
        return process.spawn(command, output, self.environment)

    # Daemons by role

    def agent_pid(self) -> int | None:
        return process.read_pid(self.root / "ovn-controller.pid")

    def vswitchd_pid(self) -> int | None:
        return process.read_pid(self.root / "ovs-vswitchd.pid")

    def stop_agent(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """End the agent by a signal and wait until it is gone; its exit status.

        The status is known to the process that started the agent only.
        """
        pid = self.agent_pid()
        return None if pid is None else process.stop(pid, number, 60)

    def exit_agent(self, *arguments: str) -> int | None:
        """`ovn-appctl exit [--restart]`; waits for the end as stop_agent() does."""
        pid = self.agent_pid()
        if pid is None:
            raise SandboxError(f"{self.name}: no agent runs")
        descriptor = os.pidfd_open(pid)
        try:
            self.appctl("exit", *arguments)
            return process.wait_gone(descriptor, pid, 60)
        finally:
            os.close(descriptor)

    def freeze_vswitchd(self) -> None:
        """SIGSTOP: from here on Open vSwitch forwards nothing."""
        pid = self.vswitchd_pid()
        if pid is None:
            raise SandboxError(f"{self.name}: no ovs-vswitchd runs")
        os.kill(pid, signal.SIGSTOP)

    def purge_flows(self) -> None:
        """Let Open vSwitch's user space, if it forwards here, translate every flow anew.

        Its revalidator comes by late, and on a busy machine it may leave a flow as it was
        for as long as packets come: seen of a tunnel that was removed and made again.
        """
        pid = self.vswitchd_pid()
        if self.spec.userspace and pid is not None:
            socket = self.root / f"ovs-vswitchd.{pid}.ctl"
            netns.run(["ovs-appctl", "--timeout=60", "-t", str(socket), "revalidator/purge"])

    # Tools

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl on the local database; waits for the switch, 60 s at most."""
        socket = f"--db=unix:{self.root}/db.sock"
        return netns.run(["ovs-vsctl", "--timeout=60", socket, *arguments]).rstrip("\n")

    def appctl(self, *arguments: str) -> str:
        """A control command of the agent; its reply without the last newline."""
        pid = self.agent_pid()
        if pid is None:
            raise SandboxError(f"{self.name}: no agent runs")
        socket = self.root / f"ovn-controller.{pid}.ctl"
        return netns.run(["ovn-appctl", "--timeout=60", "-t", str(socket), *arguments]).rstrip("\n")

    def argv(self, *command: str) -> list[str]:
        """What runs `command` inside the chassis."""
        return netns.argv(self.netns, command, self.bpffs)

    def run(self, *command: str) -> str:
        """Output of `command` inside the chassis; SandboxError when it fails."""
        return netns.run(self.argv(*command))

    def log(self) -> str:
        """The agent's log so far."""
        return (self.root / "ovn-controller.log").read_text()

    def last_words(self) -> str:
        """The end of what the agent has logged and printed, and whether it still runs."""
        files = (self.root / "ovn-controller.log", self._printed())
        ends = [file.read_text().splitlines()[-_LAST_LINES:] for file in files if file.exists()]
        lines = [line for end in ends for line in end]
        lines += ["no agent runs"] if self.agent_pid() is None else []
        return "\n".join(lines)


def agent_command(agent: str) -> Sequence[str]:
    """The agent's program: ours from beside this interpreter, else from PATH."""
    beside = Path(sys.executable).parent / agent
    if agent == "ovn-bpf-controller" and beside.exists():
        return (str(beside),)
    if shutil.which(agent) is not None:
        return (agent,)
    if agent == "ovn-bpf-controller":  # a source tree that is not installed
        return (sys.executable, "-m", "ovn_bpf_controller")
    raise SandboxError(f"{agent} is not installed")
