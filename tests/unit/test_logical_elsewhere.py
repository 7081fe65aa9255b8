# SPDX-License-Identifier: Apache-2.0
"""Flows about one port are compiled where that port is, and come and go with it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.compile.flow_ids import FlowIds
from ovn_bpf_controller.logical import LogicalFlows
from ovn_bpf_controller.model import Rule
from ovn_bpf_controller.ovsdb.tables import LogicalDpGroup, LogicalFlow
from tests.support.rows import Rows

PORTS = {"p1": 1, "p2": 2, "p3": 3}


def about(uuid: str, lport: str, **more: Any) -> LogicalFlow:
    columns = {"logical_datapath": "dp1", "tags": {"in_out_port": lport}} | more
    match = f'inport == "{lport}" && tcp.dst == {ord(uuid[-1])}'
    return LogicalFlow(uuid=uuid, pipeline="ingress", table_id=5, priority=9, match=match,
                       actions="next;", **columns)  # fmt: skip


def uuids(flows: LogicalFlows) -> set[tuple[str, int]]:
    """Flows that have rules, and where."""
    ids = flows.compiler.flow_ids
    return {(ids.uuid(r.flow) or "", r.dp) for r in flows.compiler.rules() if r.flow}


def told(ids: FlowIds, rule: Rule) -> tuple[Any, ...]:
    return rule.dp, rule.table, rule.prio, rule.mask, rule.values, rule.insns, ids.uuid(rule.flow)


def test_a_flow_about_a_port_is_there_when_the_port_is() -> None:
    sb = Rows()
    sb.put(about("f1", "p1"))
    sb.put(about("f2", "p2"))
    sb.put(about("f3", "p1", tags={}))
    sb.local("dp1", ports=PORTS, elsewhere={"p1"})
    sb.run()
    assert uuids(sb.flows) == {("f2", 1), ("f3", 1)}
    sb.local("dp1", ports=PORTS, elsewhere={"p2"})
    changes = sb.run()
    assert uuids(sb.flows) == {("f1", 1), ("f3", 1)}
    assert (len(changes.added), len(changes.removed)) == (2, 2)  # IPv4 and IPv6 of each
    sb.local("dp1", ports=PORTS)
    sb.run()
    assert uuids(sb.flows) == {("f1", 1), ("f2", 1), ("f3", 1)}


def test_a_port_that_is_elsewhere_on_one_datapath_says_nothing_of_others() -> None:
    sb = Rows()
    sb.put(LogicalDpGroup(uuid="g", datapaths=("dp1", "dp2")))
    sb.put(about("f", "p1", logical_datapath=None, logical_dp_group="g"))
    sb.local("dp1", "dp2", ports=PORTS, elsewhere={"p1"})
    sb.run()
    assert not uuids(sb.flows)
    one, two = (sb.desired.datapaths[u] for u in ("dp1", "dp2"))
    sb.local("dp1", "dp2", ports=PORTS)
    sb.desired.datapaths["dp1"] = one  # type: ignore[index]
    sb.run()
    assert uuids(sb.flows) == {("f", 2)}
    assert two.elsewhere == {"p1"}


CHANGES = st.one_of(
    st.tuples(st.just("flow"), st.sampled_from("abcd"), st.sampled_from([*PORTS, None, "p9"]),
              st.sampled_from(["dp1", "dp2", "g", None])),
    st.tuples(st.just("no_flow"), st.sampled_from("abcd")),
    st.tuples(st.just("group"), st.sets(st.sampled_from(["dp1", "dp2", "dp3"]))),
    st.tuples(st.just("local"), st.sets(st.sampled_from(["dp1", "dp2"])),
              st.sets(st.sampled_from([*PORTS, "p9"]))),
    st.tuples(st.just("run")),
)  # fmt: skip


class State(Rows):
    def do_flow(self, uuid: str, lport: str | None, where: str | None) -> None:
        group = where if where == "g" else None
        self.put(
            about(
                uuid,
                lport or "p1",
                logical_datapath=None if group else where,
                logical_dp_group=group,
                tags={"in_out_port": lport} if lport else {},
            )
        )

    def do_no_flow(self, uuid: str) -> None:
        if uuid in self.tables.get(LogicalFlow, {}):
            self.drop(LogicalFlow, uuid)

    def do_group(self, datapaths: set[str]) -> None:
        self.put(LogicalDpGroup(uuid="g", datapaths=tuple(sorted(datapaths))))

    def do_local(self, uuids: set[str], elsewhere: set[str]) -> None:
        self.local(*sorted(uuids), ports=PORTS, elsewhere=elsewhere)

    def do_run(self) -> None:
        self.run()


@settings(max_examples=300, deadline=None)
@given(st.lists(CHANGES, max_size=25))
def test_any_sequence_of_changes_equals_a_compile_from_scratch(ops: list[tuple[Any, ...]]) -> None:
    state = State()
    for op in ops:
        getattr(state, f"do_{op[0]}")(*op[1:])
    state.run()
    fresh = state.from_scratch()
    found, wanted = (
        {told(f.compiler.flow_ids, r) for r in f.compiler.rules()} for f in (state.flows, fresh)
    )
    assert found == wanted
    assert state.flows.compiler.flow_count == fresh.compiler.flow_count
    assert state.flows._flows_about == fresh._flows_about
    assert state.flows._flows_of == fresh._flows_of
