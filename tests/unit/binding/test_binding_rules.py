# SPDX-License-Identifier: Apache-2.0
"""The pure rules of binding, each on rows written down by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from ovn_bpf_controller.binding import bridge, local, topology, tunnels
from ovn_bpf_controller.binding.accepted import REASONS, Notice, without_effect
from ovn_bpf_controller.binding.claims import (
    Bind,
    ClaimRules,
    PortType,
    by_iface_id,
    can_bind,
    port_type,
)
from ovn_bpf_controller.binding.config import Config, chassis_override, read_config
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.nb_cfg import NbCfg
from ovn_bpf_controller.binding.view import Bridge, Interface, LocalView
from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import (
    Chassis,
    Encap,
    HAChassis,
    HAChassisGroup,
    PortBinding,
)
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.underlay.route import Underlay

ME = Chassis("me", name="hv1", hostname="host1", encaps=("e1",))


def port(name: str, **columns: Any) -> PortBinding:
    return PortBinding(f"uuid-{name}", logical_port=name, **{"datapath": "dp1"} | columns)


def iface(name: str, lport: str, ofport: int | None = 1, **ids: str) -> Interface:
    return Interface(
        f"if-{name}", name, ofport=ofport, ifindex=7, external_ids={"iface-id": lport} | ids
    )


def index(*rows: PortBinding) -> PortIndex:
    found = PortIndex()
    found.apply({row.uuid: (None, row) for row in rows})
    return found


# --- claims -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({}, Bind.MAIN),
        ({"requested_chassis": "me"}, Bind.MAIN),
        ({"requested_chassis": "other", "options": {"requested-chassis": "hv2"}}, Bind.NO),
        ({"requested_additional_chassis": ("me",)}, Bind.ADDITIONAL),
        ({"options": {"requested-chassis": ""}}, Bind.MAIN),
        ({"options": {"requested-chassis": "hv1"}}, Bind.MAIN),
        ({"options": {"requested-chassis": "host1"}}, Bind.MAIN),
        ({"options": {"requested-chassis": "hv2"}}, Bind.NO),
        ({"options": {"requested-chassis": "hv2,hv1"}}, Bind.ADDITIONAL),
        ({"options": {"requested-chassis": "hv1,hv2"}}, Bind.MAIN),
        ({"options": {"requested-chassis": "hv10"}}, Bind.NO),
    ],
)
def test_who_may_bind(columns: dict[str, Any], wanted: Bind) -> None:
    assert can_bind(ME, port("p", **columns)) is wanted


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [
        ({}, PortType.VIF),
        ({"parent_port": "x"}, PortType.CONTAINER),
        ({"type": "localport"}, PortType.LOCALPORT),
        ({"type": "chassisredirect"}, PortType.CHASSISREDIRECT),
        ({"type": "container"}, PortType.UNKNOWN),
        ({"type": "mirror", "mirror_port": "x"}, PortType.MIRROR),
        ({"type": "of-the-future"}, PortType.UNKNOWN),
    ],
)
def test_port_types(columns: dict[str, Any], wanted: PortType) -> None:
    assert port_type(port("p", **columns)) is wanted


def test_interfaces_count_only_with_an_ofport_and_a_vif_type() -> None:
    good = iface("tap1", "p", 3)
    others = [
        iface("tap2", "q", None),
        iface("tap3", "r", -1),
        Interface("x", "gnv", type="geneve", ofport=9, external_ids={"iface-id": "s"}),
        Interface("y", "tap5", ofport=9),
    ]
    assert by_iface_id([*others, good]) == {"p": good}


def test_of_two_interfaces_with_one_iface_id_the_lower_ofport_wins() -> None:
    first, second = iface("tap2", "p", 1), iface("tap1", "p", 2)
    assert by_iface_id([second, first]) == by_iface_id([first, second]) == {"p": first}


def test_claims_cover_vifs_containers_and_localports() -> None:
    rows = (
        port("vif"),
        port("child", parent_port="vif", tag=5),
        port("untagged", parent_port="vif"),
        port("meta", type="localport"),
        port("elsewhere", options={"requested-chassis": "hv2"}),
        port("orphan", parent_port="elsewhere", tag=6),
        port("router", type="patch"),
    )
    plugged = {name: iface(f"tap-{name}", name) for name in ("vif", "meta", "elsewhere", "router")}
    claims = ClaimRules().decide(ME, plugged, index(*rows))
    # A container does not need its parent bound here, only plugged: as in OVN.
    assert {name: (c.bind, c.vlan) for name, c in claims.items()} == {
        "vif": (Bind.MAIN, 0),
        "child": (Bind.MAIN, 5),
        "meta": (Bind.NO, 0),
        "orphan": (Bind.MAIN, 6),
    }
    assert claims["child"].iface is claims["vif"].iface


def test_a_mirror_is_where_its_target_is_and_may_be() -> None:
    rows = (
        port("spy", requested_additional_chassis=("me",)),
        port("elsewhere", options={"requested-chassis": "hv2"}),
        port("mp-a", type="mirror", mirror_port="spy"),
        port("mp-b", type="mirror", mirror_port="elsewhere"),
        port("mp-c", type="mirror", mirror_port="unplugged"),
        port("mp-d", type="mirror", parent_port="spy"),
    )
    plugged = {name: iface(f"tap-{name}", name) for name in ("spy", "elsewhere")}
    claims = ClaimRules().decide(ME, plugged, index(*rows))
    assert {name: c.bind for name, c in claims.items()} == {
        "spy": Bind.ADDITIONAL,
        "mp-a": Bind.ADDITIONAL,
    }
    assert claims["mp-a"].iface is claims["spy"].iface and not claims["mp-a"].owns_device


# --- local datapaths and conditions -----------------------------------------------


def patch(name: str, dp: str, peer: str, **options: str) -> PortBinding:
    return port(name, type="patch", datapath=dp, options={"peer": peer} | options)


NO_GROUPS = local.HAGroups({}, {})


def test_patch_ports_carry_locality_and_loops_end() -> None:
    ports = index(
        patch("s1-r", "s1", "r-s1"), patch("r-s1", "r", "s1-r"),
        patch("s2-r", "s2", "r-s2"), patch("r-s2", "r", "s2-r"),
        patch("dangling", "s2", "nobody"), port("far", datapath="s9"),
    )  # fmt: skip
    assert local.local_datapaths(["s1"], ME, ports, NO_GROUPS) == {"s1", "s2", "r"}
    assert local.local_datapaths(["s9", ""], ME, ports, NO_GROUPS) == {"s9"}


@pytest.mark.parametrize("member", ["me", "another"])
def test_a_gateway_port_that_always_redirects_is_crossed_on_its_gateways_alone(
    member: str,
) -> None:
    redirect = port(
        "cr", type="chassisredirect", datapath="r", ha_chassis_group="g",
        options={"always-redirect": "true"},
    )  # fmt: skip
    ports = index(
        redirect,
        patch("r-ext", "r", "ext-r", **{"chassis-redirect-port": "cr"}),
        patch("ext-r", "ext", "r-ext"),
    )
    groups = local.HAGroups(
        {"g": HAChassisGroup("g", ha_chassis=("h",))}, {"h": HAChassis("h", chassis=member)}
    )
    found = local.local_datapaths(["r"], ME, ports, groups)
    assert found == ({"r", "ext"} if member == "me" else {"r"})


def test_an_l3_gateway_leads_on_only_where_it_is() -> None:
    ports = index(
        port("gw", type="l3gateway", datapath="r", chassis="me", options={"peer": "s-gw"}),
        port("s-gw", type="l3gateway", datapath="s", chassis="me", options={"peer": "gw"}),
        port("gw2", type="l3gateway", datapath="r2", chassis="x", options={"peer": "s-gw"}),
    )
    assert local.local_datapaths(["r"], ME, ports, NO_GROUPS) == {"r", "s"}
    assert local.local_datapaths(["r2"], ME, ports, NO_GROUPS) == {"r2"}


def test_nothing_is_restricted_with_monitor_all() -> None:
    assert local.conditions(ME, "hv1", ["p"], ["dp"], True) == {}


# --- tunnels ------------------------------------------------------------------------

CONFIG = read_config(
    {"system-id": "hv1", "ovn-encap-type": "geneve", "ovn-encap-ip": "192.0.2.1,2001:db8::1"}
)


def choose(config: Config, row: Chassis, *rows: Encap) -> tunnels.Peers:
    encaps = {e.uuid: e for e in (Encap("e1", type="geneve", ip="192.0.2.1"), *rows)}
    return tunnels.choose(ME, config, [ME, row], encaps)


def test_every_address_of_a_peer_gets_a_link_and_the_default_is_preferred() -> None:
    row = Chassis("c2", name="hv2", encaps=("a", "b", "c", "d"))
    peers = choose(
        CONFIG, row,
        Encap("a", type="vxlan", ip="192.0.2.2"),
        Encap("b", type="geneve", ip="192.0.2.2", options={"csum": "true"}),
        Encap("c", type="geneve", ip="2001:db8::2", options={"is_default": "true"}),
        Encap("d", type="geneve", ip="not an address"),
    )  # fmt: skip
    assert peers.links == {
        "hv2@192.0.2.2": tunnels.Link("hv2@192.0.2.2", "192.0.2.1", "192.0.2.2", 6081, True),
        "hv2@2001:db8::2": tunnels.Link(
            "hv2@2001:db8::2", "2001:db8::1", "2001:db8::2", 6081, False
        ),
    }
    assert peers.link("c2", None) == "hv2@2001:db8::2"
    assert peers.link("c2", "b") == "hv2@192.0.2.2"
    assert peers.link("unknown", None) == peers.link(None, None) == ""


@pytest.mark.parametrize(
    ("columns", "kind", "ip", "why"),
    [
        ({"transport_zones": ("tz",)}, "geneve", "192.0.2.2", "transport zone"),
        ({"other_config": {"is-remote": "true"}}, "geneve", "192.0.2.2", "interconnection"),
        ({"other_config": {"is-vtep": "true"}}, "geneve", "192.0.2.2", "VTEP"),
        ({}, "vxlan", "192.0.2.2", "no encapsulation in common"),
        ({}, "stt", "192.0.2.2", "no encapsulation in common"),
        ({}, "geneve", "nonsense", "family"),
    ],
)
def test_chassis_that_are_not_reached_say_why(
    columns: dict[str, Any], kind: str, ip: str, why: str
) -> None:
    row = Chassis("c2", name="hv2", encaps=("a",), **columns)
    peers = choose(CONFIG, row, Encap("a", type=kind, ip=ip))
    assert not peers.links
    assert why in peers.skipped["hv2"]


@pytest.mark.parametrize(("interconn", "regions"), [("true", ["az2@192.0.2.2"]), ("false", [])])
def test_chassis_of_other_regions_are_reached_by_gateways_between_them(
    interconn: str, regions: list[str]
) -> None:
    me = replace(ME, other_config={"is-interconn": interconn})
    encaps = {n: Encap(n, type="geneve", ip=f"192.0.2.{n}") for n in ("1", "2", "3")}
    me = replace(me, encaps=("1",))
    rows = [
        me,
        Chassis("c2", name="az2", encaps=("2",), other_config={"is-remote": "true"}),
        Chassis("c3", name="hv3", encaps=("3",)),
    ]
    peers = tunnels.choose(me, CONFIG, rows, encaps)
    assert peers.regions == regions
    assert ("az2@192.0.2.2" in peers.links, "hv3@192.0.2.3" in peers.links) == (bool(regions), True)


# --- configuration --------------------------------------------------------------------


def test_defaults_are_ovn_controllers() -> None:
    config = read_config({"system-id": "x"})
    assert (config.bridge, config.probe_ms, config.monitor_all) == ("br-int", 5000, False)
    assert (config.encap_csum, config.encap_df, config.encap_tos) == ("true", True, 0)
    assert config.ct_zones == (1, 65535)
    assert config.hostname


def test_a_key_of_this_chassis_beats_the_general_one() -> None:
    ids = {"system-id": "x", "ovn-bridge": "a", "ovn-bridge-x": "b", "ovn-bridge-y": "c"}
    assert read_config(ids).bridge == "b"
    assert read_config(ids, "y").bridge == "c"
    assert read_config(ids, "y").chassis == "y"


@pytest.mark.parametrize(
    ("remote", "interval", "wanted"),
    [
        ("tcp:1.2.3.4:6642", None, 5000),
        ("unix:/x", None, 0),
        ("tcp:1.2.3.4:6642", "0", 0),
        ("tcp:1.2.3.4:6642", "-3", 0),
        ("tcp:1.2.3.4:6642", "10", 1000),
        ("tcp:1.2.3.4:6642", "60000", 60000),
        ("tcp:1.2.3.4:6642", "soon", 5000),
        ("unix:/x", "7000", 7000),
    ],
)
def test_probe_interval(remote: str, interval: str | None, wanted: int) -> None:
    ids = {"ovn-remote": remote}
    if interval is not None:
        ids["ovn-remote-probe-interval"] = interval
    assert read_config(ids).probe_ms == wanted


@pytest.mark.parametrize(
    ("key", "value", "attribute", "wanted"),
    [
        ("ovn-encap-tos", "inherit", "encap_tos", None),
        ("ovn-encap-tos", "0x10", "encap_tos", 16),
        ("ovn-encap-tos", "900", "encap_tos", 0),
        ("ovn-encap-df_default", "false", "encap_df", False),
        ("ovn-encap-ip", "192.0.2.1, ::1,,rubbish,192.0.2.1", "encap_ips", ("192.0.2.1", "::1")),
        ("ovn-encap-ip-default", "192.0.2.9", "encap_ip_default", None),
        ("ct-zone-range", "100-200", "ct_zones", (100, 200)),
        ("ct-zone-range", "200-100", "ct_zones", (1, 65535)),
        ("ct-zone-range", "many", "ct_zones", (1, 65535)),
        ("ovn-bpf-ct-max", "5000", "ct_max", 5000),
        ("ovn-bpf-ct-max", "many", "ct_max", 262144),
        ("ovn-bpf-ct-max", "0", "ct_max", 1024),
        ("ovn-monitor-all", "TRUE", "monitor_all", True),
        ("ovn-monitor-all", "yes", "monitor_all", False),
    ],
)
def test_values_out_of_range_take_their_default(
    key: str, value: str, attribute: str, wanted: object
) -> None:
    assert getattr(read_config({key: value}), attribute) == wanted


def test_the_override_file_is_found_in_both_places(tmp_path: Path) -> None:
    assert chassis_override(None, tmp_path) is None
    (tmp_path / "ovn").mkdir()
    (tmp_path / "ovn" / "system-id-override").write_text("below\n")
    assert chassis_override(None, tmp_path) == "below"
    (tmp_path / "system-id-override").write_text("here\nand more")
    assert chassis_override(None, tmp_path) == "here"
    assert chassis_override("option", tmp_path) == "option"
    (tmp_path / "system-id-override").write_bytes(b"\xff")
    with pytest.raises(StartupError, match="system-id-override"):
        chassis_override(None, tmp_path)


# --- the local side --------------------------------------------------------------------


def test_a_bridge_that_another_has_changed_is_put_right() -> None:
    view = LocalView(True, bridge=Bridge("b", "br-int", datapath_type="", fail_mode="standalone"))
    assert bridge.bridge_writes(view, CONFIG).bridge == {
        "fail_mode": "secure",
        "datapath_type": "system",
    }
    right = LocalView(True, bridge=Bridge("b", "br-int", "netdev", "secure"))
    assert not bridge.bridge_writes(right, CONFIG)
    assert not bridge.bridge_writes(LocalView(), CONFIG)


def test_zones_in_the_bridge_are_replaced_not_piled_up() -> None:
    ids = {"ct-zone-a": "1", "ct-zone-b": "2", "other": "x"}
    view = LocalView(True, bridge=Bridge("b", "br-int", external_ids=ids))
    wanted = {"ct-zone-b": "3", "ct-zone-c": "4"}
    assert bridge.zone_writes(view, wanted) == {
        "ct-zone-a": None,
        "ct-zone-b": "3",
        "ct-zone-c": "4",
    }


def test_nb_cfg_is_told_once_its_iteration_is_live_and_never_unsettled() -> None:
    numbers = NbCfg()
    numbers.see(5, seq=1, settled=False)
    assert numbers.live(10, 0) == 0
    numbers.see(5, seq=2, settled=True)
    numbers.see(6, seq=3, settled=True)
    assert not numbers.due(1) and numbers.live(1, 0) == 0
    assert numbers.due(2) and numbers.live(2, 0) == 5
    numbers.see(6, seq=4, settled=True)
    assert numbers.live(3, 0) == 6 and not numbers.due(9)
    numbers.see(0, seq=5, settled=True)
    assert numbers.live(5, 0) == 0


def test_nb_cfg_has_one_time_for_all_who_are_told() -> None:
    numbers = NbCfg()
    numbers.see(5, seq=1, settled=True)
    assert (numbers.live(1, wall=70), numbers.since) == (5, 70)
    assert (numbers.live(1, wall=71), numbers.since) == (5, 70)
    numbers.see(6, seq=2, settled=True)
    assert (numbers.live(2, wall=90), numbers.since) == (6, 90)


def test_keys_that_do_nothing_are_told_once() -> None:
    ids = {"ovn-limit-lflow-cache": "9", "ovn-bridge-remote-hv1": "tcp:1.2.3.4", "ovn-remote": "x"}
    assert without_effect(ids, "hv1").keys() == {"ovn-limit-lflow-cache", "ovn-bridge-remote-hv1"}
    assert without_effect(ids, "hv2").keys() == {"ovn-limit-lflow-cache"}
    assert all(without_effect({key: ""}, "") for key in REASONS)
    notice = Notice()
    told = notice.look(ids, "hv1")
    assert [text.split()[0] for text in told] == [
        "external_ids:ovn-bridge-remote-hv1",
        "external_ids:ovn-limit-lflow-cache",
    ]
    assert notice.look(ids, "hv1") == []


def test_a_port_that_only_goes_up_is_no_news_to_its_datapath() -> None:
    row = PortBinding("u", logical_port="p", chassis="me", up=False)
    assert topology._goes_up(row, replace(row, up=True))
    assert topology._goes_up(replace(row, up=None), row)
    assert not topology._goes_up(row, replace(row, up=True, chassis="other"))
    assert not topology._goes_up(None, row) and not topology._goes_up(row, None)


@pytest.mark.parametrize("gateway", [True, False])
def test_a_gateway_that_goes_up_is_looked_at_again(gateway: bool) -> None:
    """Its row says whether `up` is still to be written: an old one would be for ever."""
    row = PortBinding("u", logical_port="cr", chassis="me", up=False)
    config, no_underlay = read_config({}), cast("Underlay", None)  # take() asks for no way
    here = topology.Topology(SouthboundCache([]), no_underlay)
    here.take(Changes(), config)
    here._rows_moved = False
    here.gateways = {"cr": row} if gateway else {}
    changes = Changes()
    changes.note(PortBinding.TABLE, "u", row, replace(row, up=True))
    assert here.take(changes, config)
    assert here._rows_moved is gateway
