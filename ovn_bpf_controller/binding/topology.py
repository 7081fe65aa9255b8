# SPDX-License-Identifier: Apache-2.0
"""Everything that is local and everybody who is not, kept current from the rows.

The engine owns one: take() for what the Southbound says, decide() to draw the
conclusions.  The rules are pure functions elsewhere (claims, local, tunnels,
physical); this knows which of their results a change can have touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import ovs.vlog

from ovn_bpf_controller.binding import chassis_macs, gateways, local, physical, tunnels
from ovn_bpf_controller.binding import zones as ct_zones
from ovn_bpf_controller.binding.claims import Bind, Claim, ClaimRules, PortType, by_iface_id
from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.desired import Desired, LocalDatapath, PortSecurity
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.tunnels import Peers
from ovn_bpf_controller.binding.view import Interface, LocalView
from ovn_bpf_controller.binding.zones import (
    ZoneTable,
    dnat_name,
    newer_names,
    snat_name,
)
from ovn_bpf_controller.model import Tunnel
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import (
    Chassis,
    DatapathBinding,
    Encap,
    HAChassis,
    HAChassisGroup,
    Mirror,
    MulticastGroup,
    PortBinding,
    Row,
)
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.underlay.route import Underlay

vlog = ovs.vlog.Vlog("binding")

T = TypeVar("T")

# Tables whose changes can change what is local; others only pass through.
INPUTS: tuple[type[Row], ...] = (
    Chassis,
    Encap,
    DatapathBinding,
    PortBinding,
    MulticastGroup,
    HAChassis,
    HAChassisGroup,
)


class Topology:
    """me: our Chassis row, None before it exists.  claims: what is plugged here.
    gateways: ports without a device that live here.

    keys: tunnel key of every local datapath, by row uuid.  peers: the others.
    """

    def __init__(self, southbound: SouthboundCache, underlay: Underlay) -> None:
        self._sb = southbound
        self._underlay = underlay
        self.me: Chassis | None = None
        self.ports = PortIndex()
        self.claims: dict[str, Claim] = {}
        self.gateways: dict[str, PortBinding] = {}
        self._ha = self._ha_groups()
        self.keys: dict[str, int] = {}
        self.peers = Peers()
        self.zones = ZoneTable()
        self._rules = ClaimRules()
        self._chassis_moved = True
        self._rows_moved = True  # since the last decide()
        self._seeds: set[str] = set()
        self._config: Config | None = None
        self._tunnels: dict[str, Tunnel] = {}
        self._groups: dict[str, set[str]] = {}
        self._touched: set[str] = set()
        self._local_datapaths: dict[str, LocalDatapath] = {}  # never changed, but replaced
        self._built = Desired()
        self._omitted: set[tuple[str, str]] = set()

    # --- inputs -------------------------------------------------------------------

    def take(self, changes: Changes, config: Config) -> bool:
        """Take in rows; True when decide() may come to other conclusions."""
        ports = changes.of(PortBinding)
        self.ports.apply(ports)
        for change in ports.values():
            if _goes_up(*change):
                # Of gateways' rows `up` is read: see gateways.writes().
                name = change[1].logical_port if change[1] is not None else ""
                self._rows_moved |= name in self.gateways
                continue
            self._rows_moved = True
            for row in change:
                if row is not None:
                    self._touch(row.datapath)
                    self._touch_peer(row)
        for uuid, (old, new) in changes.of(MulticastGroup).items():
            if old is not None:
                self._groups.get(old.datapath, set()).discard(uuid)
                self._touch(old.datapath)
            if new is not None:
                self._groups.setdefault(new.datapath, set()).add(uuid)
                self._touch(new.datapath)
        self._touch(*changes.of(DatapathBinding))
        if changes.of(HAChassis) or changes.of(HAChassisGroup):
            self._ha = self._ha_groups()
            for row in self.ports.kind(PortType.CHASSISREDIRECT.value):
                self._touch(row.datapath)
        if config is not self._config or changes.of(Chassis) or changes.of(Encap):
            self._config, self._chassis_moved, self._rows_moved = config, True, True
            self._find_ourselves(config.chassis)
            for text in chassis_macs.complaints(changes.of(Chassis).values(), config.chassis):
                vlog.warn(text)
        others = any(changes.of(table) for table in INPUTS if table is not PortBinding)
        self._rows_moved |= others
        return others or bool(ports)

    def wake(self, lport: str) -> None:
        """The guest of a port has shown itself."""
        claim = self.claims.get(lport)
        if claim is not None and claim.wakes:
            self._rules.awake.add(lport)

    def _find_ourselves(self, name: str) -> None:
        rows = self._sb.table(Chassis).values()
        me = next((row for row in rows if row.name == name), None)
        if (me.uuid if me else "") != (self.me.uuid if self.me else ""):
            self._touch(*self.keys)
        self.me = me

    def _ha_groups(self) -> local.HAGroups:
        return local.HAGroups(self._sb.table(HAChassisGroup), self._sb.table(HAChassis))

    def _touch(self, *datapaths: str) -> None:
        self._touched.update(datapaths)

    def _touch_peer(self, row: PortBinding) -> None:
        peer = self.ports.name(row.options.get("peer", ""))
        if peer is not None:
            self._touch(peer.datapath)

    # --- decisions ----------------------------------------------------------------

    def decide(self, config: Config, view: LocalView, keep_zones: bool) -> Desired:
        """Draw the conclusions; seq and complete are the caller's to fill in.

        keep_zones: give up no conntrack zone, because not all names are known yet.
        """
        self._decide_claims(by_iface_id(view.interfaces))
        if self._rows_moved:
            self._decide_gateways()
        self._decide_datapaths()
        self._rows_moved = False
        self._decide_peers(config)
        self._decide_tunnels(config)
        self._decide_zones(keep_zones)
        self._recompute()
        return self._build(config)

    def _decide_claims(self, plugged: Mapping[str, Interface]) -> None:
        """Touches datapaths of ports that are newly, otherwise or no longer plugged here."""
        claims = self._rules.decide(self.me, plugged, self.ports) if self.me else {}
        for one, other in ((claims, self.claims), (self.claims, claims)):
            for name, claim in one.items():
                if not _alike(claim, other.get(name)):
                    self._touch(claim.row.datapath)
        self.claims = claims

    def _decide_gateways(self) -> None:
        """Touches datapaths of gateway ports that come here or go."""
        found = gateways.here(self.me, self.ports, self._ha) if self.me else {}
        for name in found.keys() ^ self.gateways.keys():
            row = found.get(name) or self.gateways[name]
            self._touch(row.datapath)
            self._touch_peer(row)
        self.gateways = found

    def _decide_datapaths(self) -> None:
        """Find the local datapaths; touches those that came or went, and their peers."""
        rows = self._sb.table(DatapathBinding)
        seeds = {c.row.datapath for c in self.claims.values() if c.bind is not Bind.NO}
        if not self._rows_moved and seeds == self._seeds:
            return
        self._seeds = seeds
        found: frozenset[str] = frozenset()
        if self.me is not None:
            seeds = seeds | gateways.seeds(self.me, self.gateways.values(), self.ports, self._ha)
            found = local.local_datapaths(seeds, self.me, self.ports, self._ha)
        keys: dict[str, int] = {}
        taken: set[int] = set()
        for uuid in sorted(found):
            row = rows.get(uuid)
            if row is None:
                continue
            if physical.valid_datapath(row) and row.tunnel_key not in taken:
                keys[uuid] = row.tunnel_key
                taken.add(row.tunnel_key)
            else:
                self._omit(uuid, f"datapath tunnel key {row.tunnel_key} is not usable")
        for uuid in {u for u, _ in keys.items() ^ self.keys.items()}:
            self._touch(uuid)
            # Patch ports of the neighbours lead somewhere else now.
            for port in self.ports.peered(uuid):
                self._touch_peer(port)
        self.keys = keys

    def _decide_peers(self, config: Config) -> None:
        if self.me is None:
            self.peers = Peers()
            return
        if not self._chassis_moved:
            return
        self._chassis_moved = False
        rows, encaps = self._sb.table(Chassis), self._sb.table(Encap)
        peers = tunnels.choose(self.me, config, rows.values(), encaps)
        before = self.peers
        if (peers.default, peers.by_encap, peers.regions) != (
            *(before.default, before.by_encap, before.regions),
        ):
            self._touch(*self.keys)
        for name, why in peers.skipped.items():
            if self.peers.skipped.get(name) != why:
                vlog.info(f"No tunnel to chassis {name}: {why}")
        self.peers = peers

    def _decide_tunnels(self, config: Config) -> None:
        links = self.peers.links
        self._underlay.want((link.remote, link.local) for link in links.values())
        tos = config.encap_tos or 0
        self._tunnels = {
            name: physical.tunnel(
                link, self._underlay.path(link.remote, link.local), tos, config.encap_df
            )
            for name, link in links.items()
        }

    def _decide_zones(self, keep: bool) -> None:
        rows = self._sb.table(DatapathBinding)
        names = set(self.claims)
        requested: dict[str, int] = {}
        for uuid in self.keys:
            names |= {dnat_name(uuid), snat_name(uuid)}
            called = rows[uuid].external_ids.get("name", "")
            theirs = newer_names(uuid, called) if called else {}
            self.zones.adopt({old: new for old, new in theirs.items() if old not in self.claims})
            pinned = rows[uuid].external_ids.get("snat-ct-zone", "")
            if pinned.isdecimal() and int(pinned) <= 65535:
                requested[snat_name(uuid)] = int(pinned)
        for name in self.zones.update(names, requested, keep=keep):
            claim = self.claims.get(name)
            self._touch(claim.row.datapath if claim else name.rpartition("_")[0])

    def _zone_limits(self) -> dict[int, int]:
        """`ct-zone-limit` of datapaths, and of ports that have one of their own."""
        rows, zones = self._sb.table(DatapathBinding), self.zones.zones
        by_datapath = {uuid: ct_zones.limit(rows[uuid].external_ids) for uuid in self.keys}
        named = {
            name(uuid): value
            for uuid, value in by_datapath.items()
            for name in (dnat_name, snat_name)
        }
        for name, claim in self.claims.items():
            default = by_datapath.get(claim.row.datapath, 0)
            named[name] = ct_zones.limit(claim.row.options, default)
        return {zones[name]: value for name, value in named.items() if value and name in zones}

    def _recompute(self) -> None:
        found = {u: d for u, d in self._local_datapaths.items() if u in self.keys}
        due = [u for u in self.keys if u in self._touched or u not in found]
        self._touched.clear()
        if not due and len(found) == len(self._local_datapaths):
            return
        site = physical.Site(
            self.me.uuid if self.me else "",
            self.ports,
            self.claims,
            self.peers,
            self.zones.zones,
            self.keys,
            self._omit,
            self.gateways,
            self._ha,
        )
        for uuid in due:
            found[uuid] = self._datapath(site, uuid)
        self._local_datapaths = found

    def _datapath(self, site: physical.Site, uuid: str) -> LocalDatapath:
        key = self.keys[uuid]
        table = self._sb.table(MulticastGroup)
        rows = [table[g] for g in sorted(self._groups.get(uuid, ())) if g in table]
        localnet = physical.has_localnet(self.ports.datapath(uuid))
        groups = {row.name: physical.group(site, row, localnet) for row in rows}
        security = {
            name: PortSecurity(key, row.tunnel_key, name, row.port_security)
            for row in self.ports.datapath(uuid)
            if (name := row.logical_port) in self.claims
        }
        self._omit_mirrors(uuid)
        ports = physical.ports(site, uuid, localnet)
        return LocalDatapath(
            uuid,
            physical.datapath(self._sb.table(DatapathBinding)[uuid], self.zones.zones),
            ports,
            {
                group.key: group
                for group in (*groups.values(), physical.regions(site, key))
                if group is not None
            },
            {
                row.logical_port: row.tunnel_key
                for row in self.ports.datapath(uuid)
                if row.tunnel_key in ports
            },
            {name: group.key for name, group in groups.items() if group is not None},
            security,
            physical.elsewhere(self.ports.datapath(uuid), self.claims),
        )

    def _omit_mirrors(self, uuid: str) -> None:
        """Say which mirrors of local ports lead out of the logical network."""
        mirrors = self._sb.table(Mirror)
        for row in self.ports.datapath(uuid):
            for rule in row.mirror_rules if row.logical_port in self.claims else ():
                if rule in mirrors and mirrors[rule].type != "lport":
                    kind = mirrors[rule].type
                    self._omit(
                        f"mirror {mirrors[rule].name}", f"no copies by {kind} in this version"
                    )

    def _omit(self, subject: str, why: str) -> None:
        """Say once what the data plane will not have."""
        if (subject, why) not in self._omitted:
            self._omitted.add((subject, why))
            vlog.info(f"{subject}: {why}")

    def _build(self, config: Config) -> Desired:
        """Mappings that are as before are the same objects as before."""
        before = self._built
        mine = self.ports.chassis(self.me.uuid) if self.me else ()
        chassis = self.me.uuid if self.me else ""
        # Of chassisredirect ports the election counts, not who has claimed it yet.
        redirect = PortType.CHASSISREDIRECT.value
        resident = frozenset(
            row.logical_port for row in mine if row.chassis == chassis and row.type != redirect
        ).union(self.gateways)
        self._built = Desired(
            chassis=config.chassis,
            datapaths=self._local_datapaths,
            tunnels=_same(before.tunnels, self._tunnels),
            resident=_same(before.resident, resident),
            zones=_same(before.zones, dict(self.zones.zones)),
            zone_limits=_same(before.zone_limits, self._zone_limits()),
        )
        return self._built


def _goes_up(old: PortBinding | None, new: PortBinding | None) -> bool:
    """Is this nothing but what we, or others, have made of it?  Nothing here reads `up`."""
    return old is not None and new is not None and replace(old, up=new.up) == new


def _alike(claim: Claim, other: Claim | None) -> bool:
    """Do both make the same port of a row?  Changes of rows are taken in by themselves."""
    return (
        other is not None
        and claim.iface.ifindex == other.iface.ifindex
        and (claim.vlan, claim.wakes) == (other.vlan, other.wakes)
    )


def _same(old: T, new: T) -> T:
    """The old object if both are equal."""
    return old if old == new else new
