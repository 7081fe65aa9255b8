# SPDX-License-Identifier: Apache-2.0
"""A chassis without a data plane: the loop of binding and vswitch in a thread.

The thread has a network namespace of its own, which ends with it, so nothing is
left behind whatever happens.  Test code runs clients (ovs-vsctl waits for us) and
reads `desired`; `ack` decides when the data plane pretends to be live.
"""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import ovs.poller

from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.binding.engine import Binding
from ovn_bpf_controller.binding.snapshot import LocalAdapter
from ovn_bpf_controller.binding.zones import Moved
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.local import LocalDatabase
from ovn_bpf_controller.underlay.route import KernelUnderlay
from ovn_bpf_controller.vswitch.service import VswitchService
from tests.support.ovsdb import LocalServer, OvnCentral, run_tool, wait_until

_CLONE_NEWNET = 0x40000000
T = TypeVar("T")


def unshare_net() -> None:
    """Give the calling thread a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


class Node:
    """A chassis called `name` with its own Open_vSwitch database.

    vswitchd: also do ovs-vswitchd's duties.  auto_ack: acknowledge every iteration
    at once; otherwise call ack().  ids: more Open_vSwitch.external_ids.  devices: veth
    pairs that are there before the loop begins, as at an agent's restart.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        sb_remote: str = "",
        ip: str = "192.0.2.1",
        vswitchd: bool = True,
        auto_ack: bool = True,
        ids: Mapping[str, str] | None = None,
        devices: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.server = LocalServer(Path(directory) / name)
        self.auto_ack = auto_ack
        self.vswitchd = vswitchd
        self.pidfile = self.server.directory / "ovs-vswitchd.pid"
        self._ids = {"system-id": name, "hostname": f"{name}.example"}
        self._ids |= {"ovn-encap-type": "geneve", "ovn-encap-ip": ip}
        if sb_remote:
            self._ids["ovn-remote"] = sb_remote
        self._ids |= ids or {}
        self._devices = devices
        self.desired = Desired()
        self.zones_moved: list[Moved] = []
        self.iterations = 0
        self._tid = 0
        self._error = ""
        self._stop = False
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    # --- life -------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.server.start()
        self.set_ids(**self._ids)
        self._thread.start()
        wait_until(lambda: self.iterations or self._error, "the node's loop")
        self.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.halt()
        self.server.stop()
        os.close(self._wake_r)
        os.close(self._wake_w)
        if kind is None:
            self.check()

    def halt(self) -> None:
        """Stop the loop, as a killed agent would stop."""
        self._stop = True
        self.wake()
        self._thread.join(60)

    def check(self) -> None:
        """Fail the test with the loop's own traceback, if it died."""
        assert not self._error, self._error

    def wake(self) -> None:
        os.write(self._wake_w, b"x")

    def _main(self) -> None:
        try:
            unshare_net()
            self._tid = threading.get_native_id()
            run_tool("ip", "link", "set", "lo", "up")
            for device in self._devices:
                self.add_device(device)
            self._loop()
        except BaseException:
            self._error = traceback.format_exc()

    def _loop(self) -> None:
        self.local = LocalDatabase(self.server.remote)
        self.underlay = KernelUnderlay()
        self.cache = SouthboundCache([])
        self.adapter = LocalAdapter(self.local, self.underlay)
        self.binding = Binding(
            self.cache,
            self.adapter,
            self.underlay,
            startup_ms=1,
            on_zones_moved=self.zones_moved.append,
        )
        self.vswitch = VswitchService(self.local, self.underlay.links, self.pidfile)
        try:
            while not self._stop:
                self._iterate()
        finally:
            self.cache.close()
            self.local.close()
            self.underlay.close()

    def _iterate(self) -> None:
        self.local.run()
        if self.vswitchd:
            self.vswitch.run()
        self.desired = self.binding.run(self.cache.run())
        if self.auto_ack:
            self.binding.acknowledge(self.desired.seq)
        while not self._calls.empty():
            self._calls.get()()
        self.iterations += 1
        poller = ovs.poller.Poller()
        for part in (self.local, self.cache, self.binding):
            part.wait(poller)
        if self.vswitchd:
            self.vswitch.wait(poller)
        poller.fd_wait(self._wake_r, ovs.poller.POLLIN)
        poller.block()
        try:
            os.read(self._wake_r, 4096)
        except BlockingIOError:
            return

    # --- doing things -------------------------------------------------------------

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the loop's thread and return its result."""
        done: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._calls.put(lambda: done.put(function()))
        self.wake()
        return done.get(timeout=60)

    def ack(self) -> int:
        """Acknowledge what is desired now; returns its seq."""

        def acknowledge() -> int:
            self.binding.acknowledge(self.desired.seq)
            return self.desired.seq

        seq = self.call(acknowledge)
        self.wake()
        return seq

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """wait_until() that also notices that the loop died."""

        def checked() -> Any:
            self.check()
            return condition()

        return wait_until(checked, f"{self.name}: {what}")

    def vsctl(self, *args: str, wait: bool = False) -> str:
        return self.server.vsctl(*args, wait=wait)

    def set_ids(self, **external_ids: str) -> None:
        """Set Open_vSwitch.external_ids."""
        pairs = [f'external_ids:{key}="{value}"' for key, value in external_ids.items()]
        self.vsctl("set", "Open_vSwitch", ".", *pairs)

    @property
    def enter(self) -> list[str]:
        """Arguments that run a command in this node's network namespace."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/task/{self._tid}/ns/net"]

    def ip(self, *args: str) -> str:
        """`ip` in this node's network namespace."""
        return run_tool(*self.enter, "ip", *args)

    def add_device(self, device: str) -> None:
        """A veth pair, up; the other end is `device`_p."""
        self.ip("link", "add", device, "type", "veth", "peer", "name", f"{device}_p")
        for name in (device, f"{device}_p"):
            self.ip("link", "set", name, "up")

    def plug(self, device: str, lport: str, *columns: str, wait: bool = False) -> None:
        """Make a device and add it to br-int as `lport`."""
        self.add_device(device)
        self.until(lambda: "br-int" in self.vsctl("list-br").split(), "br-int")
        row = ["set", "Interface", device, f"external_ids:iface-id={lport}", *columns]
        self.vsctl("--may-exist", "add-port", "br-int", device, "--", *row, wait=wait)

    def unplug(self, device: str) -> None:
        self.vsctl("del-port", "br-int", device)

    def iface_id(self, device: str, key: str) -> str:
        """An external_id of an Interface, "" when it is not set."""
        return self.vsctl("--if-exists", "get", "Interface", device, f"external_ids:{key}").strip(
            '"'
        )


def binding_of(central: OvnCentral, lport: str, column: str = "chassis") -> str:
    """A column of a Port_Binding row as ovn-sbctl prints it; chassis by name."""
    value = central.sbctl(
        "--bare", f"--columns={column}", "find", "Port_Binding", f"logical_port={lport}"
    )
    if column != "chassis" or not value:
        return value
    return central.sbctl("--bare", "get", "Chassis", value, "name")


def until_up(node: Node, central: OvnCentral, *lports: str) -> None:
    """Wait until these ports are up."""
    for lport in lports:
        node.until(partial(_is_up, central, lport), f"{lport} up")


def _is_up(central: OvnCentral, lport: str) -> bool:
    return binding_of(central, lport, "up") == "true"
