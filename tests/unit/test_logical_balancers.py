# SPDX-License-Identifier: Apache-2.0
"""Southbound rows to the compiler: load balancers, kinds of datapaths, the central."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.compiler import Traits
from ovn_bpf_controller.compile.insns import decode
from ovn_bpf_controller.compile.load_balancer import Central
from ovn_bpf_controller.logical import central_of, datapath_traits
from ovn_bpf_controller.ovsdb.tables import (
    ChassisTemplateVar,
    DatapathBinding,
    LoadBalancer,
    LogicalDpGroup,
    LogicalFlow,
    SBGlobal,
)
from tests.support.rows import Rows

HAIRPINS = {
    lib.OVN_TABLE_LB_HAIRPIN,
    lib.OVN_TABLE_LB_HAIRPIN_REPLY,
    lib.OVN_TABLE_SNAT_HAIRPIN,
}
VIPS = {"30.0.0.1:80": "10.0.0.1:80,10.0.0.2:80"}


class Sb(Rows):
    """With load balancers."""

    def hairpins(self) -> dict[int, int]:
        """How many rules for hairpins each datapath has."""
        found: dict[int, int] = {}
        for rule in self.flows.compiler.rules():
            if rule.table in HAIRPINS and rule.prio:
                found[rule.dp] = found.get(rule.dp, 0) + 1
        return found


@pytest.fixture
def sb() -> Sb:
    """Switches 1 and 2 and router 3; all but switch 2 are local."""
    made = Sb()
    for key, kind in ((1, "switch"), (2, "switch"), (3, "router")):
        ids = {f"logical-{kind}": "x"}
        made.put(DatapathBinding(uuid=f"dp{key}", tunnel_key=key, external_ids=ids))
    made.local("dp1", "dp3")
    return made


def balancer(**more: Any) -> LoadBalancer:
    return LoadBalancer(uuid="lb", vips=VIPS, protocol="tcp", **more)


def test_a_balancer_has_rules_on_its_local_switches(sb: Sb) -> None:
    sb.put(balancer(datapaths=("dp1", "dp2", "dp3")))
    sb.run()
    assert sb.hairpins() == {1: 5}
    sb.local("dp1", "dp2")
    sb.run()
    assert sb.hairpins() == {1: 5, 2: 5}
    sb.local("dp2")
    sb.run()
    assert sb.hairpins() == {2: 5}
    sb.drop(LoadBalancer, "lb")
    sb.run()
    assert sb.hairpins() == {}


@pytest.mark.parametrize("column", ["datapath_group", "ls_datapath_group"])
def test_a_group_of_datapaths_is_followed(sb: Sb, column: str) -> None:
    sb.put(LogicalDpGroup(uuid="group", datapaths=("dp2",)))
    sb.put(balancer(**{column: "group"}))
    sb.run()
    assert sb.hairpins() == {}
    sb.put(LogicalDpGroup(uuid="group", datapaths=("dp1", "dp2")))
    sb.run()
    assert sb.hairpins() == {1: 5}
    sb.put(balancer())
    sb.run()
    assert sb.hairpins() == {}


def test_a_changed_balancer_touches_its_own_rules_alone(sb: Sb) -> None:
    for n in range(20):
        vips = {f"30.0.1.{n}:80": "10.0.0.1:80"}
        sb.put(LoadBalancer(uuid=f"other{n}", vips=vips, datapaths=("dp1",)))
    sb.put(balancer(datapaths=("dp1",)))
    sb.run()
    sb.put(LoadBalancer(uuid="lb", vips={"30.0.0.1:80": "10.0.0.2:80"}, datapaths=("dp1",)))
    made = sb.run()
    assert not made.added
    assert len(made.removed) == 2


def test_a_bad_vip_costs_itself_only(sb: Sb) -> None:
    sb.put(LoadBalancer(uuid="lb", vips=VIPS | {"x": "y"}, datapaths=("dp1",)))
    sb.run()
    assert sb.hairpins() == {1: 5}


def test_variables_of_this_chassis_are_put_in(sb: Sb) -> None:
    sb.put(LoadBalancer(uuid="lb", vips={"^vip:80": "10.0.0.1:80"}, datapaths=("dp1",)))
    sb.run()
    assert sb.hairpins() == {}
    sb.put(ChassisTemplateVar(uuid="t", chassis="hv", variables={"vip": "30.0.0.9"}))
    sb.run()
    assert sb.hairpins() == {1: 3}


def test_what_the_central_says_of_itself_is_followed(sb: Sb) -> None:
    sb.put(balancer(datapaths=("dp1",), options={"hairpin_orig_tuple": "true"}))
    sb.run()

    def word() -> int:
        (rule,) = [
            r for r in sb.flows.compiler.rules() if r.table == lib.OVN_TABLE_SNAT_HAIRPIN and r.prio
        ]
        return next(w for w, m in rule.mask if m == 0xFFFFFFFF)

    assert word() == lib.OW_REG0 + 1
    sb.put(SBGlobal(uuid="g", options={"register_consolidation": "true"}))
    sb.run()
    assert word() == lib.OW_REG0 + 4


def test_a_flow_follows_the_release_of_the_central(sb: Sb) -> None:
    sb.put(SBGlobal(uuid="g", options={"northd_internal_version": "23.03.1-20.27.0-70.6"}))
    sb.put(
        LogicalFlow(
            uuid="f",
            logical_datapath="dp1",
            pipeline="ingress",
            table_id=3,
            priority=7,
            match="igmp",
            actions="next;",
        )
    )
    sb.run()

    def masks() -> list[bool]:
        """Whether it looks at the link-layer address."""
        rules = [rule for rule in sb.flows.compiler.rules() if rule.table == 3]
        return [any(word == lib.OW_ETH_DST for word, _ in rule.mask) for rule in rules]

    assert masks() == [False]
    sb.put(SBGlobal(uuid="g", options={"northd_internal_version": "24.09.0-20.37.0-81.7"}))
    sb.run()
    assert masks() == [True]


def test_a_flow_follows_the_kind_of_its_datapath(sb: Sb) -> None:
    sb.put(LogicalDpGroup(uuid="all", datapaths=("dp1", "dp3")))
    flow = LogicalFlow(
        uuid="f",
        logical_dp_group="all",
        pipeline="ingress",
        table_id=3,
        priority=7,
        match="ip",
        actions="ct_next;",
    )
    sb.put(flow)
    sb.run()

    def zones() -> dict[int, int]:
        rules = [r for r in sb.flows.compiler.rules() if r.table == 3]
        return {rule.dp: decode(rule.insns)[0].src for rule in rules}

    assert zones() == {1: lib.OW_CT_ZONE, 3: lib.OW_DNAT_ZONE}
    sb.put(DatapathBinding(uuid="dp1", tunnel_key=1, type="logical-router"))
    sb.run()
    assert zones() == {1: lib.OW_DNAT_ZONE, 3: lib.OW_DNAT_ZONE}


@pytest.mark.parametrize(
    ("row", "traits"),
    [
        (DatapathBinding("dp", external_ids={"logical-switch": "x"}), Traits()),
        (DatapathBinding("dp", external_ids={"logical-router": "x"}), Traits(router=True)),
        (DatapathBinding("dp", type="logical-switch"), Traits()),
        (DatapathBinding("dp", type="logical-router"), Traits(router=True)),
        (
            DatapathBinding("dp", external_ids={"logical-router": "x", "snat-ct-zone": "7"}),
            Traits(router=True, common_snat=True),
        ),
    ],
)
def test_kinds_of_datapaths(row: DatapathBinding, traits: Traits) -> None:
    assert datapath_traits(row, False) == traits
    assert datapath_traits(row, True) == traits._replace(consolidated=True)


@pytest.mark.parametrize(
    ("options", "central"),
    [
        ({}, Central()),
        ({"northd_internal_version": "23.03.1-20.27.0-70.6"}, Central(groups_alone=False)),
        ({"lb_hairpin_use_ct_mark": "false"}, Central(ct_mark=False)),
        ({"register_consolidation": "true"}, Central(consolidated=True)),
        ({"northd_internal_version": "25.03.0-x", "register_consolidation": "true"}, Central(True)),
        ({"northd_internal_version": "26.03.1-x"}, Central(True)),
        ({"northd_internal_version": "nonsense"}, Central()),
    ],
)
def test_releases_of_the_central(options: dict[str, str], central: Central) -> None:
    sb = Sb()
    assert central_of(cast(Any, sb.flows._cache)) == Central()
    sb.put(SBGlobal(uuid="g", options=options))
    assert central_of(cast(Any, sb.flows._cache)) == central
