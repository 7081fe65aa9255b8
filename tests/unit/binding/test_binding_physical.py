# SPDX-License-Identifier: Apache-2.0
"""Ports and groups of a datapath from rows, sensible and senseless ones."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.binding import gateways, local, physical
from ovn_bpf_controller.binding.claims import Bind, Claim, PortType
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.tunnels import Link, Peers
from ovn_bpf_controller.binding.view import Interface
from ovn_bpf_controller.model import FLOOD_REMOTE, McGroup, Port, PortKind
from ovn_bpf_controller.ovsdb.tables import Chassis, DatapathBinding, MulticastGroup, PortBinding
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.underlay.route import Path

PEERS = Peers(
    default={"c2": "hv2@192.0.2.2", "c3": "hv3@192.0.2.3"}, by_encap={"e22": "hv2@198.51.100.2"}
)
TAP = Interface("i", "tap", ofport=1, ifindex=7)


def row(name: str, key: int, **columns: Any) -> PortBinding:
    defaults: dict[str, Any] = {"datapath": "sw", "tunnel_key": key}
    return PortBinding(f"u-{name}", logical_port=name, **defaults | columns)


def site(*rows: PortBinding, claims: dict[str, Claim] | None = None, **more: Any) -> physical.Site:
    ports = PortIndex()
    ports.apply({r.uuid: (None, r) for r in rows})
    omitted: list[tuple[str, str]] = more.get("omitted", [])
    groups = more.get("groups", local.HAGroups({}, {}))
    return physical.Site(
        chassis="me",
        ports=ports,
        claims=claims or {},
        peers=PEERS,
        zones={"here": 5},
        keys={"sw": 1, "lr": 2},
        omit=lambda subject, why: omitted.append((subject, why)),
        gateways=gateways.here(Chassis("me", name="hv1"), ports, groups),
        groups=groups,
    )


def claimed(name: str, key: int, **columns: Any) -> tuple[PortBinding, dict[str, Claim]]:
    found = row(name, key, **columns)
    bind = Bind.NO if found.type == "localport" else Bind.MAIN
    return found, {name: Claim(found, TAP, bind, found.tag or 0)}


def ports_of(found: physical.Site, uuid: str) -> dict[int, Port]:
    return physical.ports(found, uuid, physical.has_localnet(found.ports.datapath(uuid)))


def group_of(found: physical.Site, group: MulticastGroup) -> McGroup | None:
    localnet = physical.has_localnet(found.ports.datapath(group.datapath))
    return physical.group(found, group, localnet)


def only(found: physical.Site) -> Port:
    [port] = ports_of(found, "sw").values()
    return port


def test_a_claimed_vif_is_a_device_even_before_the_southbound_agrees() -> None:
    here, claims = claimed("here", 3, chassis="c2")
    assert only(site(here, claims=claims)) == Port(1, 3, PortKind.VIF, ifindex=7, ct_zone=5)


def test_a_container_shares_its_parents_device() -> None:
    child, claims = claimed("child", 3, parent_port="p", tag=42)
    port = only(site(child, claims=claims))
    assert (port.kind, port.ifindex, port.vlan, port.nested) == (PortKind.VIF, 7, 42, True)


def test_a_mirror_sends_copies_to_its_targets_device_or_its_chassis() -> None:
    copies, claims = claimed("mp", 3, type="mirror", mirror_port="p")
    port = only(site(copies, claims=claims))
    assert (port.kind, port.ifindex, port.vlan, port.mirror) == (PortKind.VIF, 7, 0, True)
    assert only(site(replace(copies, chassis="c2"))).chassis == "hv2@192.0.2.2"
    omitted: list[tuple[str, str]] = []
    assert only(site(copies, omitted=omitted)).kind is PortKind.NONE
    assert not omitted


def test_a_port_elsewhere_is_behind_its_chassis_tunnel() -> None:
    assert only(site(row("p", 3, chassis="c2"))).chassis == "hv2@192.0.2.2"
    assert only(site(row("p", 3, chassis="c2", encap="e22"))).chassis == "hv2@198.51.100.2"
    assert only(site(row("p", 3, chassis="unknown"))).kind is PortKind.NONE


def test_what_is_flooded_to_other_regions_goes_to_a_group_that_has_no_row() -> None:
    here = site()
    assert physical.regions(here, 1) is None
    peers = replace(PEERS, regions=["az3@192.0.2.3", "az2@192.0.2.2"])
    found = physical.regions(replace(here, peers=peers), 1)
    assert found == McGroup(1, FLOOD_REMOTE, (), ("az2@192.0.2.2", "az3@192.0.2.3"))


def test_a_port_bound_nowhere_or_to_us_without_a_device_is_nowhere() -> None:
    assert only(site(row("p", 3))) == Port(1, 3, PortKind.NONE)
    assert only(site(row("p", 3, chassis="me"))) == Port(1, 3, PortKind.NONE)
    here, claims = claimed("here", 3)
    gone = {"here": Claim(here, Interface("i", "tap", ofport=1), Bind.MAIN)}
    assert claims and only(site(here, claims=gone)).kind is PortKind.NONE


def test_patch_ports_lead_to_their_peer_while_that_is_local() -> None:
    here = row("s-r", 3, type="patch", options={"peer": "r-s"})
    there = row("r-s", 9, type="patch", datapath="lr", options={"peer": "s-r"})
    port = only(site(here, there))
    assert (port.kind, port.peer_dp, port.peer_port) == (PortKind.PATCH, 2, 9)
    assert only(site(here)).kind is PortKind.NONE
    far = row("r-s", 9, type="patch", datapath="not local", options={"peer": "s-r"})
    assert only(site(here, far)).kind is PortKind.NONE


def test_a_localport_is_never_remote() -> None:
    meta, claims = claimed("meta", 3, type="localport", chassis="c2")
    assert only(site(meta)) == Port(1, 3, PortKind.NONE, localport=True)
    port = only(site(meta, claims=claims))
    assert port.kind is PortKind.VIF and port.localport


def test_remote_ports_of_a_switch_with_localnet_are_not_tunnelled_to() -> None:
    omitted: list[tuple[str, str]] = []
    remote = row("p", 3, chassis="c2")
    found = ports_of(site(remote, row("ln", 4, type="localnet"), omitted=omitted), "sw")
    assert [port.kind for port in found.values()] == [PortKind.NONE, PortKind.NONE]
    assert ("port type localnet", "not realised on this chassis by this version") in omitted


def test_absurd_and_repeated_keys_cost_their_own_port() -> None:
    omitted: list[tuple[str, str]] = []
    rows = (row("ok", 3), row("twin", 3), row("zero", 0), row("huge", 32768), row("minus", -1))
    found = ports_of(site(*rows, omitted=omitted), "sw")
    assert list(found) == [3]
    assert {subject for subject, _ in omitted} == {"twin", "zero", "huge", "minus"}


def test_groups_have_members_here_and_one_copy_for_each_chassis() -> None:
    here, claims = claimed("here", 1, chassis="me")
    meta, meta_claims = claimed("meta", 2, type="localport")
    rows = (
        here,
        meta,
        row("absent-meta", 3, type="localport"),
        row("a", 4, chassis="c2"),
        row("b", 5, chassis="c2", encap="e22"),
        row("c", 6, chassis="c3", additional_chassis=("c2", "me")),
        row("patch", 7, type="patch"),
        row("unbound", 8),
        row("stale", 9, chassis="me"),
        row("foreign", 10, datapath="lr", chassis="c3"),
    )
    members = tuple(r.uuid for r in rows) + ("no such row",)
    group = MulticastGroup("g", datapath="sw", name="_MC_flood", tunnel_key=32768, ports=members)
    found = group_of(site(*rows, claims=claims | meta_claims), group)
    links = ("hv2@192.0.2.2", "hv3@192.0.2.3")
    assert found == McGroup(1, 32768, (1, 2, 7), links)
    localnet = row("ln", 11, type="localnet")
    found = group_of(site(*rows, localnet, claims=claims | meta_claims), group)
    assert found == McGroup(1, 32768, (1, 2, 7), ())
    for key in (0, 5, 65536):
        absurd = MulticastGroup("g", datapath="sw", name="x", tunnel_key=key)
        assert group_of(site(), absurd) is None


def test_a_tunnel_without_a_route_stays_known_as_a_peer() -> None:
    link = Link("hv2@192.0.2.2", "192.0.2.1", "192.0.2.2", 6081, True)
    lost = physical.tunnel(link, None, 0, True)
    assert (lost.ifindex, lost.mtu, lost.remote, lost.csum) == (0, 0, "192.0.2.2", True)
    path = Path(4, "192.0.2.8", "192.0.2.254", 1500, b"\x02" * 6, b"\x04" * 6)
    found = physical.tunnel(link, path, 16, False)
    assert (found.local, found.ifindex, found.mtu) == ("192.0.2.8", 4, 1500)
    assert (found.src_mac, found.dst_mac) == (path.src_mac, path.dst_mac)
    assert (found.tos, found.df) == (16, False)


def test_datapath_keys_fit_a_vni() -> None:
    keys = {0: False, 1: True, (1 << 24) - 1: True, 1 << 24: False, -1: False}
    for key, valid in keys.items():
        assert physical.valid_datapath(DatapathBinding("d", tunnel_key=key)) is valid


NAMES = st.sampled_from(["a", "b", "c", "d"])
UUIDS = st.sampled_from(["me", "c2", "c3", "x"])


@st.composite
def garbage(draw: st.DrawFn) -> PortBinding:
    name = draw(NAMES)
    return PortBinding(
        f"u-{name}",
        logical_port=name,
        type=draw(st.sampled_from([t.value for t in PortType] + ["nonsense"])),
        datapath=draw(st.sampled_from(["sw", "lr", "far"])),
        tunnel_key=draw(st.sampled_from([-1, 0, 1, 2, 3, 32767, 32768, 1 << 40])),
        parent_port=draw(st.none() | NAMES),
        tag=draw(st.none() | st.integers(-1, 5000)),
        chassis=draw(st.none() | UUIDS),
        additional_chassis=tuple(draw(st.sets(UUIDS))),
        encap=draw(st.none() | st.just("e22")),
        options=draw(
            st.dictionaries(st.sampled_from(["peer", "distributed-port"]), NAMES | st.text())
        ),
    )


@given(st.lists(garbage(), max_size=6), st.sets(NAMES), st.sampled_from([0, 32768, 65535, 65536]))
def test_no_row_raises_and_all_that_comes_out_is_consistent(
    rows: list[PortBinding], plugged: set[str], key: int
) -> None:
    by_name = {r.logical_port: r for r in rows}
    claims = {n: Claim(r, TAP, Bind.MAIN, r.tag or 0) for n, r in by_name.items() if n in plugged}
    found = site(*by_name.values(), claims=claims)
    for uuid in found.keys:
        ports = ports_of(found, uuid)
        for number, port in ports.items():
            assert 0 < number < 32768 and port.port == number and port.dp == found.keys[uuid]
            if port.kind is PortKind.PATCH:
                assert port.peer_dp in (1, 2)
            if port.kind is PortKind.REMOTE:
                assert port.chassis in {*PEERS.default.values(), *PEERS.by_encap.values()}
        group = MulticastGroup(
            "g", datapath=uuid, name="g", tunnel_key=key, ports=tuple(r.uuid for r in rows)
        )
        made = group_of(found, group)
        assert made is None or set(made.local) <= ports.keys()


def test_guests_that_are_not_plugged_here_are_elsewhere() -> None:
    here, claims = claimed("here", 1)
    rows = [
        here,
        row("there", 2, chassis="c2"),
        row("nowhere", 3),
        row("nested", 4, parent_port="there", tag=5),
        row("patch", 5, type="patch"),
        row("cr", 6, type="chassisredirect", chassis="c2"),
        row("local", 7, type="localport"),
        row("ext", 8, type="external"),
        row("net", 9, type="localnet"),
    ]
    assert physical.elsewhere(rows, claims) == {"there", "nowhere", "nested"}
