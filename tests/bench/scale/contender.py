# SPDX-License-Identifier: Apache-2.0
"""A chassis of the benchmark: a local database, somebody who does ovs-vswitchd's
duties, and the agent that is measured, ovn-controller or ours.

ovn-controller gets a real ovs-vswitchd with dummy devices, since only its own
cost is of interest.  Ours runs in network and mount namespaces that end with it,
with devices of its own and a private bpffs.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import ovs

import ovn_bpf_controller
from tests.bench.scale.client import Client
from tests.support.ovsdb import Daemon, LocalServer

CHASSIS = "ch0"
OURS = "ovn-bpf-controller"
THEIRS = "ovn-controller"
_TICK = os.sysconf("SC_CLK_TCK")
_MODULES = ("ovn_bpf_controller.__main__", "ovn_bpf_controller.cli.controller",
            "ovn_bpf_controller.agent", "ovn_bpf_controller.slowpath.process")  # fmt: skip
# What an installed console script does.  -S and a path: a package is found without the
# .pth files of an editable installation and of setuptools, which run code at each start.
_START = "import sys; from ovn_bpf_controller.__main__ import main; sys.exit(main())"
_INSTALLED = [sys.executable, "-S", "-P", "-c", _START]
_PATH = [str(Path(str(module.__file__)).parents[1]) for module in (ovn_bpf_controller, ovs)]


@dataclass(frozen=True, slots=True)
class Cost:
    """cpu: seconds, user and system.  peak: MB of resident memory of all processes."""

    cpu: float
    peak: float


def _cost(pid: int) -> Cost:
    """Of one process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return Cost((int(fields[11]) + int(fields[12])) / _TICK, int(peak) / 1024)


class _Vswitchd(Daemon):
    """ovs-vswitchd without devices or a kernel datapath."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__(server.directory, "vswitchd")
        self._server = server

    def start(self) -> None:
        self.spawn(
            ["ovs-vswitchd", "--enable-dummy=system", "--disable-system", "--no-chdir",
             "-vconsole:warn", "-vfile:off", "-vsyslog:off",
             f"--unixctl={self.ctl}", self._server.remote]
        )  # fmt: skip


class _Agent(Daemon):
    """The daemon that is measured."""

    def __init__(self, server: LocalServer, name: str, devices: list[str]) -> None:
        super().__init__(server.directory, name)
        self._server = server
        self._devices = devices

    def start(self) -> None:
        options = ["--no-chdir", "-vconsole:info", "-vfile:off", "-vsyslog:off"]
        options.append(self._server.remote)
        # Whoever becomes the agent notes what it has cost before.
        note = f"cat /proc/$$/schedstat >{self.directory / 'before'} && exec "
        if self.name == THEIRS:
            self.spawn(["sh", "-ec", note + shlex.join([THEIRS, *options])])
            return
        options.insert(0, f"--unixctl={self.ctl}")
        agent = [*_INSTALLED, *options]
        prefix = shlex.split(os.environ.get("OVN_BPF_BENCH_WRAPPER", ""))
        devices = self.directory / "devices"
        devices.write_text(
            "".join(f"link add {d} type veth peer name {d}p\n" for d in self._devices)
        )
        script = (
            "mount -t bpf bpf /sys/fs/bpf && ip link set lo up && "
            f"ip -batch {devices} && {note}{shlex.join([*prefix, *agent])}"
        )
        self.spawn(["env", *_with_byte_code(), "unshare", "--net", "--mount", "sh", "-ec", script])

    @property
    def before(self) -> float:
        """CPU seconds of what made the agent's surroundings and then became it."""
        return int((self.directory / "before").read_text().split()[0]) / 1e9

    @property
    def helper(self) -> int:
        """Pid of ovn-slowpath, 0 if there is none."""
        pidfile = self.directory / "ovn-slowpath.pid"
        try:
            pid = int(pidfile.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        return pid if b"ovn_bpf_controller.slowpath" in command else 0

    def end_helper(self) -> None:
        """It outlives its agent, by design."""
        pid = self.helper
        if pid:
            os.kill(pid, signal.SIGKILL)


@functools.cache
def _with_byte_code() -> list[str]:
    """Arguments of env(1) with which Python finds our modules, and byte code, made here
    and now: some environments keep it from writing any."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "ovn-bpf-scale")
    found = ["-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPYCACHEPREFIX={home / 'bytecode'}",
             f"PYTHONPATH={':'.join(_PATH)}"]  # fmt: skip
    script = "; ".join(f"import {module}" for module in _MODULES)
    subprocess.run(["env", *found, *_INSTALLED[:-1], script], check=True)
    return found


class Contender:
    """Chassis ch0 with an agent; a context manager.

    remote: of the Southbound.  plugged: logical ports that are there from the
    start.  spare: how many more can be plugged later.
    """

    def __init__(
        self,
        directory: Path,
        agent: str,
        remote: str,
        monitor_all: bool,
        plugged: list[str],
        spare: int,
    ) -> None:
        self.agent = agent
        self.server = LocalServer(directory)
        self._remote = remote
        self._monitor_all = monitor_all
        self._plugged = plugged
        self._vswitchd = _Vswitchd(self.server)
        devices = [f"t{n}" for n in range(len(plugged) + spare)]
        self._devices = iter(devices)
        self._daemon = _Agent(self.server, agent, devices)

    def __enter__(self) -> Contender:
        self.server.start()
        ids = {
            "system-id": CHASSIS,
            "hostname": CHASSIS,
            "ovn-remote": self._remote,
            "ovn-remote-probe-interval": "0",
            "ovn-openflow-probe-interval": "0",
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": "192.0.2.1",
            "ovn-monitor-all": "true" if self._monitor_all else "false",
            "ovn-bridge-mappings": "physnet:br-ex",
        }
        pairs = [f'external_ids:{key}="{value}"' for key, value in ids.items()]
        self.server.vsctl("set", "Open_vSwitch", ".", *pairs)
        if self.agent == THEIRS:
            self._vswitchd.start()
        self.server.vsctl("add-br", "br-ex", "--", "add-br", "br-int", "--", "set", "bridge",
                          "br-int", "fail-mode=secure")  # fmt: skip
        self.local = Client(str(self.server.socket), "Open_vSwitch")
        self.local.watch(Interface=["name", "external_ids"])
        for lport in self._plugged:
            self.plug(lport)
        return self

    def __exit__(self, *_: object) -> None:
        self.local.close()
        self._daemon.stop()
        self._daemon.end_helper()
        for daemon in (self._vswitchd, self.server):
            daemon.stop()

    def start(self) -> None:
        """Starts the agent."""
        self._daemon.start()

    def stop(self) -> None:
        """Kills the agent."""
        self._daemon.kill()
        self._daemon.end_helper()

    @property
    def pid(self) -> int:
        """The agent's."""
        return self._daemon.pid

    def appctl(self, *command: str) -> str:
        """A control command of the agent."""
        return self._daemon.appctl(*command)

    def plug(self, lport: str) -> float:
        """Adds an interface for a logical port; the time when that was done."""
        name = next(self._devices)
        text = [["iface-id", lport]]
        interface = {"name": name, "external_ids": ["map", text]}
        port = {"name": name, "interfaces": ["named-uuid", "i"]}
        done = time.monotonic()
        self.local.transact(
            {"op": "insert", "table": "Interface", "row": interface, "uuid-name": "i"},
            {"op": "insert", "table": "Port", "row": port, "uuid-name": "p"},
            {"op": "mutate", "table": "Bridge", "where": [["name", "==", "br-int"]],
             "mutations": [["ports", "insert", ["named-uuid", "p"]]]},
            {"op": "mutate", "table": "Open_vSwitch", "where": [],
             "mutations": [["next_cfg", "+=", 1]]},
        )  # fmt: skip
        return done

    def installed(self, lport: str) -> bool:
        """Whether the interface of `lport` says ovn-installed."""
        rows = self.local.rows["Interface"].values()
        ids = [r["external_ids"] for r in rows if r["external_ids"].get("iface-id") == lport]
        return bool(ids) and ids[0].get("ovn-installed") == "true"

    def cost(self) -> Cost:
        """What the agent has cost so far."""
        helper = self._daemon.helper
        found = [_cost(pid) for pid in (self._daemon.pid, helper) if pid]
        cpu = sum(c.cpu for c in found) - self._daemon.before
        return Cost(cpu, sum(c.peak for c in found))

    def live(self, *, reset: bool = False) -> dict[str, float]:
        """ms from a change's arrival at our agent to the packets that obey it, and how
        long of that the agent had a processor: 95th percentile and worst since the last
        reset; nothing for ovn-controller."""
        if self.agent == THEIRS:
            return {}
        told: dict[str, float] = {}
        for name, watch in (("live", "change-live"), ("live CPU", "change-live-cpu")):
            if reset:
                self._daemon.appctl("stopwatch/reset", watch)
                continue
            text = self._daemon.appctl("stopwatch/show", watch)
            found = dict(re.findall(r"^  (\w+)[^:]*: ([\d.]+)", text, re.M))
            told |= {name: float(found["95th"]), f"{name} worst": float(found["Maximum"])}
        return told

    def check(self) -> None:
        """RuntimeError if the agent has ended."""
        if not self._daemon.alive():
            raise RuntimeError(f"{self.agent} ended\n{self.words()[-3000:]}")

    def words(self) -> str:
        """What the agent printed."""
        return self._daemon.log.read_text(errors="replace")
