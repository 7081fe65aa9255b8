# SPDX-License-Identifier: Apache-2.0
"""Which logical ports are plugged into this chassis, and which may be bound here.

Pure: Port_Binding rows and local interfaces in, decisions out.  if_status.py turns
the decisions into writes; physical.py turns them into ports of the data plane.
The rules are those of ovn-controller's binding.c and lport.c.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

import ovs.vlog

from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.view import Interface
from ovn_bpf_controller.ovsdb.tables import Chassis, PortBinding
from ovn_bpf_controller.plaindata import dataclass

vlog = ovs.vlog.Vlog("binding")


class Bind(Enum):
    """How a port may be bound on this chassis."""

    NO = 0
    MAIN = 1
    ADDITIONAL = 2


class PortType(Enum):
    """Port_Binding.type, with VIFs behind a VIF apart as OVN does it."""

    VIF = ""
    CONTAINER = "container"
    PATCH = "patch"
    CHASSISREDIRECT = "chassisredirect"
    L3GATEWAY = "l3gateway"
    LOCALNET = "localnet"
    LOCALPORT = "localport"
    L2GATEWAY = "l2gateway"
    VIRTUAL = "virtual"
    EXTERNAL = "external"
    MIRROR = "mirror"
    REMOTE = "remote"
    VTEP = "vtep"
    UNKNOWN = "unknown"

    __hash__ = object.__hash__  # Enum's own is a Python function


#: options:activation-strategy: a guest that migrates shows itself by one of these.
WAKES = ("rarp", "garp", "na")


@dataclass(frozen=True, slots=True)
class Claim:
    """A logical port whose device is on this chassis.

    row: its binding.  iface: the device, of the parent for a container and for a
    virtual port, of the port that gets the copies for a mirror's.  bind: NO for a
    localport, which everybody has and nobody claims.  vlan: tag of a container,
    otherwise 0.  wakes: what the guest must send first, of WAKES; nothing unless it is
    on its way here.
    """

    row: PortBinding
    iface: Interface
    bind: Bind
    vlan: int = 0
    wakes: tuple[str, ...] = ()

    @property
    def owns_device(self) -> bool:
        """Whether the device was plugged for this port."""
        shared = (PortType.VIRTUAL.value, PortType.MIRROR.value)
        return not self.vlan and self.row.type not in shared


# What Port_Binding.type says.  A dictionary: an Enum is ten times as long in finding one.
_BY_NAME: Final = {
    kind.value: kind for kind in PortType if kind not in (PortType.CONTAINER, PortType.UNKNOWN)
}


def port_type(row: PortBinding) -> PortType:
    """Classify a row; what we do not know is UNKNOWN."""
    if not row.type and row.parent_port:
        return PortType.CONTAINER
    return _BY_NAME.get(row.type, PortType.UNKNOWN)


def can_bind(me: Chassis, row: PortBinding) -> Bind:
    """May `row` be bound on chassis `me`?

    The references that northd resolves come first; options:requested-chassis
    holds names or hostnames, the first is the main one (lport.c).
    """
    if row.requested_chassis == me.uuid:
        return Bind.MAIN
    if me.uuid in row.requested_additional_chassis:
        return Bind.ADDITIONAL
    requested = row.options.get("requested-chassis", "")
    if not requested:
        return Bind.MAIN
    bind = Bind.MAIN
    for name in filter(None, requested.split(",")):
        if name in (me.name, me.hostname):
            return bind
        bind = Bind.ADDITIONAL
    return Bind.NO


def version_matches(iface: Interface, row: PortBinding) -> bool:
    """options:iface-id-ver, where set, must equal the interface's."""
    wanted = row.options.get("iface-id-ver")
    return wanted is None or iface.external_ids.get("iface-id-ver") == wanted


def by_iface_id(interfaces: Iterable[Interface]) -> dict[str, Interface]:
    """iface-id -> the interface that has it and has an ofport.

    Of two interfaces with one iface-id the lower ofport wins, so that the choice
    does not change with the order of rows.
    """
    chosen: dict[str, Interface] = {}
    for iface in sorted(interfaces, key=lambda i: (i.ofport or 0, i.name)):
        name = iface.external_ids.get("iface-id")
        if not name or not iface.is_vif or (iface.ofport or 0) <= 0:
            continue
        chosen.setdefault(name, iface)
    return chosen


class ClaimRules:
    """Decides for all plugged ports; remembers what it has already logged.

    awake: ports whose guest has shown itself, whether or not the Southbound says so.
    """

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()
        self.awake: set[str] = set()

    def decide(
        self, me: Chassis, plugged: Mapping[str, Interface], ports: PortIndex
    ) -> dict[str, Claim]:
        """Logical port name -> Claim, for all that lives here.

        A port that may not be bound here is left out even if plugged.
        """
        said, self._said = self._said, set()
        claims: dict[str, Claim] = {}
        for name, iface in plugged.items():
            row = ports.name(name)
            claim = self._vif(me, row, iface, said) if row is not None else None
            if claim is not None:
                claims[name] = claim
            if row is not None and port_type(row) is PortType.VIF:
                for child in self._children(me, row, ports.children(name), iface, said):
                    claims[child.row.logical_port] = child
        for row in ports.kind(PortType.VIRTUAL.value):
            parent = claims.get(row.virtual_parent or "")
            if parent is not None and parent.row.chassis == me.uuid:
                claims[row.logical_port] = Claim(row, parent.iface, Bind.MAIN)
        self.awake &= {name for name, claim in claims.items() if claim.bind is Bind.ADDITIONAL}
        return claims

    def _vif(
        self, me: Chassis, row: PortBinding, iface: Interface, said: set[tuple[str, str]]
    ) -> Claim | None:
        kind = port_type(row)
        if kind is PortType.LOCALPORT:
            return Claim(row, iface, Bind.NO)
        if kind is not PortType.VIF:
            self._say(said, row, f"iface-id names a port of type {kind.name.lower()}")
            return None
        if not version_matches(iface, row):
            expected = row.options.get("iface-id-ver", "")
            found = iface.external_ids.get("iface-id-ver", "<empty>")
            self._say(said, row, f"iface-id-ver mismatch, expected {expected}, found {found}")
            return None
        bind = can_bind(me, row)
        if bind is Bind.NO:
            wanted = row.options.get("requested-chassis", "")
            self._say(said, row, f"chassis {me.name} is not requested-chassis {wanted}")
            return None
        asleep = bind is Bind.ADDITIONAL and row.logical_port not in self.awake
        return Claim(row, iface, bind, wakes=self._wakes(said, me, row) if asleep else ())

    def _wakes(self, said: set[tuple[str, str]], me: Chassis, row: PortBinding) -> tuple[str, ...]:
        """What wakes a port of which we are an additional chassis."""
        if me.name in row.options.get("additional-chassis-activated", "").split(","):
            return ()
        named = row.options.get("activation-strategy", "").split(",")
        for name in filter(None, named):
            if name not in WAKES:
                self._say(said, row, f"unknown activation strategy {name}")
        return tuple(name for name in WAKES if name in named)

    def _children(
        self,
        me: Chassis,
        parent: PortBinding,
        rows: Iterable[PortBinding],
        iface: Interface,
        said: set[tuple[str, str]],
    ) -> Iterator[Claim]:
        """Ports that share a device; a mirror's goes where its target may be."""
        for row in rows:
            kind, bind = port_type(row), can_bind(me, row)
            if kind is PortType.MIRROR:
                theirs = can_bind(me, parent)
                if Bind.NO not in (bind, theirs):
                    yield Claim(row, iface, theirs)
            elif kind is not PortType.CONTAINER:
                continue
            elif not row.tag:
                self._say(said, row, "container without a tag")
            elif bind is not Bind.NO:
                yield Claim(row, iface, bind, row.tag)

    def _say(self, said: set[tuple[str, str]], row: PortBinding, why: str) -> None:
        """Log once, as long as the reason stands."""
        key = (row.logical_port, why)
        self._said.add(key)
        if key not in said:
            vlog.info(f"Not claiming lport {row.logical_port}: {why}")
