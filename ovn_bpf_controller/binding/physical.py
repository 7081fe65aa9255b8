# SPDX-License-Identifier: Apache-2.0
"""Rows and claims -> the ports and multicast groups of one local datapath.

Called by the engine for each datapath that a change touched; pure.  It carries
ovn-controller's physical.c into the model: what is a device here, what is behind
a tunnel, what is a jump to another datapath, and what is nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from ovn_bpf_controller.binding.claims import Claim, PortType, port_type
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.local import HAGroups
from ovn_bpf_controller.binding.tunnels import Link, Peers
from ovn_bpf_controller.binding.zones import dnat_name, snat_name
from ovn_bpf_controller.model import FLOOD_REMOTE, Datapath, McGroup, Port, PortKind, Tunnel
from ovn_bpf_controller.ovsdb.tables import DatapathBinding, MulticastGroup, PortBinding
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.underlay.route import Path

MAX_DP_KEY = (1 << 24) - 1
MIN_GROUP_KEY = 32768
MAX_GROUP_KEY = 65535

# Types that live on one chassis: traffic for them goes there through a tunnel.
_BOUND = frozenset(
    {
        PortType.VIF,
        PortType.CONTAINER,
        PortType.CHASSISREDIRECT,
        PortType.L3GATEWAY,
        PortType.L2GATEWAY,
        PortType.VIRTUAL,
        PortType.EXTERNAL,
        PortType.REMOTE,
        PortType.MIRROR,
    }
)

# Nothing to say about, where they are not bound.
_QUIET = frozenset(
    {
        PortType.VIF,
        PortType.CONTAINER,
        PortType.LOCALPORT,
        PortType.VIRTUAL,
        PortType.MIRROR,
    }
)

# Looked up once: Enum.value is a call.
_LOCALNET = PortType.LOCALNET.value
_MIRROR = PortType.MIRROR.value
_L3GATEWAY = PortType.L3GATEWAY.value


@dataclass(frozen=True, slots=True)
class Site:
    """All that is the same for every datapath of one iteration.

    chassis: uuid of our Chassis row, "" before it exists.  keys: Datapath_Binding
    uuid -> tunnel key, local ones only.  omit(subject, why): tell, once, that
    something is left out of the data plane.  gateways: as gateways.here() says.
    """

    chassis: str
    ports: PortIndex
    claims: Mapping[str, Claim]
    peers: Peers
    zones: Mapping[str, int]
    keys: Mapping[str, int]
    omit: Callable[[str, str], None]
    gateways: Mapping[str, PortBinding]
    groups: HAGroups


def valid_datapath(row: DatapathBinding) -> bool:
    """Is the tunnel key one that a Geneve VNI can carry?"""
    return 0 < row.tunnel_key <= MAX_DP_KEY


def datapath(row: DatapathBinding, zones: Mapping[str, int]) -> Datapath:
    """The datapath with the zones of its NAT."""
    dnat, snat = zones.get(dnat_name(row.uuid), 0), zones.get(snat_name(row.uuid), 0)
    return Datapath(row.tunnel_key, dnat, snat)


def has_localnet(rows: Iterable[PortBinding]) -> bool:
    """Does the provider network carry this switch's traffic between chassis?"""
    return any(row.type == _LOCALNET for row in rows)


def elsewhere(rows: Iterable[PortBinding], claims: Mapping[str, Claim]) -> frozenset[str]:
    """Guests' ports, containers among them, that are not plugged here.

    Other kinds of ports may have a part in a pipeline here although they are not.
    """
    return frozenset(
        row.logical_port for row in rows if not row.type and row.logical_port not in claims
    )


# --- ports --------------------------------------------------------------------


def ports(site: Site, uuid: str, localnet: bool) -> dict[int, Port]:
    """Port key -> Port for every port of Datapath_Binding row `uuid`.

    localnet: has_localnet() of it.
    """
    rows = sorted(site.ports.datapath(uuid), key=_by_uuid)
    found: dict[int, Port] = {}
    for row in rows:
        if not _valid_port(row):
            site.omit(row.logical_port, f"tunnel key {row.tunnel_key} is out of range")
        elif row.tunnel_key in found:
            site.omit(row.logical_port, f"tunnel key {row.tunnel_key} is taken")
        else:
            found[row.tunnel_key] = _port(site, site.keys[uuid], row, localnet)
    return found


_by_uuid = attrgetter("uuid")


def _valid_port(row: PortBinding) -> bool:
    return 0 < row.tunnel_key < MIN_GROUP_KEY


def _port(site: Site, dp: int, row: PortBinding, localnet: bool) -> Port:
    zone = site.zones.get(row.logical_port, 0)
    kind = port_type(row)
    claim = site.claims.get(row.logical_port)
    if claim is not None and kind is not PortType.VIRTUAL:
        return _device(dp, row, claim, zone)
    here = row.logical_port in site.gateways
    if kind is PortType.PATCH or (kind is PortType.L3GATEWAY and here):
        return _patch(site, dp, row, zone)
    if kind is PortType.CHASSISREDIRECT and here:
        return _alias(site, dp, row)
    chassis = row.chassis if row.chassis != site.chassis else None
    if kind is PortType.CHASSISREDIRECT and chassis is None:
        chassis = site.groups.elected(row.ha_chassis_group)
    if kind in _BOUND and chassis is not None and chassis != site.chassis:
        return _remote(site, dp, row, chassis, localnet)
    if kind in (PortType.CHASSISREDIRECT, PortType.L3GATEWAY):
        return Port(dp, row.tunnel_key, PortKind.NONE)
    if kind not in _QUIET:
        # One line for each type: northd makes many ports of one kind.
        site.omit(f"port type {row.type}", "not realised on this chassis by this version")
    return Port(dp, row.tunnel_key, PortKind.NONE, localport=kind is PortType.LOCALPORT)


def _device(dp: int, row: PortBinding, claim: Claim, zone: int) -> Port:
    localport = port_type(row) is PortType.LOCALPORT
    if not claim.iface.ifindex:
        return Port(dp, row.tunnel_key, PortKind.NONE, localport=localport)
    return Port(
        dp,
        row.tunnel_key,
        PortKind.VIF,
        localport=localport,
        nested=claim.vlan != 0,
        ifindex=claim.iface.ifindex,
        vlan=claim.vlan,
        mirror=row.type == _MIRROR,
        ct_zone=zone,
        wakes=claim.wakes,
    )


def _patch(site: Site, dp: int, row: PortBinding, zone: int) -> Port:
    peer = site.ports.name(row.options.get("peer", ""))
    peer_dp = site.keys.get(peer.datapath) if peer is not None else None
    if peer is None or peer_dp is None:
        return Port(dp, row.tunnel_key, PortKind.NONE)
    return Port(
        dp,
        row.tunnel_key,
        PortKind.PATCH,
        gateway=row.type == _L3GATEWAY,
        ct_zone=zone,
        peer_dp=peer_dp,
        peer_port=peer.tunnel_key,
    )


def _alias(site: Site, dp: int, row: PortBinding) -> Port:
    """A chassisredirect port that is here means its distributed port."""
    key = _distributed(site, row)
    if not key:
        return Port(dp, row.tunnel_key, PortKind.NONE)
    return Port(dp, row.tunnel_key, PortKind.ALIAS, peer_dp=dp, peer_port=key)


def _distributed(site: Site, row: PortBinding) -> int:
    port = site.ports.name(row.options.get("distributed-port", ""))
    same = port is not None and port.datapath == row.datapath and _valid_port(port)
    return port.tunnel_key if port is not None and same else 0


def _remote(site: Site, dp: int, row: PortBinding, chassis: str, localnet: bool) -> Port:
    nowhere = Port(dp, row.tunnel_key, PortKind.NONE)
    if localnet and not row.additional_chassis:
        # The provider network carries it; a copy in a tunnel would be a second one.
        site.omit(row.logical_port, "remote port of a switch with localnet")
        return nowhere
    if row.additional_chassis:
        site.omit(row.logical_port, "additional chassis get no copies")
    link = site.peers.link(chassis, row.encap)
    if not link:
        return nowhere
    return Port(dp, row.tunnel_key, PortKind.REMOTE, chassis=link)


# --- multicast groups -----------------------------------------------------------


def group(site: Site, row: MulticastGroup, localnet: bool) -> McGroup | None:
    """A multicast group with its members here and the chassis that get a copy.

    localnet: has_localnet() of its datapath.

    Patch ports and localports are among the local members; they are served on the
    sending chassis alone, so a packet that came through a tunnel must pass them by.
    """
    if not MIN_GROUP_KEY <= row.tunnel_key <= MAX_GROUP_KEY:
        site.omit(row.name, f"multicast group key {row.tunnel_key} is out of range")
        return None
    local: set[int] = set()
    remote: set[str] = set()
    for uuid in row.ports:
        port = site.ports.uuid(uuid)
        if port is None or port.datapath != row.datapath or not _valid_port(port):
            continue
        key = _local_member(site, port)
        if key:
            local.add(key)
        elif not localnet:
            remote.update(_remote_links(site, port))
    dp = site.keys[row.datapath]
    return McGroup(dp, row.tunnel_key, tuple(sorted(local)), tuple(sorted(remote)))


def regions(site: Site, dp: int) -> McGroup | None:
    """Where flood_remote sends to: a group that has no row, None without other regions."""
    links = tuple(sorted(site.peers.regions))
    return McGroup(dp, FLOOD_REMOTE, (), links) if links else None


def _local_member(site: Site, row: PortBinding) -> int:
    """The port key to deliver to on this chassis, 0 if there is none."""
    kind = port_type(row)
    if kind is PortType.PATCH:
        return row.tunnel_key
    if kind is PortType.VIRTUAL:
        return 0  # its parent is a member itself
    if kind is PortType.LOCALPORT:
        return row.tunnel_key if row.logical_port in site.claims else 0
    here = site.chassis in (row.chassis, *row.additional_chassis)
    if row.logical_port in site.gateways:
        return _distributed(site, row) if kind is PortType.CHASSISREDIRECT else row.tunnel_key
    return row.tunnel_key if here and row.logical_port in site.claims else 0


def _remote_links(site: Site, row: PortBinding) -> Iterable[str]:
    if port_type(row) in (PortType.LOCALPORT, PortType.REMOTE):
        return ()
    chassis = {row.chassis, *row.additional_chassis} - {None, site.chassis}
    links = (site.peers.link(uuid, None) for uuid in chassis)
    return [link for link in links if link]


# --- tunnels ----------------------------------------------------------------------


def tunnel(link: Link, path: Path | None, tos: int, df: bool) -> Tunnel:
    """A Link joined with what the kernel says of the way.

    Without a route ifindex and mtu are 0: nothing can be sent, but what the chassis
    sends us is still from a known peer.
    """
    if path is None:
        path = Path(0, link.local, link.remote, 0)
    return Tunnel(
        link.name,
        path.source or link.local,
        link.remote,
        path.ifindex,
        path.mtu,
        dst_port=link.dst_port,
        src_mac=path.src_mac,
        dst_mac=path.dst_mac,
        tos=tos,
        df=df,
        csum=link.csum,
    )
