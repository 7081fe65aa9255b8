# SPDX-License-Identifier: Apache-2.0
"""Binding on real databases: chassis rows, claims, up, ovn-installed, nb_cfg."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.ovsdb.store import Changes
from tests.support.node import Node, binding_of, until_up
from tests.support.ovsdb import OvnCentral, wait_until


@pytest.fixture
def central(tmp_path: Path) -> Iterator[OvnCentral]:
    with OvnCentral(tmp_path / "central") as central:
        yield central


@pytest.fixture
def hv1(tmp_path: Path, central: OvnCentral) -> Iterator[Node]:
    with Node(tmp_path, "hv1", central.sb.remote, ip="192.0.2.1") as node:
        yield node


@pytest.fixture
def hv2(tmp_path: Path, central: OvnCentral) -> Iterator[Node]:
    with Node(tmp_path, "hv2", central.sb.remote, ip="192.0.2.2") as node:
        yield node


def switch(central: OvnCentral, *lports: str) -> None:
    central.nbctl("--may-exist", "ls-add", "sw0")
    for lport in lports:
        central.nbctl("lsp-add", "sw0", lport)
    central.sync()


def test_a_plugged_port_is_claimed_announced_and_acknowledged(
    central: OvnCentral, hv1: Node
) -> None:
    switch(central, "lp1")
    hv1.plug("tap1", "lp1", wait=True)
    central.nbctl("--timeout=20", "wait-until", "Logical_Switch_Port", "lp1", "up=true")
    assert binding_of(central, "lp1") == "hv1"
    hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "true", "ovn-installed")
    assert hv1.iface_id("tap1", "ovn-installed-ts").isdecimal()
    central.nbctl("--wait=hv", "sync")
    nb_cfg = central.nbctl("get", "NB_Global", ".", "nb_cfg")
    assert hv1.vsctl("get", "Bridge", "br-int", "external_ids:ovn-nb-cfg").strip('"') == nb_cfg
    ports = list(hv1.desired.ports().values())
    assert [port.kind for port in ports] == [PortKind.VIF]
    assert ports[0].ifindex and ports[0].ct_zone
    assert hv1.desired.resident == {"lp1"}


def test_up_and_ovn_installed_wait_for_the_data_plane(central: OvnCentral, tmp_path: Path) -> None:
    switch(central, "lp1")
    with Node(tmp_path, "hv1", central.sb.remote, auto_ack=False) as hv1:
        hv1.plug("tap1", "lp1")
        hv1.until(lambda: binding_of(central, "lp1") == "hv1", "the claim")
        hv1.until(lambda: hv1.desired.complete and hv1.desired.datapaths, "the datapath")
        state = hv1.until(lambda: hv1.call(lambda: hv1.binding.port_states().get("lp1")), "a state")
        hv1.until(
            lambda: hv1.call(lambda: hv1.binding.port_states()["lp1"]).value == "INSTALL_FLOWS",
            "INSTALL_FLOWS",
        )
        assert state is not None
        assert binding_of(central, "lp1", "up") == "false"
        assert hv1.iface_id("tap1", "ovn-installed") == ""
        hv1.ack()
        until_up(hv1, central, "lp1")
        hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "true", "ovn-installed")


def test_nb_cfg_is_acknowledged_only_when_live(central: OvnCentral, tmp_path: Path) -> None:
    with Node(tmp_path, "hv1", central.sb.remote, auto_ack=False) as hv1:
        hv1.until(lambda: hv1.desired.complete, "the first synchronisation")
        central.sync()
        wanted = int(central.sbctl("get", "SB_Global", ".", "nb_cfg"))
        assert wanted > 0
        seen = hv1.iterations
        hv1.wake()
        hv1.until(lambda: hv1.iterations > seen, "an iteration")
        assert central.sbctl("--bare", "get", "Chassis_Private", "hv1", "nb_cfg") == "0"
        hv1.ack()

        def acked() -> bool:
            return int(central.sbctl("get", "Chassis_Private", "hv1", "nb_cfg")) == wanted

        hv1.until(acked, "nb_cfg")
        assert int(central.sbctl("get", "Chassis_Private", "hv1", "nb_cfg_timestamp")) > 10**12


def test_unplugging_releases_the_port_and_its_marks(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1")
    hv1.plug("tap1", "lp1")
    hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "true", "ovn-installed")
    hv1.vsctl("remove", "Interface", "tap1", "external_ids", "iface-id")
    hv1.until(lambda: binding_of(central, "lp1") == "", "the release")
    assert binding_of(central, "lp1", "up") == "false"
    hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "", "ovn-installed to go")
    assert hv1.iface_id("tap1", "ovn-installed-ts") == ""
    hv1.until(lambda: not hv1.desired.datapaths, "the datapath to go")


def test_a_device_that_vanishes_releases_its_port(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1")
    hv1.plug("tap1", "lp1")
    until_up(hv1, central, "lp1")
    hv1.ip("link", "del", "tap1")
    hv1.until(lambda: binding_of(central, "lp1") == "", "the release")
    hv1.add_device("tap1")
    until_up(hv1, central, "lp1")


def test_a_deleted_logical_port_takes_its_marks_along(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1", "lp2")
    hv1.plug("tap1", "lp1")
    hv1.plug("tap2", "lp2")
    hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "true", "ovn-installed")
    central.nbctl("lsp-del", "lp1")
    hv1.until(lambda: hv1.iface_id("tap1", "ovn-installed") == "", "ovn-installed to go")
    hv1.until(lambda: hv1.desired.resident == {"lp2"}, "lp2 to stay")


def test_a_port_moves_to_the_chassis_where_it_was_plugged_last(
    central: OvnCentral, hv1: Node, hv2: Node
) -> None:
    switch(central, "lp1", "lp2")
    hv1.plug("tap2", "lp2")
    hv1.plug("tap1", "lp1")
    until_up(hv1, central, "lp1")
    hv1.unplug("tap1")
    hv2.plug("tap1", "lp1")
    hv2.until(lambda: binding_of(central, "lp1") == "hv2", "the move")
    hv2.until(lambda: binding_of(central, "lp1", "up") == "true", "up")

    def remote() -> bool:
        ports = {port.port: port for port in hv1.desired.ports().values()}
        return PortKind.REMOTE in {port.kind for port in ports.values()}

    hv1.until(remote, "lp1 to be remote")
    found = {port.kind: port for port in hv1.desired.ports().values()}
    assert found[PortKind.REMOTE].chassis == "hv2@192.0.2.2"
    assert found[PortKind.VIF].port != found[PortKind.REMOTE].port


def test_competing_claims_change_hands_at_most_every_half_second(
    central: OvnCentral, hv1: Node, hv2: Node
) -> None:
    switch(central, "lp1")
    hv1.plug("tap1", "lp1")
    hv1.until(lambda: binding_of(central, "lp1") == "hv1", "the first claim")
    hv2.plug("tap1", "lp1")
    hv2.until(lambda: binding_of(central, "lp1") == "hv2", "the second claim")
    claims: list[float] = []
    for node in (hv1, hv2):
        hook(node, claims)
    wait_until(lambda: len(claims) >= 4, "four claims")
    gaps = [later - earlier for earlier, later in zip(claims, claims[2:], strict=False)]
    assert min(gaps) >= 490, claims


def hook(node: Node, claims: list[float]) -> None:
    """Note the time (ms) of every claim that a node sends."""

    def install() -> None:
        original = node.binding._status.claim_sent

        def sent(lport: str, now_ms: int) -> None:
            claims.append(now_ms)
            original(lport, now_ms)

        node.binding._port_lane._claim_sent = sent

    node.call(install)


@pytest.mark.parametrize("wanted", ["hv2", "hv2.example", "hv2,hv1"])
def test_requested_chassis_decides_by_name_or_hostname(
    central: OvnCentral, hv1: Node, hv2: Node, wanted: str
) -> None:
    switch(central, "lp1")
    central.nbctl("lsp-set-options", "lp1", f"requested-chassis={wanted}")
    central.sync()
    hv1.plug("tap1", "lp1")
    hv2.plug("tap1", "lp1")
    hv2.until(lambda: binding_of(central, "lp1") == "hv2", "the claim by hv2")
    hv2.until(lambda: binding_of(central, "lp1", "up") == "true", "up")
    if wanted == "hv2,hv1":
        uuid = central.sbctl("--bare", "--columns=_uuid", "find", "Chassis", "name=hv1")
        hv1.until(
            lambda: binding_of(central, "lp1", "additional_chassis") == uuid, "the additional one"
        )
        central.nbctl("lsp-set-options", "lp1", "requested-chassis=hv1")
        hv1.until(lambda: binding_of(central, "lp1") == "hv1", "the hand-over")
        hv2.until(lambda: binding_of(central, "lp1", "additional_chassis") == "", "the end")


def test_iface_id_ver_must_match(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1")
    central.nbctl("lsp-set-options", "lp1", "iface-id-ver=2")
    central.sync()
    hv1.plug("tap1", "lp1", "external_ids:iface-id-ver=1")
    hv1.plug("tap2", "other")
    seen = hv1.iterations
    hv1.until(lambda: hv1.desired.complete and hv1.iterations > seen, "an iteration")
    assert binding_of(central, "lp1") == ""
    hv1.vsctl("set", "Interface", "tap1", "external_ids:iface-id-ver=2")
    hv1.until(lambda: binding_of(central, "lp1") == "hv1", "the claim")


def test_containers_are_bound_with_their_parent(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1")
    central.nbctl("lsp-add", "sw0", "child", "lp1", "42")
    central.sync()
    hv1.plug("tap1", "lp1")
    until_up(hv1, central, "child")
    assert binding_of(central, "child") == "hv1"
    nested = [port for port in hv1.desired.ports().values() if port.nested]
    parent = [port for port in hv1.desired.ports().values() if not port.nested]
    assert [(port.vlan, port.ifindex) for port in nested] == [(42, parent[0].ifindex)]
    hv1.unplug("tap1")
    hv1.until(lambda: binding_of(central, "child") == "", "the release")


def localports(node: Node) -> list[Port]:
    return [port for port in node.desired.ports().values() if port.localport and port.ifindex]


def test_a_localport_is_local_everywhere_and_claimed_nowhere(
    central: OvnCentral, hv1: Node, hv2: Node
) -> None:
    switch(central, "lp1", "lp2", "meta")
    central.nbctl("lsp-set-type", "meta", "localport")
    central.sync()
    for node, lport in ((hv1, "lp1"), (hv2, "lp2")):
        node.plug("tapm", "meta")
        node.plug("tap1", lport)
        until_up(node, central, lport)
    for node in (hv1, hv2):
        node.until(partial(localports, node), "the localport")
    assert binding_of(central, "meta") == ""


def test_multicast_groups_name_local_members_and_remote_chassis(
    central: OvnCentral, hv1: Node, hv2: Node
) -> None:
    switch(central, "lp1", "lp2", "lp3", "lp4")
    hv1.plug("tap1", "lp1")
    hv1.plug("tap2", "lp2")
    hv2.plug("tap3", "lp3")
    until_up(hv1, central, "lp1", "lp2", "lp3")
    key = {lp: int(binding_of(central, lp, "tunnel_key")) for lp in ("lp1", "lp2", "lp3")}

    def flood(node: Node) -> tuple[tuple[int, ...], tuple[str, ...]]:
        group = next((g for (_, k), g in node.desired.groups().items() if k == 32768), None)
        return (group.local, group.remote) if group is not None else ((), ())

    both = tuple(sorted((key["lp1"], key["lp2"])))
    hv1.until(lambda: flood(hv1) == (both, ("hv2@192.0.2.2",)), "hv1's flood group")
    hv2.until(lambda: flood(hv2) == ((key["lp3"],), ("hv1@192.0.2.1",)), "hv2's flood group")
    local = next(iter(hv1.desired.datapaths.values()))
    assert local.group_keys["_MC_flood"] == 32768
    assert local.port_keys["lp4"] == int(binding_of(central, "lp4", "tunnel_key"))


def test_datapaths_behind_patch_ports_are_local_too(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1")
    for name, mac, net in (("sw0", "01", "10.0.0.1/24"), ("sw1", "02", "10.0.1.1/24")):
        central.nbctl("--may-exist", "lr-add", "lr0")
        central.nbctl("--may-exist", "ls-add", name)
        central.nbctl("lrp-add", "lr0", f"lr0-{name}", f"00:00:00:00:ff:{mac}", net)
        central.nbctl("lsp-add", name, f"{name}-lr0")
        central.nbctl("lsp-set-type", f"{name}-lr0", "router")
        central.nbctl("lsp-set-options", f"{name}-lr0", f"router-port=lr0-{name}")
    central.nbctl("ls-add", "elsewhere")
    central.sync()
    hv1.plug("tap1", "lp1")
    hv1.until(lambda: len(hv1.desired.datapaths) == 3, "three datapaths")
    patches = [p for p in hv1.desired.ports().values() if p.kind is PortKind.PATCH]
    assert len(patches) == 4
    ends = {(p.dp, p.port): (p.peer_dp, p.peer_port) for p in patches}
    assert all(ends[peer] == end for end, peer in ends.items())
    zones = {(d.datapath.dnat_zone, d.datapath.snat_zone) for d in hv1.desired.datapaths.values()}
    assert len(zones) == 3
    hv1.unplug("tap1")
    hv1.until(lambda: not hv1.desired.datapaths, "no datapath")


def test_ct_zones_that_a_newer_release_named_are_taken_over(
    central: OvnCentral, tmp_path: Path
) -> None:
    """OVN 24.03 and later name a datapath's zones by its name, not by its row's uuid."""
    switch(central, "lp1")
    bridge = ("--no-wait", "br-set-external-id", "br-int")
    with Node(tmp_path, "hv1", central.sb.remote) as hv1:
        hv1.plug("tap1", "lp1")
        hv1.until(lambda: len(hv1.desired.zones) == 3, "zones of a port and its switch")
        zones = dict(hv1.desired.zones)
        hv1.halt()
        for name, zone in zones.items():
            if name != "lp1":
                hv1.vsctl(*bridge, f"ct-zone-{name}")
                hv1.vsctl(*bridge, f"ct-zone-sw0_{name[-4:]}", str(zone + 70))
        again = Node(tmp_path, "hv1", central.sb.remote, devices=["tap1"])
        again.server = hv1.server
        again._thread.start()
        try:
            wanted = {name: zone + 70 * (name != "lp1") for name, zone in zones.items()}
            again.until(lambda: dict(again.desired.zones) == wanted, "the zones")

            def persistent() -> bool:
                ids = again.vsctl("--no-wait", "br-get-external-id", "br-int").splitlines()
                kept = {one.partition("=")[0] for one in ids if one.startswith("ct-zone-")}
                return kept == {f"ct-zone-{name}" for name in wanted}

            again.until(persistent, "the names")
            moved = (each.allotted | each.released for each in again.zones_moved)
            assert not set().union(*moved)
        finally:
            again.halt()


def test_ct_zones_survive_a_restart_of_the_agent(central: OvnCentral, tmp_path: Path) -> None:
    switch(central, "lp1", "lp2")
    with Node(tmp_path, "hv1", central.sb.remote) as hv1:
        hv1.plug("tap2", "lp2")
        hv1.until(lambda: "lp2" in hv1.desired.zones, "a zone")
        hv1.plug("tap1", "lp1")
        hv1.until(lambda: "lp1" in hv1.desired.zones, "a zone")
        zones = dict(hv1.desired.zones)
        allotted = set().union(*(moved.allotted for moved in hv1.zones_moved))
        assert {zones["lp1"], zones["lp2"]} <= allotted
        ids = "external_ids:ct-zone-lp1"
        hv1.until(
            lambda: (
                hv1.vsctl("--if-exists", "get", "Bridge", "br-int", ids).strip('"')
                == str(zones["lp1"])
            ),
            "the persisted zone",
        )
        hv1.halt()
        again = Node(tmp_path, "hv1", central.sb.remote, devices=["tap1", "tap2"])
        again.server = hv1.server
        again._thread.start()
        try:
            again.until(
                lambda: again.desired.complete and again.desired.resident == {"lp1", "lp2"},
                "the ports",
            )
            assert dict(again.desired.zones) == zones
            again.zones_moved.clear()
            again.unplug("tap1")
            again.until(lambda: again.zones_moved, "a zone that is given up")
            assert again.zones_moved[0].released == {zones["lp1"]}
        finally:
            again.halt()


@pytest.mark.parametrize("cleanup", ["true", "false"])
def test_exit_gives_everything_back_unless_told_not_to(
    central: OvnCentral, hv1: Node, cleanup: str
) -> None:
    switch(central, "lp1")
    hv1.plug("tap1", "lp1")
    until_up(hv1, central, "lp1")
    hv1.set_ids(**{"ovn-cleanup-on-exit": cleanup})
    hv1.until(
        lambda: hv1.call(lambda: hv1.binding.config.cleanup_on_exit) == (cleanup == "true"),
        "the setting",
    )
    done: list[bool] = []

    def leave() -> None:
        def run(changes: Changes) -> Desired:
            done.append(hv1.binding.cleanup(changes))
            return hv1.desired

        hv1.binding.run = run  # type: ignore[method-assign]

    hv1.call(leave)
    hv1.wake()
    hv1.until(lambda: done and done[-1], "the clean-up")
    if cleanup == "false":
        assert central.sbctl("--bare", "--columns=name", "list", "Chassis") == "hv1"
        assert binding_of(central, "lp1", "up") == "true"
        return
    assert central.sbctl("--bare", "--columns=name", "list", "Chassis") == ""
    assert central.sbctl("--bare", "--columns=name", "list", "Chassis_Private") == ""
    assert central.sbctl("--bare", "--columns=ip", "list", "Encap") == ""
    assert (binding_of(central, "lp1"), binding_of(central, "lp1", "up")) == ("", "false")


def test_the_integration_bridge_can_be_another(central: OvnCentral, hv1: Node) -> None:
    switch(central, "lp1", "lp2")
    hv1.plug("tap1", "lp1")
    until_up(hv1, central, "lp1")
    hv1.set_ids(**{"ovn-bridge": "br-other"})
    hv1.until(lambda: "br-other" in hv1.vsctl("list-br").split(), "the other bridge")
    hv1.until(lambda: binding_of(central, "lp1") == "", "the release")
    hv1.add_device("tap2")
    hv1.vsctl("add-port", "br-other", "tap2", "--", "set", "Interface", "tap2",
              "external_ids:iface-id=lp2")  # fmt: skip
    until_up(hv1, central, "lp2")
    assert hv1.desired.resident == {"lp2"}
