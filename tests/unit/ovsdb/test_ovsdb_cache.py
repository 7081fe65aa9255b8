# SPDX-License-Identifier: Apache-2.0
"""SouthboundCache beside a real ovsdb-server and ovn-northd that stay up."""

from __future__ import annotations

import gc
import json
import random
from pathlib import Path

import pytest

from ovn_bpf_controller.ovsdb import framing
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.conditions import Clause
from ovn_bpf_controller.ovsdb.tables import (
    SOUTHBOUND,
    AddressSet,
    Chassis,
    DatapathBinding,
    LogicalFlow,
    MACBinding,
    PortBinding,
    PortGroup,
    SBGlobal,
)
from ovn_bpf_controller.ovsdb.transact import Transaction
from tests.support.ovsdb import OvnCentral, OvsdbServer
from tests.support.pump import pump, pump_changes
from tests.support.sb_truth import MakeCache, assert_same, sbctl, synced


def test_initial_contents_are_the_servers(tmp_path: Path, make_cache: MakeCache) -> None:
    with OvnCentral(tmp_path) as central:
        central.nbctl("ls-add", "sw0", "--", "lsp-add", "sw0", "p1", "--", "lr-add", "lr0")
        central.nbctl("lsp-set-addresses", "p1", "00:00:00:00:00:01 10.0.0.1 10.0.0.2")
        central.nbctl("lsp-set-port-security", "p1", "00:00:00:00:00:01 10.0.0.1", "0:0:0:0:0:2")
        central.nbctl("lb-add", "lb0", "10.0.0.9:80", "10.0.0.1:80,10.0.0.2:80")
        central.nbctl("ls-lb-add", "sw0", "lb0")
        central.sync()
        cache = make_cache(central.sb.remote)
        assert not cache.connected and cache.row_count == 0 and cache.status == "not connected"
        changes = pump_changes(cache, lambda: cache.synced)
        assert_same(cache, central.sb)
        assert cache.status == "connected" and cache.has_ever_connected
        assert cache.schema_version == cache.schema.version if cache.schema else False
        assert cache.row_count == sum(len(cache.table(table)) for table in SOUTHBOUND) > 50
        for table in SOUTHBOUND:
            assert changes.of(table) == {
                uuid: (None, row) for uuid, row in cache.table(table).items()
            }
        (port,) = cache.table(PortBinding).values()
        assert port.port_security == ("00:00:00:00:00:01 10.0.0.1", "0:0:0:0:0:2")
        assert cache.table(DatapathBinding)[port.datapath].external_ids["name"] == "sw0"


def test_changes_are_told_with_the_row_before_and_after(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    sbctl(sb, "create", "Address_Set", "name=as1", 'addresses="10.0.0.1"')
    changes = pump_changes(cache, lambda: cache.table(AddressSet))
    ((uuid, (old, new)),) = changes.of(AddressSet).items()
    assert old is None and new == AddressSet(uuid, name="as1", addresses=("10.0.0.1",))

    sbctl(sb, "add", "Address_Set", "as1", "addresses", '"10.0.0.2"', '"10.0.0.0/24"')
    changes = pump_changes(cache, lambda: cache.table(AddressSet)[uuid] != new)
    assert changes.of(AddressSet)[uuid][0] is new
    assert cache.table(AddressSet)[uuid].addresses == ("10.0.0.0/24", "10.0.0.1", "10.0.0.2")

    sbctl(sb, "remove", "Address_Set", "as1", "addresses", '"10.0.0.1"')
    pump(cache, lambda: len(cache.table(AddressSet)[uuid].addresses) == 2)
    last = cache.table(AddressSet)[uuid]
    sbctl(sb, "destroy", "Address_Set", "as1")
    changes = pump_changes(cache, lambda: not cache.table(AddressSet))
    assert changes == {"Address_Set": {uuid: (last, None)}}
    assert cache.run() == {}


def test_maps_are_followed(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    (uuid,) = cache.table(SBGlobal)

    def becomes(**options: str) -> None:
        pump(cache, lambda: cache.table(SBGlobal)[uuid].options == options)

    sbctl(sb, "set", "SB_Global", ".", "options:a=1", "options:b=2")
    becomes(a="1", b="2")
    sbctl(sb, "set", "SB_Global", ".", "options:a=3")
    becomes(a="3", b="2")
    sbctl(sb, "remove", "SB_Global", ".", "options", "b")
    becomes(a="3")
    sbctl(sb, "clear", "SB_Global", ".", "options")
    becomes()


def test_changes_that_cancel_out_between_two_runs_are_not_told(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    sbctl(sb, "set", "SB_Global", ".", "ipsec=true")
    sbctl(sb, "create", "Address_Set", "name=as1")
    sbctl(sb, "set", "SB_Global", ".", "ipsec=false")
    sbctl(sb, "destroy", "Address_Set", "as1")
    sbctl(sb, "create", "Address_Set", "name=as2")
    # All of it is in the socket by now: ovn-sbctl has waited for the server each time.
    changes = pump_changes(cache, lambda: cache.table(AddressSet))
    assert set(changes) == {"Address_Set"} and len(changes["Address_Set"]) == 1


def test_random_operations_leave_the_cache_equal_to_the_server(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    cache = synced(make_cache(sb.remote))
    rng = random.Random(20161107)

    def some(what: str, most: int) -> str:
        return ",".join(f'"{what}{rng.randrange(9)}"' for _ in range(rng.randrange(most)))

    for step in range(120):
        name = f"n{rng.randrange(6)}"
        operations = [
            {"op": "delete", "table": "Port_Group", "where": [["name", "==", name]]},
            {
                "op": "insert",
                "table": "Port_Group",
                "row": {"name": name, "ports": ["set", json.loads(f"[{some('p', 5)}]")]},
            },
            {
                "op": "mutate",
                "table": "Port_Group",
                "where": [],
                "mutations": [["ports", rng.choice(["insert", "delete"]), f"p{rng.randrange(9)}"]],
            },
            {
                "op": "mutate",
                "table": "SB_Global",
                "where": [],
                "mutations": [
                    ["options", "delete", ["set", [f"k{rng.randrange(4)}"]]],
                    ["options", "insert", ["map", [[f"k{rng.randrange(4)}", str(step)]]]],
                ],
            },
        ]
        sb.client(*map(json.dumps, rng.sample(operations, rng.randrange(1, 5))))
        if step % 3 == 0:
            cache.run()
    sbctl(sb, "set", "SB_Global", ".", "nb_cfg=777")
    pump(cache, lambda: next(iter(cache.table(SBGlobal).values())).nb_cfg == 777)
    assert_same(cache, sb)
    assert cache.table(PortGroup) and cache.bad_rows == 0


def binding(sb: OvsdbServer, name: str, key: int) -> None:
    """A Port_Binding on a datapath of its own."""
    sbctl(
        sb, "--id=@d", "create", "Datapath_Binding", f"tunnel_key={key}",
        "--", "create", "Port_Binding", f"logical_port={name}", "datapath=@d",
        f"tunnel_key={key}", "type=patch" if key % 2 else 'type=""', f"options:n={key}",
    )  # fmt: skip


def names(cache: SouthboundCache) -> set[str]:
    """The logical ports that the cache knows."""
    return {row.logical_port for row in cache.table(PortBinding).values()}


def test_conditions_before_and_during_a_connection(sb: OvsdbServer, make_cache: MakeCache) -> None:
    for key in range(1, 7):
        binding(sb, f"p{key}", key)
    cache = make_cache(sb.remote)
    cache.set_conditions({PortBinding: [Clause("type", "==", "patch")], DatapathBinding: False})
    assert not cache.conditions_settled
    synced(cache)
    assert names(cache) == {"p1", "p3", "p5"} and not cache.table(DatapathBinding)

    cache.set_conditions({PortBinding: [Clause("logical_port", "==", "p2")]})
    assert not cache.conditions_settled
    changes = pump_changes(cache, lambda: cache.conditions_settled)
    assert names(cache) == {"p2"} and len(cache.table(DatapathBinding)) == 6
    assert len(changes.of(PortBinding)) == 4 and len(changes.of(DatapathBinding)) == 6

    datapath = next(iter(cache.table(PortBinding).values())).datapath
    clauses = [Clause("datapath", "==", datapath), Clause("options", "includes", {"n": "4"})]
    cache.set_conditions({PortBinding: clauses})
    pump(cache, lambda: cache.conditions_settled)
    assert names(cache) == {"p2", "p4"}

    cache.set_conditions({PortBinding: list(reversed(clauses))})
    assert cache.conditions_settled, "the same wish in another order asks for nothing"
    cache.set_conditions({})
    pump(cache, lambda: cache.conditions_settled)
    assert_same(cache, sb)


def test_every_clause_of_census_3_1_is_accepted(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    uuid = next(iter(cache.table(SBGlobal)))
    cache.set_conditions(
        {
            PortBinding: [
                Clause("type", "==", "chassisredirect"),
                Clause("chassis", "==", uuid),
                Clause("requested_chassis", "==", uuid),
                Clause("additional_chassis", "includes", (uuid,)),
                Clause("parent_port", "!=", None),
                Clause("options", "includes", {"l3gateway-chassis": "hv1"}),
                Clause("datapath", "==", uuid),
            ],
            LogicalFlow: [
                Clause("logical_datapath", "==", uuid),
                Clause("logical_dp_group", "!=", None),
            ],
            MACBinding: [Clause("datapath", "==", uuid)],
            Chassis: [Clause("_uuid", "==", uuid)],
        }
    )
    pump(cache, lambda: cache.conditions_settled)
    assert cache.connected and cache.synced


def test_conditions_changed_many_times_settle_on_the_last(
    sb: OvsdbServer, make_cache: MakeCache
) -> None:
    for key in range(1, 7):
        binding(sb, f"p{key}", key)
    cache = synced(make_cache(sb.remote))
    for key in range(1, 7):
        cache.set_conditions({PortBinding: [Clause("logical_port", "==", f"p{key}")]})
        cache.run()
    pump(cache, lambda: cache.conditions_settled)
    assert names(cache) == {"p6"}


def test_flows_of_northd_come_and_go(tmp_path: Path, make_cache: MakeCache) -> None:
    with OvnCentral(tmp_path) as central:
        central.nbctl("--wait=sb", "ls-add", "sw0")
        cache = synced(make_cache(central.sb.remote))
        before = len(cache.table(LogicalFlow))
        for i in range(5):
            central.nbctl("lsp-add", "sw0", f"p{i}")
            central.nbctl("lsp-set-addresses", f"p{i}", f"00:00:00:00:00:0{i + 1} 10.0.0.{i + 1}")
        central.nbctl("--wait=sb", "acl-add", "sw0", "from-lport", "100", "ip4", "drop")
        pump(cache, lambda: any("10.0.0.5" in f.match for f in cache.table(LogicalFlow).values()))
        pump(cache, lambda: len(cache.table(PortBinding)) == 5)
        central.nbctl("--wait=sb", "ls-del", "sw0")
        pump(cache, lambda: not cache.table(LogicalFlow))
        assert before > 0
        assert_same(cache, central.sb)


def test_malformed_remotes_are_left_out(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache("", "sb.sock", "tcp:1.2.3.4:99999", sb.remote))
    cache.set_remotes(["garbage"])
    pump(cache, lambda: not cache.connected)
    cache.set_remotes(["garbage", sb.remote])
    pump(cache, lambda: cache.synced)


def test_many_rows_at_once(sb: OvsdbServer, make_cache: MakeCache) -> None:
    follower = synced(make_cache(sb.remote))
    inserts = Transaction()
    for number in range(3000):
        inserts.insert(AddressSet, name=f"as{number}")
    pending = follower.transact(inserts)
    pump(follower, lambda: pending.done)
    assert pending.ok and len(follower.table(AddressSet)) == 3000
    assert_same(follower, sb)
    assert_same(synced(make_cache(sb.remote)), sb)
    assert gc.isenabled(), "the collector is only held off while rows are taken in"


def test_everything_works_without_orjson(
    sb: OvsdbServer, make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(framing, "_orjson", False)
    cache = synced(make_cache(sb.remote))
    transaction = Transaction("Zeichen: äöü")
    transaction.insert(AddressSet, name="ä\u2028ö", addresses=["10.0.0.1"])
    pending = cache.transact(transaction)
    pump(cache, lambda: pending.done)
    assert pending.ok
    assert_same(cache, sb)


def test_closed_cache_stays_closed(sb: OvsdbServer, make_cache: MakeCache) -> None:
    cache = synced(make_cache(sb.remote))
    cache.close()
    assert cache.run() == {} and not cache.connected and not cache.synced
    assert cache.table(SBGlobal), "rows stay readable"
