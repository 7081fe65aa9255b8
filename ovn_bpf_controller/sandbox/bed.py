# SPDX-License-Identifier: Apache-2.0
"""The sandbox itself: databases, ovn-northd, chassis and ports of one topology.

Tests write `with Sandbox(parse(text), directory) as bed:`; the command line uses
up() and leave_running(), and later Sandbox.attach() from other processes.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import TracebackType

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import manifest, netns, northbound, ping, process, underlay
from ovn_bpf_controller.sandbox.chassis import Chassis
from ovn_bpf_controller.sandbox.janitor import Janitor
from ovn_bpf_controller.sandbox.layout import Layout, layout_of
from ovn_bpf_controller.sandbox.port import Guest, Port, gateways
from ovn_bpf_controller.sandbox.port import load as load_port
from ovn_bpf_controller.sandbox.spec import ChassisSpec, Topology, dump
from ovn_bpf_controller.sandbox.topology import load as load_topology

_SCHEMAS = {"nb": "/usr/share/ovn/ovn-nb.ovsschema", "sb": "/usr/share/ovn/ovn-sb.ovsschema"}
REGISTER_SECONDS = 60
_TCP_PORTS = {"nb": 6641, "sb": 6642}


class Sandbox:
    """One deployment.  Without a directory, one is made under /run and removed after."""

    def __init__(self, topology: Topology, directory: str | Path | None = None) -> None:
        if directory is None:
            directory = tempfile.mkdtemp(prefix="obs-", dir="/run")
        self.layout: Layout = layout_of(directory)
        self.topology = topology
        self.chassis: dict[str, Chassis] = {}
        self.ports: dict[str, Port] = {}
        self._janitor: Janitor | None = None
        self._manifest = manifest.Manifest(self.layout.manifest)
        for spec in topology.chassis.values():
            self._add_chassis(spec)

    @classmethod
    def attach(cls, layout: Layout) -> Sandbox:
        """The running sandbox of `layout`; SandboxError when there is none."""
        if not layout.topology.exists():
            raise SandboxError(f"{layout.root}: no sandbox is up (ovn-bpf-sandbox up)")
        sandbox = cls(load_topology(layout.topology), layout.root)
        for file in sorted(layout.ports.glob("*.json")):
            port = load_port(layout, file)
            sandbox.ports[port.name] = port
        return sandbox

    def _add_chassis(self, spec: ChassisSpec) -> Chassis:
        addresses = underlay.Addresses(len(self.chassis))
        chassis = Chassis(self.layout, spec, self.topology, addresses)
        self.chassis[spec.name] = chassis
        return chassis

    # Life

    def __enter__(self) -> Sandbox:
        self.up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def up(self) -> None:
        """Build and start all of it; on any failure nothing is left.

        From here until leave_running() or down(), the death of this process
        takes the sandbox down.
        """
        self._manifest = manifest.Manifest.create(self.layout)
        try:
            self._janitor = Janitor(self.layout)
            self._build()
        except BaseException as error:
            for name, end in self.last_words().items():
                error.add_note(f"{name}:\n{end}")
            self.down()
            raise

    def last_words(self) -> dict[str, str]:
        """The end of what each agent has logged and printed, by chassis."""
        return {name: chassis.last_words() for name, chassis in self.chassis.items()}

    def leave_running(self) -> None:
        """Let the sandbox outlive this process."""
        if self._janitor is not None:
            self._janitor.dismiss()
            self._janitor = None

    def down(self) -> None:
        """Remove every process, namespace, mount and file; no error if all is gone."""
        manifest.cleanup(self.layout)
        self.leave_running()

    def _build(self) -> None:
        # Attach must not see half a sandbox: ports first, the topology last.
        self.layout.ports.mkdir()
        self._add_netns(self.layout.underlay_netns)
        underlay.make_bridge(self.layout, self.topology)
        self._start_databases()
        for number, chassis in enumerate(self.chassis.values()):
            self._build_chassis(chassis, number)
        commands = northbound.commands(self.topology)
        if commands:
            self.nbctl(*northbound.join(commands)[1:])
        agents = {chassis: chassis.spawn_agent() for chassis in self.chassis.values()}
        for chassis, pid in agents.items():
            chassis.await_agent(pid)
            self._await_registered(chassis)
        self._acquaint()
        for spec in self.topology.ports.values():
            if spec.chassis:
                self.plug(spec.name, wait=False)
        for name, port in self.ports.items():
            self.wait_up(name, port.chassis)
        self.sync()
        self.layout.topology.write_text(dump(self.topology))

    def _add_netns(self, name: str) -> None:
        self._manifest.add_netns(name)
        netns.add(name)

    def _start_databases(self) -> None:
        """Northbound, Southbound and ovn-northd, in the underlay's namespace."""
        root = self.layout.root
        for name, schema in _SCHEMAS.items():
            netns.run(["ovsdb-tool", "create", f"{root}/{name}.db", schema])
            self.start_database(name)
        self._start_northd(self.layout.sb)
        self.nbctl("init")
        self.sbctl("init")

    def start_database(self, name: str, *options: str) -> None:
        """Serve "nb" or "sb" (again); options are further ones of ovsdb-server."""
        root, port = self.layout.root, _TCP_PORTS[name]
        remotes = [f"--remote=ptcp:{port}:{underlay.Addresses.server(f)}" for f in ("ipv4", "ipv6")]
        socket = root / f"{name}.sock"
        socket.unlink(missing_ok=True)
        self.spawn("ovsdb-server", f"{root}/{name}.db", f"--remote=punix:{socket}", *remotes,
                    f"--pidfile={root}/ovn{name}_db.pid", f"--unixctl={root}/ovn{name}_db.ctl",
                    f"--log-file={root}/ovn{name}_db.log", "-vconsole:off", *options)  # fmt: skip
        process.wait_until(lambda: process.accepts(socket), 60, str(socket))

    def _start_northd(self, southbound: str) -> None:
        self.spawn("ovn-northd", f"--ovnnb-db={self.layout.nb}", f"--ovnsb-db={southbound}",
                   "--pidfile", "--log-file", "-vconsole:off")  # fmt: skip

    def restart_northd(self, southbound: str) -> None:
        """From here on it writes to other servers; southbound: a comma list."""
        pid = process.read_pid(self.layout.root / "ovn-northd.pid")
        if pid is not None:
            process.stop(pid)
        self._start_northd(southbound)

    def stop_database(self, name: str) -> None:
        """End the server of "nb" or "sb"."""
        pid = process.read_pid(self.layout.root / f"ovn{name}_db.pid")
        if pid is None:
            raise SandboxError(f"no server of {name} runs")
        process.stop(pid)

    def spawn(self, program: str, *arguments: str) -> int:
        """Start a daemon in the underlay's namespace; its pid."""
        names = ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")
        env = {f"{side}_{n}": str(self.layout.root) for side in ("OVS", "OVN") for n in names}
        command = netns.argv(self.layout.underlay_netns, [program, *arguments])
        return process.spawn(command, self.layout.root / f"{program}.out", env)

    def _build_chassis(self, chassis: Chassis, number: int) -> None:
        chassis.root.mkdir()
        chassis.bpffs.mkdir()
        self._manifest.add_mount(chassis.bpffs)
        manifest.mount_bpffs(chassis.bpffs)
        self._add_netns(chassis.netns)
        underlay.connect(self.layout, self.topology, chassis.name, number)
        chassis.start_database()
        chassis.configure()
        if chassis.spec.vswitchd:
            chassis.start_vswitchd()
        if chassis.spec.userspace:
            chassis.build_br_phy()
        else:
            chassis.assign_addresses()

    def _await_registered(self, chassis: Chassis) -> None:
        seconds = REGISTER_SECONDS
        try:
            self.sbctl(f"--timeout={seconds}", "wait-until", "chassis", chassis.name)
        except SandboxError as error:
            raise SandboxError(f"{chassis.name} is not in Southbound after {seconds} s") from error

    def _acquaint(self) -> None:
        """Let chassis resolve each other where OVS would lose a first packet to ARP."""
        if not self.topology.mixed:
            return
        family = self.topology.underlay
        chassis = self.chassis.values()
        probes = [
            ping.Probe(source.netns, target.addresses.of(family))
            for source in chassis
            for target in chassis
            if source is not target
        ]
        deadline = time.monotonic() + 60
        while failed := ping.unanswered(probes, 1.0):
            if time.monotonic() > deadline:
                raise SandboxError(f"underlay: no answer from {failed[0].address}")

    # Ports

    def plug(self, lsp: str, chassis: str = "", wait: bool = True) -> Port:
        """Give logical port `lsp` a guest on `chassis` (default: the topology's).

        wait: until Northbound says up.  Raises SandboxError when it is plugged.
        """
        if lsp in self.ports and self.ports[lsp].chassis:
            raise SandboxError(f"{lsp} is already plugged on {self.ports[lsp].chassis}")
        spec = self.topology.ports.get(lsp)
        place = self._chassis(chassis or (spec.chassis if spec else ""), lsp)
        port = self.ports.get(lsp) or Port(self.layout, self._guest(lsp))
        if not netns.exists(port.netns):
            self._add_netns(port.netns)
        port.wire(place, self.topology)
        self.ports[lsp] = port
        self._add_to_br_int(place, port)
        if wait:
            self.wait_up(lsp, place.name)
        return port

    def unplug(self, lsp: str, wait: bool = True) -> None:
        """Remove the port's VIF and its guest; wait: until the chassis let go of it."""
        port = self._plugged(lsp)
        self._detach(port)
        port.forget()
        del self.ports[lsp]
        if wait:
            self.sbctl("wait-until", "port_binding", lsp, "chassis=[]")

    def move(self, lsp: str, chassis: str) -> None:
        """Unplug the port and plug the same guest on `chassis` at once; waits as plug() does."""
        port = self._plugged(lsp)
        place = self._chassis(chassis, lsp)
        self._detach(port)
        port.wire(place, self.topology)
        self._add_to_br_int(place, port)
        self.wait_up(lsp, chassis)

    def _add_to_br_int(self, chassis: Chassis, port: Port) -> None:
        chassis.vsctl("add-port", "br-int", port.vif, "--", "set", "interface", port.vif,
                      f"external_ids:iface-id={northbound.quote(port.name)}",
                      f'external_ids:attached-mac="{port.mac}"')  # fmt: skip

    def _detach(self, port: Port) -> None:
        chassis = self.chassis[port.chassis]
        chassis.vsctl("del-port", "br-int", port.vif)
        port.unwire(chassis)

    def _chassis(self, name: str, lsp: str) -> Chassis:
        if not name:
            raise SandboxError(f"{lsp}: no chassis given")
        if name not in self.chassis:
            raise SandboxError(f"no chassis {name!r} (there are: {', '.join(self.chassis)})")
        return self.chassis[name]

    def _plugged(self, lsp: str) -> Port:
        if lsp not in self.ports or not self.ports[lsp].chassis:
            raise SandboxError(f"{lsp} is not plugged")
        return self.ports[lsp]

    def _guest(self, lsp: str) -> Guest:
        """The guest for `lsp`: from the topology, else from its Northbound addresses."""
        mtu = self.topology.vif_mtu
        if spec := self.topology.ports.get(lsp):
            routers = gateways(self.topology, spec.switch, spec.ips)
            return Guest(lsp, spec.mac, tuple(map(str, spec.ips)), routers, mtu)
        for line in self.nbctl("lsp-get-addresses", lsp).splitlines():
            mac, *ips = line.split()
            if mac.count(":") == 5:
                lengths = (f"{ip}/{64 if ':' in ip else 24}" for ip in ips)
                return Guest(lsp, mac, tuple(lengths), (), mtu)
        raise SandboxError(f"{lsp}: Northbound has no Ethernet address to give the guest")

    # Waiting and tools

    def wait_up(self, lsp: str, chassis: str = "") -> None:
        """Return once `lsp` is up, on `chassis` if given; SandboxError after 60 s.

        By the Southbound first: Northbound may still say so of where the port was.
        """
        where = self.sbctl("get", "chassis", chassis, "_uuid") if chassis else ""
        bound = f"chassis={where}" if where else "chassis!=[]"
        self.sbctl("--timeout=60", "wait-until", "port_binding", lsp, "up=true", bound)
        self.nbctl("--timeout=60", "wait-until", "logical_switch_port", lsp, "up=true")

    def sync(self) -> None:
        """`ovn-nbctl --wait=hv sync`: every chassis obeys what Northbound says.

        Raises SandboxError with the chassis that do not after 60 s.
        """
        try:
            self.nbctl("--timeout=60", "--wait=hv", "sync")
        except SandboxError as error:
            wanted = self.sbctl("get", "sb_global", ".", "nb_cfg")
            rows = self.sbctl("--bare", "--columns=name,nb_cfg", "list", "chassis_private").split()
            states = dict(zip(rows[::2], rows[1::2], strict=True))
            late = [f"{name} is at {at}" for name, at in states.items() if at != wanted]
            raise SandboxError(f"--wait=hv: {wanted} wanted, {', '.join(late)}") from error

    def environment(self, chassis: str = "") -> dict[str, str]:
        """What OVN's programs must have in their environment to talk to the sandbox.

        With a chassis, `ovs-vsctl` and `ovn-appctl -t ovn-controller` mean that one's;
        without, `ovn-appctl -t NAME` takes the name of a chassis, or ovn-northd.
        """
        own = {
            "OVN_BPF_SANDBOX_DIR": str(self.layout.root),
            "OVN_NB_DB": self.layout.nb,
            "OVN_SB_DB": self.layout.sb,
            "OVN_RUNDIR": str(self.layout.root),
        }
        return own | (self._chassis(chassis, "env").environment if chassis else {})

    def nbctl(self, *arguments: str) -> str:
        """ovn-nbctl; output without its last newline, SandboxError when it fails.

        With --wait=hv, Open vSwitch's user space has no older flows cached after it, either.
        """
        said = self._ctl("ovn-nbctl", self.layout.nb, arguments)
        if "--wait=hv" in arguments:
            for chassis in self.chassis.values():
                chassis.purge_flows()
        return said

    def sbctl(self, *arguments: str) -> str:
        """ovn-sbctl; output without its last newline, SandboxError when it fails."""
        return self._ctl("ovn-sbctl", self.layout.sb, arguments)

    def run_in_underlay(self, *command: str) -> str:
        """Output of `command` beside the databases; SandboxError when it fails."""
        return netns.run(netns.argv(self.layout.underlay_netns, command))

    def _ctl(self, program: str, database: str, arguments: tuple[str, ...]) -> str:
        options = [] if any(a.startswith("--timeout") for a in arguments) else ["--timeout=60"]
        return netns.run([program, f"--db={database}", *options, *arguments]).rstrip("\n")

    def unanswered(
        self,
        pairs: list[tuple[str, str]],
        versions: tuple[int, ...] = (4, 6),
        seconds: float = 10.0,
    ) -> list[str]:
        """Ping every (source, target) at once; "source -> target (IPv4)" of the silent ones.

        Once where our chassis forward.  Open vSwitch's user space loses packets that come
        while it changes its flows or has no neighbour for a tunnel: asked each second.
        """
        again = 1.0 if self.topology.mixed else float("inf")
        probes = {}
        for source, target in pairs:
            for version in versions:
                address = self.ports[target].guest.address(version)
                if address is not None:
                    probe = ping.Probe(self.ports[source].netns, address)
                    probes[probe] = f"{source} -> {target} (IPv{version})"
        return [probes[probe] for probe in ping.unanswered(list(probes), seconds, again)]
