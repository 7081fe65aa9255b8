# SPDX-License-Identifier: Apache-2.0
"""Tunnels and patch ports in the local database, kept as ovn-controller keeps them.

The engine owns one and asks in each iteration; what is wished for is worked out
again only when what it follows from has changed.  Beside an ovs-vswitchd that would take tunnelled
packets away from us there are no tunnel ports (see _competes).
"""

from __future__ import annotations

import operator

import ovs.vlog

from ovn_bpf_controller.binding import patch_ports, tunnel_ports
from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.ovs_writes import LocalSide, LocalWrites, PortWish
from ovn_bpf_controller.binding.topology import Topology
from ovn_bpf_controller.binding.view import LocalView
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.tables import Chassis, Encap, SBGlobal
from ovn_bpf_controller.underlay.route import Underlay

vlog = ovs.vlog.Vlog("ovsport")


class OvsPorts:
    """The ports of this chassis that are for show, and keys that go with them."""

    def __init__(self, southbound: SouthboundCache, underlay: Underlay) -> None:
        self._sb = southbound
        self._underlay = underlay
        self._facts: tuple[object, ...] = ()
        self._things: tuple[object, ...] = ()
        self._tunnels: list[PortWish] = []
        self._patches: list[PortWish] = []
        self._competes = False
        self._omitted: set[tuple[str, str]] = set()

    def fill(
        self,
        writes: LocalWrites,
        config: Config,
        view: LocalView,
        topology: Topology,
        complete: bool,
        moved: bool,
    ) -> None:
        """Add what is due.  moved: topology or configuration are not as before.

        complete: all of the Southbound that concerns us has been read; before that
        nothing is taken away.
        """
        me, bridge = topology.me, view.bridge
        if not view.present or bridge is None or me is None:
            return
        ipsec = tunnel_ports.ipsec(next(iter(self._sb.table(SBGlobal).values()), None))
        index = tunnel_ports.chassis_index(config.chassis, view.other_config)
        # A thousand tunnels are not compared because of a change of nb_cfg.
        things = (config, me, topology.peers, view.cables)
        facts = (
            bridge.uuid,
            bridge.datapath_type,
            view.bridges,
            view.alone,
            complete,
            ipsec,
            index,
        )
        changed = facts != self._facts or not all(map(operator.is_, things, self._things))
        competes = self._competes
        if moved or changed:
            self._competes = self._tunnels_are_ovs(config, view, topology)
            wanted = patch_ports.wanted(
                config, view, me.uuid, topology.ports, topology.keys, self._omit
            )
            self._patches = list(patch_ports.plan(view, wanted, complete))
        if changed or competes != self._competes:
            tunnels = {}
            if not self._competes:
                rows, encaps = self._sb.table(Chassis), self._sb.table(Encap)
                tunnels = tunnel_ports.wanted(me, config, rows.values(), encaps, ipsec)
            wishes = tunnel_ports.plan(view, tunnels, index)
            self._tunnels = [wish for wish in wishes if complete or not wish.remove]
        self._facts, self._things = facts, things
        writes.ports = self._tunnels + self._patches
        writes.other_config |= index_writes(config, view)

    def _tunnels_are_ovs(self, config: Config, view: LocalView, topology: Topology) -> bool:
        """Would an ovs-vswitchd take tunnelled packets before our programs see them?

        Its userspace data path does so with tunnel ports and an encap IP on one of its
        bridges.  Its kernel data path makes a device that we share, and elsewhere the
        packets pass it by.
        """
        competes = False
        if not view.alone and view.bridge is not None and view.bridge.datapath_type == "netdev":
            ours = {self._underlay.ifindex(name) for name in view.bridges}
            links = topology.peers.links.values()
            paths = (self._underlay.path(link.remote, link.local) for link in links)
            competes = any(path is not None and path.ifindex in ours for path in paths)
        if competes and not self._competes:
            vlog.info(
                f"no tunnel ports on {config.bridge}: ovs-vswitchd has the underlay's device "
                "and would take the packets"
            )
        return competes

    def _omit(self, lport: str, why: str) -> None:
        if (lport, why) not in self._omitted:
            self._omitted.add((lport, why))
            vlog.info(f"{lport}: {why}")


def index_writes(config: Config, view: LocalView) -> dict[str, str | None]:
    """Keys of Open_vSwitch.other_config that ovn-controller sets."""
    writes: dict[str, str | None] = {}
    key = f"{tunnel_ports.INDEX}{config.chassis}"
    if key not in view.other_config:
        writes[key] = tunnel_ports.chassis_index(config.chassis, view.other_config)
    # Frames with two 802.1Q tags are matched whole.
    if view.other_config.get("vlan-limit") != "0":
        writes["vlan-limit"] = "0"
    return writes


def clean(local: LocalSide, config: Config) -> bool:
    """Take our ports out of the local database; True when done, or it is away."""
    if not local.connected:
        return True
    writes = removal(config, local.view(config.bridge))
    if writes:
        local.write(writes)
    return not writes


def removal(config: Config, view: LocalView) -> LocalWrites:
    """What takes all of it away again, for a graceful exit."""
    writes = LocalWrites()
    key = f"{tunnel_ports.INDEX}{config.chassis}"
    if key in view.other_config:
        writes.other_config[key] = None
    patches = [port for port in view.cables if port.type == "patch"]
    ports = [*tunnel_ports.shown(view), *patch_ports.stale(view, patches, ())]
    writes.ports = [PortWish(port.bridge, port.name, old=port, remove=True) for port in ports]
    return writes
