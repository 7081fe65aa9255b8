# SPDX-License-Identifier: Apache-2.0
"""What binding hands to the agent: the data plane's ports, groups and tunnels.

Made by the engine in every iteration; immutable.  What nothing touched (a
LocalDatapath, and any mapping of a Desired) is the same object as before, so that
diff() and whoever follows a Desired pay for what changed and not for what exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ovn_bpf_controller.model import Datapath, McGroup, Port, Tunnel
from ovn_bpf_controller.plaindata import dataclass, field

K = TypeVar("K")
V = TypeVar("V")

PortKey = tuple[int, int]


@dataclass(frozen=True, slots=True)
class PortSecurity:
    """A VIF or container of ours; strings: Port_Binding.port_security."""

    dp: int
    port: int
    lport: str
    strings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalDatapath:
    """A local datapath.  uuid: of its Datapath_Binding row.

    ports, groups: by their key.  port_keys, group_keys: names that flows of this
    datapath may use.  port_security: by logical port, those plugged here.  elsewhere:
    guests' ports that are not plugged here, so that no packet of theirs is in this
    datapath's pipelines on this chassis.
    """

    uuid: str
    datapath: Datapath
    ports: Mapping[int, Port] = field(default_factory=dict)
    groups: Mapping[int, McGroup] = field(default_factory=dict)
    port_keys: Mapping[str, int] = field(default_factory=dict)
    group_keys: Mapping[str, int] = field(default_factory=dict)
    port_security: Mapping[str, PortSecurity] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()

    @property
    def key(self) -> int:
        """The tunnel key."""
        return self.datapath.dp

    def name_key(self, name: str) -> int:
        """Tunnel key of a port or multicast group of this datapath, 0 if none."""
        return self.port_keys.get(name) or self.group_keys.get(name, 0)


@dataclass(frozen=True, slots=True)
class Desired:
    """The state that the data plane should be in.

    seq: number of the iteration; acknowledge(seq) says that it is live, together
    with all flows that arrived up to then.  complete: everything local has been
    seen at least once; until then nothing that already runs may be taken away.
    datapaths: by Datapath_Binding uuid.  resident: is_chassis_resident() is true
    for these.  zones: conntrack zone by name, for ct-zone-list.  zone_limits: most
    connections by zone, where there is a limit.
    """

    seq: int = 0
    complete: bool = False
    chassis: str = ""
    datapaths: Mapping[str, LocalDatapath] = field(default_factory=dict)
    tunnels: Mapping[str, Tunnel] = field(default_factory=dict)
    resident: frozenset[str] = frozenset()
    zones: Mapping[str, int] = field(default_factory=dict)
    zone_limits: Mapping[int, int] = field(default_factory=dict)

    def ports(self) -> dict[PortKey, Port]:
        """Every port of every local datapath."""
        return {
            (local.key, key): port
            for local in self.datapaths.values()
            for key, port in local.ports.items()
        }

    def groups(self) -> dict[PortKey, McGroup]:
        """Every multicast group of every local datapath."""
        return {
            (local.key, key): group
            for local in self.datapaths.values()
            for key, group in local.groups.items()
        }


@dataclass(slots=True)
class Delta:
    """From one Desired to the next; None means: gone.

    names: logical ports and groups whose key or residency changed, as
    (datapath uuid, name); residency changes with datapath "".  moved: logical ports
    that came to LocalDatapath.elsewhere or left it.
    """

    ports: dict[PortKey, Port | None] = field(default_factory=dict)
    groups: dict[PortKey, McGroup | None] = field(default_factory=dict)
    datapaths: dict[int, Datapath | None] = field(default_factory=dict)
    tunnels: dict[str, Tunnel | None] = field(default_factory=dict)
    port_security: dict[PortKey, PortSecurity | None] = field(default_factory=dict)
    names: set[tuple[str, str]] = field(default_factory=set)
    moved: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(
            self.ports
            or self.groups
            or self.datapaths
            or self.tunnels
            or self.port_security
            or self.names
            or self.moved
        )


def diff(old: Desired, new: Desired) -> Delta:
    """What it takes to get from `old` to `new`."""
    delta = Delta()
    if new.tunnels is not old.tunnels:
        _compare(delta.tunnels, old.tunnels, new.tunnels)
    if new.resident is not old.resident:
        delta.names.update(("", name) for name in old.resident ^ new.resident)
    if new.datapaths is old.datapaths:
        return delta
    nothing = LocalDatapath("", Datapath(0))
    # Old ones first: a key may pass from one row to another.
    for uuid, before in old.datapaths.items():
        after = new.datapaths.get(uuid, nothing)
        if after is not before and after.key != before.key:
            _compare_datapath(delta, before, nothing)
    for uuid, after in new.datapaths.items():
        before = old.datapaths.get(uuid, nothing)
        if after is before:
            continue
        _compare_datapath(delta, before if before.key == after.key else nothing, after)
    return delta


def _compare_datapath(delta: Delta, old: LocalDatapath, new: LocalDatapath) -> None:
    key = new.key or old.key
    _compare_keyed(delta.ports, key, old.ports, new.ports)
    _compare_keyed(delta.groups, key, old.groups, new.groups)
    _compare_keyed(delta.port_security, key, _by_port(old), _by_port(new))
    if old.datapath != new.datapath:
        delta.datapaths[key] = new.datapath if new.key else None
    uuid = new.uuid or old.uuid
    for before, after in ((old.port_keys, new.port_keys), (old.group_keys, new.group_keys)):
        names = before.keys() | after.keys()
        delta.names.update((uuid, name) for name in names if before.get(name) != after.get(name))
    delta.moved |= old.elsewhere ^ new.elsewhere


def _by_port(local: LocalDatapath) -> dict[int, PortSecurity]:
    return {security.port: security for security in local.port_security.values()}


def _compare(out: dict[K, V | None], old: Mapping[K, V], new: Mapping[K, V]) -> None:
    for key in old.keys() - new.keys():
        out[key] = None
    for key, value in new.items():
        if old.get(key) != value:
            out[key] = value


def _compare_keyed(
    out: dict[PortKey, V | None], dp: int, old: Mapping[int, V], new: Mapping[int, V]
) -> None:
    found: dict[int, V | None] = {}
    _compare(found, old, new)
    out.update({(dp, key): value for key, value in found.items()})
