# SPDX-License-Identifier: Apache-2.0
"""Other chassis: their numbers, the tunnels to them, and whom packets are taken from.

Maps ovn_chassis and ovn_peers.  A tunnel is no versioned slot: it has two sides,
and takes effect when the live one changes, at the flip of the change.
"""

from __future__ import annotations

import socket
from typing import Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.alloc import Shared, Slots
from ovn_bpf_controller.datapath.journal import Journal
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.records import record, word
from ovn_bpf_controller.datapath.versioned import Index
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import Tunnel

TUNNEL: Final = record("struct ovn_tunnel")
_SIDE: Final[int] = ffi.offsetof("struct ovn_chassis", "t")
_LIVE: Final = word("struct ovn_chassis", "live")
_REMOTE: Final = slice(
    ffi.offsetof("struct ovn_tunnel", "remote"), ffi.offsetof("struct ovn_tunnel", "src_mac")
)


def address(text: str) -> bytes:
    """16 bytes, IPv4 as ::ffff:a.b.c.d.  Raises DataPlaneError."""
    try:
        if ":" in text:
            return socket.inet_pton(socket.AF_INET6, text)
        return bytes(10) + b"\xff\xff" + socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError) as error:
        raise DataPlaneError(f"tunnel address {text!r} is no IP address") from error


def encode(tunnel: Tunnel) -> bytes:
    """struct ovn_tunnel.  Raises DataPlaneError for an address or MAC that is none."""
    local, remote = address(tunnel.local), address(tunnel.remote)
    flags = lib.OVN_TUN_VALID
    if remote[:12] != bytes(10) + b"\xff\xff":
        flags |= lib.OVN_TUN_IPV6
    if tunnel.df:
        flags |= lib.OVN_TUN_DF
    if tunnel.csum:
        flags |= lib.OVN_TUN_CSUM
    if len(tunnel.src_mac) == 6 and len(tunnel.dst_mac) == 6:
        flags |= lib.OVN_TUN_MAC
    return TUNNEL.pack(
        flags,
        tunnel.ifindex,
        local,
        remote,
        tunnel.src_mac,
        tunnel.dst_mac,
        tunnel.dst_port,
        min(tunnel.mtu, 0xFFFF),
        tunnel.tos,
        tunnel.ttl,
        b"",
    )


class Chassis:
    """A name's index is held by its tunnel and by the ports and groups that name it."""

    def __init__(self, array: ArrayMap, peers: Index) -> None:
        self._array = array
        self._peers = peers
        self._slots = Slots(array.name, array.capacity)
        self._wanted: dict[str, bytes] = {}  # name -> struct ovn_tunnel
        self._names: dict[bytes, set[str]] = {}  # remote address -> names
        self._written: dict[int, int] = {}  # index -> generation
        self.shared: Shared[str] = Shared(self._make, self._free)

    def _make(self, _: str, journal: Journal) -> int:
        index = self._slots.take(journal)
        self._array.put(index, bytes(self._array.size))
        return index

    def _free(self, _: str, index: int) -> None:
        self._slots.release(index)

    def put(self, tunnel: Tunnel, journal: Journal) -> None:
        """Makes a tunnel, or changes it.  Raises DataPlaneError."""
        data = encode(tunnel)
        old = self._wanted.get(tunnel.name)
        if old == data:
            return
        if old is None:
            self._recognise(tunnel.name, data)
            old = self._wanted.get(tunnel.name)
        if old is None:
            self.shared.hold(tunnel.name, journal)
        if old == data:
            return
        self._want(tunnel.name, data, journal)
        self._write_at_flip(self.shared.find(tunnel.name), data, journal)
        if old is not None and old[_REMOTE] != data[_REMOTE]:
            self._point_peer(old[_REMOTE])
        self._point_peer(data[_REMOTE])

    def delete(self, name: str, journal: Journal) -> None:
        """Takes a tunnel away; the number stays while somebody names the chassis."""
        old = self._wanted.get(name)
        if old is None:
            return
        self._want(name, None, journal)
        self._write_at_flip(self.shared.find(name), bytes(TUNNEL.size), journal)
        journal.after_grace(self.shared.drop, name)
        self._point_peer(old[_REMOTE])

    def names(self) -> set[str]:
        """Chassis that have a tunnel."""
        return set(self._wanted)

    def _want(self, name: str, data: bytes | None, journal: Journal) -> None:
        journal.undo(self._set_wanted, name, self._wanted.get(name))
        self._set_wanted(name, data)

    def _set_wanted(self, name: str, data: bytes | None) -> None:
        old = self._wanted.pop(name, None)
        if old is not None:
            self._names[old[_REMOTE]].discard(name)
        if data is not None:
            self._wanted[name] = data
            self._names.setdefault(data[_REMOTE], set()).add(name)

    def _point_peer(self, remote: bytes) -> None:
        """Several tunnels may lead to one address: any of them will do."""
        names = self._names[remote]
        if not names:
            self._peers.remove(remote)
            return
        index = self.shared.find(min(names))
        if self._peers.live.get(remote) != index:
            self._peers.set(remote, index)

    def _write_at_flip(self, index: int, data: bytes, journal: Journal) -> None:
        """The side that does not count; a late packet may still read it."""
        journal.ensure_past(self._written.get(index, 0))
        journal.at_flip(self._write, index, data, journal.generation)

    def _write(self, index: int, data: bytes, generation: int) -> None:
        self._written[index] = generation
        side = 1 - self._array.words[index * self._array.pitch + _LIVE] % 2
        self._array.put(index, data, _SIDE + side * TUNNEL.size)
        self._array.publish(index, _LIVE, side)

    # --- adoption -------------------------------------------------------------

    def adopt(self, named: set[int]) -> None:
        """Takes the tunnels the map holds under stand-in names, until put() finds
        one with the same addresses.  named: indexes that ports and groups use;
        their holds are the caller's to report, by shared.adopt(name_of(index))."""
        self.shared = Shared(self._make, self._free)
        self._wanted = {}
        self._names = {}
        self._array.reach(self._array.capacity - 1)
        for index in range(1, self._array.capacity):
            side = self._array.words[index * self._array.pitch + _LIVE] % 2
            at = _SIDE + side * TUNNEL.size
            data = self._array.get(index)[at : at + TUNNEL.size]
            if TUNNEL.unpack(data)[0] & lib.OVN_TUN_VALID:
                self.shared.adopt(name_of(index), index)
                self._set_wanted(name_of(index), data)
        self._slots.adopt(named | {index for _, index in self.shared.items()})
        self._repair_peers()

    def _repair_peers(self) -> None:
        """An agent killed between tunnel and peer left them different."""
        self._peers.adopt()
        right = {remote: self.shared.find(min(names)) for remote, names in self._names.items()}
        wrong = {k: v for k, v in right.items() if self._peers.live.get(k) != v}
        self._peers.repair(wrong, [k for k in self._peers.live if k not in right])

    def _recognise(self, name: str, data: bytes) -> None:
        if self.shared.find(name):
            return
        for stand_in, index in self.shared.items():
            known = self._wanted.get(stand_in)
            if stand_in == name_of(index) and known and known[_REMOTE] == data[_REMOTE]:
                self.shared.rename(stand_in, name)
                self._set_wanted(stand_in, None)
                self._set_wanted(name, known)
                return


def name_of(index: int) -> str:
    """What an adopted chassis is called before its own name is known."""
    return f"\0{index}"
