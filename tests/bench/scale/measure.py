# SPDX-License-Identifier: Apache-2.0
"""One agent on one Southbound: cold start, then one change at a time.

There is no ovn-northd: the changes go into the Southbound as northd would write
them, together with a step of SB_Global.nb_cfg, and count as carried out when the
chassis writes that number to Chassis_Private.  So a latency is the agent's alone.
"""

from __future__ import annotations

import re
import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench.scale.client import Client, Row
from tests.bench.scale.contender import CHASSIS, Contender
from tests.support.ovsdb import OvsdbServer

COLD_SECONDS = 300.0
CHANGE_SECONDS = 60.0
IDLE_SECONDS = 0.1  # between changes: what one leaves behind is not the next one's latency
_BUMP = {"op": "mutate", "table": "SB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]}


class Bench:
    """A Southbound and an agent on it."""

    def __init__(self, server: OvsdbServer, contender: Contender) -> None:
        self._contender = contender
        self._sb = Client(str(server.socket), "OVN_Southbound")
        self._watch = Client(str(server.socket), "OVN_Southbound")
        self._watch.watch(Chassis_Private=["name", "nb_cfg"])

    def close(self) -> None:
        self._sb.close()
        self._watch.close()

    # --- acknowledgement ---------------------------------------------------------

    def _bump(self, *operations: Row) -> tuple[float, int]:
        """Carries the operations out; when, and the nb_cfg that they came with."""
        read = {"op": "select", "table": "SB_Global", "where": [], "columns": ["nb_cfg"]}
        now = time.monotonic()
        results = self._sb.transact(*operations, _BUMP, read)
        return now, int(results[-1]["rows"][0]["nb_cfg"])

    def _reached(self, nb_cfg: int) -> bool:
        rows = self._watch.rows["Chassis_Private"].values()
        return any(r["name"] == CHASSIS and r["nb_cfg"] >= nb_cfg for r in rows)

    def change(self, *operations: Row) -> float:
        """Seconds from a change to its acknowledgement.  RuntimeError if none comes."""
        time.sleep(IDLE_SECONDS)
        started, number = self._bump(*operations)
        if not self._watch.until(lambda: self._reached(number), CHANGE_SECONDS):
            raise RuntimeError(f"no answer\n{self._contender.words()[-2000:]}")
        return time.monotonic() - started

    # --- measures ----------------------------------------------------------------

    def cold(self, local: list[str]) -> dict[str, float]:
        """A start with nothing: cpu s, peak MB, first_port, all_ports and nb_cfg in s."""
        contender = self._contender
        started, number = self._bump()
        contender.start()
        at: dict[str, float] = {}

        def note(name: str, reached: bool) -> None:
            if reached:
                at.setdefault(name, time.monotonic() - started)

        deadline = started + COLD_SECONDS
        while len(at) < 3:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {at}\n{contender.words()[-3000:]}")
            contender.check()
            contender.local.poll(0.02)
            self._watch.poll(0)
            up = [contender.installed(lport) for lport in local]
            note("first_port", any(up))
            note("all_ports", all(up))
            note("nb_cfg", self._reached(number))
        self.change()
        cost = contender.cost()
        return {"cpu": cost.cpu, "peak": cost.peak, **at}

    def series(self, make: Callable[[int], list[Row]], count: int) -> dict[str, float]:
        """Median and worst of `count` changes, ms, and CPU of one, ms."""
        self._contender.live(reset=True)
        before = self._contender.cost().cpu
        times = [self.change(*make(i)) * 1000 for i in range(count)]
        cpu = (self._contender.cost().cpu - before) * 1000 / count
        found = {"median": statistics.median(times), "worst": max(times), "cpu": cpu}
        return found | self._contender.live()

    def binds(self, lports: list[str]) -> dict[str, float]:
        """From an interface's arrival to ovn-installed."""
        before = self._contender.cost().cpu
        times = []
        for lport in lports:
            time.sleep(IDLE_SECONDS)
            started = self._contender.plug(lport)
            up = partial(self._contender.installed, lport)
            if not self._contender.local.until(up, CHANGE_SECONDS):
                raise RuntimeError(f"{lport} is not up\n{self._contender.words()[-2000:]}")
            times.append((time.monotonic() - started) * 1000)
        cpu = (self._contender.cost().cpu - before) * 1000 / len(lports)
        return {"median": statistics.median(times), "worst": max(times), "cpu": cpu}

    def changes(self, spare: list[str], count: int) -> dict[str, dict[str, float]]:
        """Every kind of change, `count` times each."""
        acl = self._an_acl()
        name = re.search(r"\$(\w+)", acl["match"])
        found = {"no-op": self.series(lambda _: [], count)}
        found["ACL"] = self.series(lambda i: [_insert("Logical_Flow", _other_acl(acl, i))], count)
        if name is not None:
            found["address set"] = self.series(lambda i: [_member(name[1], i)], count)
        found["port bind"] = self.binds(spare[:count])
        return found

    def _an_acl(self) -> Row:
        """An ACL flow over an address set, where ch0 has ports if possible."""
        flows = [r for r in self._sb.select("Logical_Flow") if "$" in r["match"]]
        mine = [r for r in flows if re.search(r"\$(asLocal|asS|pg_sg_0_ip4)\b", r["match"])]
        return (mine or flows)[0]


def _insert(table: str, row: Row) -> Row:
    return {"op": "insert", "table": table, "row": row}


def _other_acl(row: Row, number: int) -> Row:
    match = f"({row['match']}) && tcp.src == {1000 + number}"
    kept = {k: v for k, v in row.items() if not k.startswith("_")}
    return kept | {"match": match}


def _member(name: str, number: int) -> Row:
    return {
        "op": "mutate",
        "table": "Address_Set",
        "where": [["name", "==", name]],
        "mutations": [["addresses", "insert", f"198.51.100.{number + 1}"]],
    }


def run(
    database: Path,
    directory: Path,
    agent: str,
    monitor_all: bool,
    ports: list[str],
    plugged: int,
    repeats: int,
) -> dict[str, Any]:
    """A fresh copy of the Southbound, one agent, all measures."""
    directory.mkdir(parents=True)
    server = OvsdbServer(directory)
    shutil.copy(database, server.database)
    local, spare = ports[:plugged], ports[plugged:]
    with (
        server,
        Contender(directory, agent, server.remote, monitor_all, local, repeats) as contender,
    ):
        bench = Bench(server, contender)
        try:
            cold = bench.cold(local)
            return {"cold": cold, "changes": bench.changes(spare, repeats) if repeats else {}}
        finally:
            bench.close()
