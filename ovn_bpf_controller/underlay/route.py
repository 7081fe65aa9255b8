# SPDX-License-Identifier: Apache-2.0
"""How the kernel would reach another chassis: device, source, MTU and MACs.

`binding` asks through the Underlay protocol, so that its rules can be tested
without a network; KernelUnderlay answers from netlink and follows its events.  A
neighbour that tunnels use is entered as *managed* (Linux 5.16): the kernel keeps
it resolved by itself, also while the agent is down.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Protocol

import ovs.vlog

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.rtnetlink import Refused, Route, Rtnetlink
from ovn_bpf_controller.underlay.events import NetlinkEvents
from ovn_bpf_controller.underlay.links import Links

vlog = ovs.vlog.Vlog("underlay")

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
        self._route = Rtnetlink()
        self.links.reset(self._route.links())
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
            self._changed |= self.links.reset(self._route.links())
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
        device = self.links.index(route.ifindex) if route is not None else None
        if route is None or device is None:
            return None
        next_hop = route.gateway or remote
        return Path(
            ifindex=route.ifindex,
            source=route.source or local,
            next_hop=next_hop,
            mtu=min(route.mtu, device.mtu) if route.mtu and device.mtu else route.mtu or device.mtu,
            src_mac=_mac(bytes.fromhex(device.mac.replace(":", ""))),
            dst_mac=self._neighbour(route.ifindex, next_hop),
        )

    def _lookup(self, remote: str, local: str) -> Route | None:
        """None when the kernel has no route (from `local`), or it is no address."""
        try:
            return self._route.route(remote, local)
        except (Refused, ValueError) as error:
            vlog.dbg(f"no route to {remote} from {local or 'any'}: {error}")
            return None

    def _neighbour(self, ifindex: int, address: str) -> bytes:
        """The next hop's MAC; what is not resolved is asked for."""
        found = self._route.neighbour(ifindex, address)
        if found is None or not found.managed:
            self._manage(ifindex, address)
        return _mac(found.mac) if found is not None else b""

    def _manage(self, ifindex: int, address: str) -> None:
        """Have the kernel resolve a neighbour now and keep it resolved."""
        if (ifindex, address) in self._managed:
            return
        self._managed.add((ifindex, address))
        try:
            self._route.manage(ifindex, address)
        except Refused as error:
            # No neighbours on loopback and point-to-point devices.
            vlog.dbg(f"neighbour {address} on device {ifindex} cannot be managed: {error}")


def _mac(mac: bytes) -> bytes:
    """Six bytes, or none for what is no Ethernet address or is all zero."""
    return mac if len(mac) == 6 and any(mac) else b""


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
