# SPDX-License-Identifier: Apache-2.0
"""How the kernel would reach another chassis: device, source, MTU and MACs.

`binding` asks through the Underlay protocol, so that its rules can be tested
without a network; KernelUnderlay answers from netlink and follows its events.  A
neighbour that tunnels use is entered as *managed* (Linux 5.16): the kernel keeps
it resolved by itself, also while the agent is down.  pyroute2 0.7 cannot say so;
then it is resolved once, and again when its state changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import Any, Protocol

import ovs.vlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ovn_bpf_controller.underlay.events import NetlinkEvents
from ovn_bpf_controller.underlay.links import Links

vlog = ovs.vlog.Vlog("underlay")

_NTF_USE = 0x01
_NTF_EXT_MANAGED = 0x01
_NUD_INCOMPLETE, _NUD_FAILED = 0x01, 0x20
# A flapping route or a neighbour storm costs at most this many look-ups a second.
_SETTLE_MS = 50


@dataclass(frozen=True, slots=True)
class Path:
    """The way to a remote address.

    source: address that the kernel sends from.  mtu: bytes of IP packet.  MACs are
    empty while unknown, or where the device needs none.
    """

    ifindex: int
    source: str
    next_hop: str
    mtu: int
    src_mac: bytes = b""
    dst_mac: bytes = b""


class Underlay(Protocol):
    """What binding asks of the network below the tunnels."""

    def want(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keep paths for these (remote, local) addresses, and no others."""

    def path(self, remote: str, local: str) -> Path | None:
        """The path last found, None when there is no route."""

    def ifindex(self, name: str) -> int:
        """ifindex of a device of this network namespace, 0 when there is none."""

    def run(self) -> bool:
        """Take in what has changed; True when a path or a device is different."""

    def wait(self, poller: Any) -> None:
        """Wake the poller when run() has something to do."""


class KernelUnderlay:
    """The network namespace that the agent runs in."""

    def __init__(self) -> None:
        self.links = Links()
        self._events = NetlinkEvents()
        self._route = IPRoute()
        self.links.reset(self._route.get_links())
        self._paths: dict[tuple[str, str], Path | None] = {}
        self._managed: set[tuple[int, str]] = set()
        self._stale = False
        self._due_ms = 0
        self._changed = True

    def close(self) -> None:
        """Give the sockets back; neighbours stay as they are."""
        self._events.close()
        self._route.close()

    def want(self, pairs: Iterable[tuple[str, str]]) -> None:
        wanted = set(pairs)
        for pair in self._paths.keys() - wanted:
            del self._paths[pair]
        for pair in sorted(wanted - self._paths.keys()):
            self._paths[pair] = self._find(*pair)
            self._changed = True

    def path(self, remote: str, local: str) -> Path | None:
        return self._paths.get((remote, local))

    def ifindex(self, name: str) -> int:
        device = self.links.name(name)
        return device.ifindex if device is not None else 0

    def run(self) -> bool:
        batch = self._events.drain()
        if batch.lost:
            self._changed |= self.links.reset(self._route.get_links())
        elif batch.links:
            self._changed |= self.links.apply(batch.links)
        ours = {path.ifindex for path in self._paths.values() if path is not None}
        if batch.lost or batch.links or batch.routes or batch.neighbours & ours:
            self._stale = True
        if self._stale and _now_ms() >= self._due_ms:
            self._stale = False
            self._due_ms = _now_ms() + _SETTLE_MS
            self._refresh()
        changed, self._changed = self._changed, False
        return changed

    def wait(self, poller: Any) -> None:
        self._events.wait(poller)
        if self._changed:
            poller.immediate_wake()
        elif self._stale:
            poller.timer_wait_until(self._due_ms)

    # --- look-ups -------------------------------------------------------------

    def _refresh(self) -> None:
        self._managed.clear()
        for pair, old in list(self._paths.items()):
            new = self._find(*pair)
            if new != old:
                self._paths[pair] = new
                self._changed = True

    def _find(self, remote: str, local: str) -> Path | None:
        route = self._lookup(remote, local) or self._lookup(remote, "")
        if route is None:
            return None
        ifindex = route.get_attr("RTA_OIF")
        device = self.links.index(ifindex) if ifindex else None
        if device is None:
            return None
        next_hop = route.get_attr("RTA_GATEWAY") or remote
        return Path(
            ifindex=ifindex,
            source=route.get_attr("RTA_PREFSRC") or local,
            next_hop=next_hop,
            mtu=_mtu(route, device.mtu),
            src_mac=_mac(device.mac),
            dst_mac=self._neighbour(ifindex, next_hop),
        )

    def _lookup(self, remote: str, local: str) -> Any | None:
        """RTM_GETROUTE; None when the kernel has no route (from `local`)."""
        source = {"src": local} if local else {}
        try:
            return next(iter(self._route.route("get", dst=remote, **source)), None)
        except NetlinkError as error:
            vlog.dbg(f"no route to {remote} from {local or 'any'}: {error}")
            return None

    def _neighbour(self, ifindex: int, address: str) -> bytes:
        """The next hop's MAC; what is not resolved is asked for."""
        family = AF_INET6 if ip_address(address).version == 6 else AF_INET
        found = b""
        managed = False
        for entry in self._entries(family, ifindex, address):
            managed = bool((entry.get_attr("NDA_FLAGS_EXT") or 0) & _NTF_EXT_MANAGED)
            if not entry["state"] & (_NUD_INCOMPLETE | _NUD_FAILED):
                found = _mac(entry.get_attr("NDA_LLADDR") or "")
        if not managed:
            self._manage(family, ifindex, address)
        return found

    def _entries(self, family: int, ifindex: int, address: str) -> list[Any]:
        try:
            entries = self._route.get_neighbours(family=family, ifindex=ifindex)
            return [entry for entry in entries if entry.get_attr("NDA_DST") == address]
        except NetlinkError as error:
            vlog.dbg(f"cannot read neighbours of device {ifindex}: {error}")
            return []

    def _manage(self, family: int, ifindex: int, address: str) -> None:
        """Have the kernel resolve a neighbour now and keep it resolved."""
        if (ifindex, address) in self._managed:
            return
        self._managed.add((ifindex, address))
        request = {"family": family, "dst": address, "ifindex": ifindex, "state": 0}
        try:
            self._route.neigh("replace", flags=_NTF_USE, NDA_FLAGS_EXT=_NTF_EXT_MANAGED, **request)
        except NetlinkError as error:
            # No neighbours on loopback and point-to-point devices.
            vlog.dbg(f"neighbour {address} on device {ifindex} cannot be managed: {error}")


def _mtu(route: Any, device_mtu: int) -> int:
    metrics = route.get_attr("RTA_METRICS")
    mtu = metrics.get_attr("RTAX_MTU") if metrics is not None else None
    return min(mtu, device_mtu) if mtu and device_mtu else mtu or device_mtu


def _mac(text: str) -> bytes:
    """Six bytes, or none for what is no Ethernet address or is all zero."""
    try:
        mac = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return b""
    return mac if len(mac) == 6 and any(mac) else b""


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
