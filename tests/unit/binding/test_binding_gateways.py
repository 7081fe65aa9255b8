# SPDX-License-Identifier: Apache-2.0
"""Gateway ports: who has them, what becomes local, what is written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ovn_bpf_controller.binding import gateways, local
from ovn_bpf_controller.binding.config import read_config
from ovn_bpf_controller.binding.gateways import GatewayWrites
from ovn_bpf_controller.binding.if_status import CLAIM_INTERVAL_MS
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.topology import Topology
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import Chassis, HAChassis, HAChassisGroup, PortBinding, Row

ME = Chassis("me", name="hv1")
GROUPS = local.HAGroups(
    {
        "mine": HAChassisGroup("mine", ha_chassis=("a", "b")),
        "theirs": HAChassisGroup("theirs", ha_chassis=("b", "c")),
        "standby": HAChassisGroup("standby", ha_chassis=("d", "c")),
        "empty": HAChassisGroup("empty"),
        "gone": HAChassisGroup("gone", ha_chassis=("nobody", "e")),
    },
    {
        "a": HAChassis("a", chassis="me", priority=20),
        "b": HAChassis("b", chassis="c2", priority=10),
        "c": HAChassis("c", chassis="c3", priority=5),
        "d": HAChassis("d", chassis="me", priority=1),
        "e": HAChassis("e", chassis=None, priority=9),
    },
)


def row(name: str, kind: str, **columns: Any) -> PortBinding:
    return PortBinding(f"u-{name}", logical_port=name, type=kind, datapath=f"d-{name}", **columns)


def redirect(name: str, group: str | None, **columns: Any) -> PortBinding:
    return row(name, "chassisredirect", ha_chassis_group=group, **columns)


def l3gateway(name: str, chassis: str, **columns: Any) -> PortBinding:
    return row(name, "l3gateway", options={"l3gateway-chassis": chassis}, **columns)


def index(*rows: PortBinding) -> PortIndex:
    ports = PortIndex()
    ports.apply({r.uuid: (None, r) for r in rows})
    return ports


def test_the_highest_priority_has_the_port_and_members_have_the_datapath() -> None:
    ports = index(
        redirect("cr-mine", "mine"), redirect("cr-theirs", "theirs"), redirect("cr-by", "standby"),
        redirect("cr-empty", "empty"), redirect("cr-gone", "gone"), redirect("cr-none", None),
    )  # fmt: skip
    assert set(gateways.here(ME, ports, GROUPS)) == {"cr-mine"}
    assert gateways.seeds(ME, gateways.here(ME, ports, GROUPS).values(), ports, GROUPS) == {
        "d-cr-mine",
        "d-cr-by",
    }


def test_an_l3gateway_is_where_its_option_says() -> None:
    ports = index(l3gateway("gw", "hv1"), l3gateway("far", "hv2"), row("nowhere", "l3gateway"))
    assert set(gateways.here(ME, ports, GROUPS)) == {"gw"}
    assert gateways.seeds(ME, gateways.here(ME, ports, GROUPS).values(), ports, GROUPS) == {"d-gw"}


def test_equal_priorities_have_one_winner_wherever_it_is_asked() -> None:
    groups = local.HAGroups(
        {"g": HAChassisGroup("g", ha_chassis=("x", "y"))},
        {
            "x": HAChassis("x", chassis="z", priority=1),
            "y": HAChassis("y", chassis="k", priority=1),
        },
    )
    assert groups.elected("g") == "k"


def wishes(port: PortBinding, wanted: bool) -> list[tuple[bool | None, bool | None]]:
    here = {port.logical_port: port} if wanted else {}
    bound = [port] if port.chassis == "me" else []
    return [(w.chassis, w.up) for w in gateways.writes("me", here, bound, ())]


@pytest.mark.parametrize(
    ("chassis", "up", "wanted", "expected"),
    [
        (None, False, True, [(True, True)]),
        ("c2", True, True, [(True, True)]),
        (None, None, True, [(True, None)]),  # a schema without `up`
        ("me", True, True, []),
        ("me", False, True, [(None, True)]),
        ("me", True, False, [(False, False)]),
        ("c2", True, False, []),
    ],
)
def test_what_is_written(
    chassis: str | None, up: bool | None, wanted: bool, expected: list[tuple[bool, bool]]
) -> None:
    assert wishes(redirect("cr", "mine", chassis=chassis, up=up), wanted) == expected


def test_a_port_that_another_took_is_not_snatched_back_at_once() -> None:
    port = redirect("cr", "mine", chassis="c2", up=True)
    writer = GatewayWrites()
    found, wake = writer.run("me", {"cr": port}, [], 1000)
    assert [w.chassis for w in found] == [True] and wake is None
    writer.sent("cr", 1000)
    assert writer.run("me", {"cr": port}, [], 1001) == ([], 1000 + CLAIM_INTERVAL_MS)
    found, wake = writer.run("me", {"cr": port}, [], 1000 + CLAIM_INTERVAL_MS)
    assert [w.chassis for w in found] == [True] and wake is None


def test_a_group_that_changes_is_looked_at_again() -> None:
    """What is remembered of a group does not outlive its rows."""
    members = {"m1": HAChassis("m1", chassis="c1", priority=1)}
    rows: dict[type[Row], dict[str, Any]] = {
        HAChassisGroup: {"g": HAChassisGroup("g", ha_chassis=("m1", "m2"))},
        HAChassis: members,
    }
    topology = Topology(
        cast(Any, SimpleNamespace(table=lambda kind: rows.get(kind, {}))), cast(Any, None)
    )
    assert topology._ha.elected("g") == "c1"
    changes = Changes()
    members["m2"] = HAChassis("m2", chassis="c2", priority=2)
    changes.note(HAChassis.TABLE, "m2", None, members["m2"])
    topology.take(changes, read_config({}, ""))
    assert topology._ha.elected("g") == "c2"
    assert topology._ha.contains("g", "c1") and not topology._ha.contains("g", "c3")
