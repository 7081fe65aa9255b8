# SPDX-License-Identifier: Apache-2.0
"""KernelUnderlay on real devices, routes and neighbours of a private namespace."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.underlay.events import NetlinkEvents
from ovn_bpf_controller.underlay.route import KernelUnderlay, Path
from tests.support.node import unshare_net
from tests.support.ovsdb import run_tool, wait_until

LOCAL, REMOTE = "10.0.0.1", "10.0.0.2"
LOCAL6, REMOTE6 = "fd00::1", "fd00::2"


def ip(*args: str) -> None:
    run_tool("ip", *args)


def in_namespace(test: Callable[[], None]) -> None:
    """Run `test` in a thread with a network namespace, which goes when it ends."""

    def body() -> None:
        unshare_net()
        ip("link", "set", "lo", "up")
        test()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(body).result(60)


class Peer:
    """Another namespace at the end of a veth; its thread lives until close()."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._end = threading.Event()
        self._error = ""
        self.tid = 0
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        assert not self._error, self._error

    def _main(self) -> None:
        try:
            unshare_net()
            self.tid = threading.get_native_id()
        except OSError:
            self._error = traceback.format_exc()
        self._ready.set()
        self._end.wait(60)

    def ip(self, *args: str) -> None:
        run_tool("nsenter", f"--net=/proc/{os.getpid()}/task/{self.tid}/ns/net", "ip", *args)

    def close(self) -> None:
        self._end.set()
        self._thread.join(10)


def settle(underlay: KernelUnderlay, condition: Callable[[], bool], what: str) -> None:
    def check() -> bool:
        underlay.run()
        return condition()

    wait_until(check, what)


def test_a_path_has_the_kernels_source_mtu_and_neighbour() -> None:
    def test() -> None:
        peer = Peer()
        ip("link", "add", "up0", "type", "veth", "peer", "name", "up1")
        ip("link", "set", "up1", "netns", str(peer.tid))
        ip("addr", "add", f"{LOCAL}/24", "dev", "up0")
        ip("addr", "add", f"{LOCAL6}/64", "dev", "up0", "nodad")
        ip("link", "set", "up0", "address", "02:00:00:00:00:01", "up")
        peer.ip("link", "set", "up1", "address", "02:00:00:00:00:02", "up")
        peer.ip("addr", "add", f"{REMOTE}/24", "dev", "up1")
        peer.ip("addr", "add", f"{REMOTE6}/64", "dev", "up1", "nodad")
        underlay = KernelUnderlay()
        try:
            underlay.want([(REMOTE, LOCAL), (REMOTE6, LOCAL6)])
            macs = {
                "src_mac": bytes.fromhex("020000000001"),
                "dst_mac": bytes.fromhex("020000000002"),
            }
            wanted = Path(underlay.ifindex("up0"), LOCAL, REMOTE, 1500, **macs)
            settle(underlay, lambda: underlay.path(REMOTE, LOCAL) == wanted, "the IPv4 path")
            wanted6 = replace(wanted, source=LOCAL6, next_hop=REMOTE6)
            settle(underlay, lambda: underlay.path(REMOTE6, LOCAL6) == wanted6, "the IPv6 path")
            shown = run_tool("ip", "neigh", "show", REMOTE)
            if "NDA_FLAGS_EXT" in dict(ndmsg.nla_map):
                assert "managed" in shown
            change_everything(underlay, peer, wanted)
        finally:
            underlay.close()
            peer.close()

    in_namespace(test)


def change_everything(underlay: KernelUnderlay, peer: Peer, wanted: Path) -> None:
    def is_path(path: Path | None) -> Callable[[], bool]:
        return lambda: underlay.path(REMOTE, LOCAL) == path

    peer.ip("link", "set", "up1", "address", "02:00:00:00:00:03")
    ip("neigh", "flush", "dev", "up0")
    moved = replace(wanted, dst_mac=bytes.fromhex("020000000003"))
    settle(underlay, is_path(moved), "the neighbour's new MAC")
    ip("link", "set", "up0", "mtu", "1400")
    settle(underlay, is_path(replace(moved, mtu=1400)), "the device's MTU")
    ip("route", "add", f"{REMOTE}/32", "via", "10.0.0.3", "dev", "up0", "mtu", "1300")
    routed = replace(moved, mtu=1300, next_hop="10.0.0.3", dst_mac=b"")
    settle(underlay, is_path(routed), "the route by a gateway")
    ip("route", "del", f"{REMOTE}/32")
    settle(underlay, is_path(replace(moved, mtu=1400)), "the route on link")
    ip("link", "set", "up0", "down")
    settle(underlay, is_path(None), "no route")
    assert underlay.run() is False


def test_links_follow_devices_as_they_come_change_and_go() -> None:
    def test() -> None:
        underlay = KernelUnderlay()
        try:
            assert underlay.ifindex("t0") == 0
            ip("link", "add", "t0", "type", "veth", "peer", "name", "t1")
            settle(underlay, lambda: underlay.ifindex("t0") != 0, "the device")
            device = underlay.links.name("t0")
            assert device is not None and not device.up and not device.carrier
            for name in ("t0", "t1"):
                ip("link", "set", name, "up")
            settle(
                underlay, lambda: getattr(underlay.links.name("t0"), "carrier", False), "carrier"
            )
            ip("link", "set", "t0", "down")
            ip("link", "set", "t0", "name", "t2")
            settle(underlay, lambda: underlay.ifindex("t2") == device.ifindex, "the new name")
            assert underlay.ifindex("t0") == 0
            ip("link", "del", "t2")
            settle(underlay, lambda: underlay.ifindex("t2") == 0, "the end")
            assert underlay.links.index(device.ifindex) is None
        finally:
            underlay.close()

    in_namespace(test)


def test_an_overflow_of_events_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def test() -> None:
        monkeypatch.setattr("ovn_bpf_controller.underlay.events._BUFFER", 1)
        events = NetlinkEvents()
        try:
            for number in range(64):
                ip("link", "add", f"t{number}", "type", "veth", "peer", "name", f"p{number}")
            assert events.drain().lost
            assert events.drain().lost is False
        finally:
            events.close()

    in_namespace(test)


def test_paths_that_are_not_wanted_any_more_are_forgotten() -> None:
    def test() -> None:
        underlay = KernelUnderlay()
        try:
            underlay.want([("127.0.0.1", "127.0.0.1")])
            path = underlay.path("127.0.0.1", "127.0.0.1")
            assert path is not None and path.dst_mac == b"" and path.ifindex == 1
            assert underlay.run() is True
            underlay.want([])
            assert underlay.path("127.0.0.1", "127.0.0.1") is None
        finally:
            underlay.close()

    in_namespace(test)
