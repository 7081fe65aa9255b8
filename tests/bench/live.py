# SPDX-License-Identifier: Apache-2.0
"""How soon packets obey one change of a stage with 1,000 ACLs, for `make bench`.

    python -m tests.bench.live [--rounds N]

The stage is acls.py's, from Northbound to packets: a real ovn-northd wrote the
Southbound, and a real agent has it live.  Each change goes into the Southbound as
northd would write it.  It arrives when another client of the same server hears of it,
and is live when the generation in the agent's maps changes: neither is the agent's
word.  Beside that, what the agent's stopwatches say: with the time it waited for a
processor, and without.
"""

from __future__ import annotations

import random
import select
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ovn_bpf_controller.datapath.maps import ArrayMap, pinned
from ovn_bpf_controller.datapath.records import word
from ovn_bpf_controller.sandbox.status import table
from tests.bench import alone
from tests.bench.acls import ACLS, GROUP, MEMBERS, POOL, SETS, acl, address
from tests.bench.scale.client import Client, Row
from tests.bench.scale.contender import CHASSIS, OURS, Contender
from tests.bench.scale.northbound import Northbound
from tests.bench.scale.topologies import mac
from tests.support.ovsdb import OvnCentral

SECONDS = 600.0  # for northd, for the agent's start, and for each change
IDLE_SECONDS = 0.1  # between changes: what one leaves behind is not the next one's latency
LOCAL = 50  # ports of this chassis; two of them are in the group
LATE = f"p{LOCAL - 1}"  # the port that joins it

_BUMP = {"op": "mutate", "table": "SB_Global", "where": [], "mutations": [["nb_cfg", "+=", 1]]}


def contents() -> Northbound:
    """The Northbound: one switch, whose ACLs are a port group's."""
    nb, rng = Northbound(), random.Random(1)
    switch = nb.insert("Logical_Switch", name="stage")
    group = nb.insert("Port_Group", name=GROUP)
    for number in range(LOCAL):
        groups = [group] if number < 2 else []
        nb.vm(switch, f"p{number}", mac(number + 1), f"10.255.0.{number + 1}", groups)
    for number in range(SETS):
        members = [address(n) for n in rng.sample(range(POOL), MEMBERS)]
        nb.insert("Address_Set", name=f"s{number}", addresses=members)
    for number in range(ACLS):
        match, _, priority = acl(number)
        nb.acl(group, priority, match)
    return nb


class Stage:
    """The agent with the stage, and the clients that change and watch it."""

    def __init__(self, central: OvnCentral, agent: Contender, generation: ArrayMap) -> None:
        self._agent = agent
        self._control = generation
        server = str(central.sb.socket)
        self._sb = Client(server, "OVN_Southbound")
        self._arrivals = Client(server, "OVN_Southbound")
        self._arrivals.watch(SB_Global=["nb_cfg"])
        self._acks = Client(server, "OVN_Southbound")
        self._acks.watch(Chassis_Private=["name", "nb_cfg"])
        self._template = self._flows_of(acl(0)[0])

    def close(self) -> None:
        for client in (self._sb, self._arrivals, self._acks):
            client.close()

    # --- changes, as northd writes them ------------------------------------------

    def member(self, text: str) -> tuple[Row, Row]:
        """A member of the set s0 comes, and goes."""
        return _mutations("Address_Set", "s0", "addresses", text)

    def port(self) -> tuple[Row, Row]:
        """A port in the group that all ACLs name."""
        key = self._sb.select("Datapath_Binding")[0]["tunnel_key"]
        return _mutations("Port_Group", f"{key}_{GROUP}", "ports", LATE)

    def one_acl(self) -> tuple[list[Row], list[Row]]:
        """The flows of an ACL with a priority above all others."""
        old, new = acl(0), acl(ACLS)
        flows = []
        for row in self._template:
            match = row["match"].replace(old[0], new[0])
            flows.append(row | {"match": match, "priority": row["priority"] + ACLS})
        come = [{"op": "insert", "table": "Logical_Flow", "row": row} for row in flows]
        where = [[["match", "==", row["match"]]] for row in flows]
        return come, [{"op": "delete", "table": "Logical_Flow", "where": each} for each in where]

    def _flows_of(self, match: str) -> list[Row]:
        rows = [row for row in self._sb.select("Logical_Flow") if match in row["match"]]
        if not rows:
            raise RuntimeError("northd has written no flow for an ACL")
        return [{k: v for k, v in row.items() if not k.startswith("_")} for row in rows]

    # --- measures ----------------------------------------------------------------------

    def settle(self) -> None:
        """Everything so far is acknowledged, and a while has passed."""
        results = self._sb.transact(
            _BUMP, {"op": "select", "table": "SB_Global", "where": [], "columns": ["nb_cfg"]}
        )
        self._acknowledged(int(results[1]["rows"][0]["nb_cfg"]))
        time.sleep(IDLE_SECONDS)

    def _acknowledged(self, nb_cfg: int) -> None:
        def reached() -> bool:
            rows = self._acks.rows["Chassis_Private"].values()
            return any(r["name"] == CHASSIS and r["nb_cfg"] >= nb_cfg for r in rows)

        def heard() -> bool:
            return any(r["nb_cfg"] >= nb_cfg for r in self._arrivals.rows["SB_Global"].values())

        # What _arrivals has not taken in yet would be the arrival of the next change.
        if not self._acks.until(reached, SECONDS) or not self._arrivals.until(heard, SECONDS):
            raise RuntimeError(f"no answer\n{self._agent.words()[-2000:]}")

    def change(self, *operations: Row) -> float:
        """ms from a change's arrival to the generation that has it."""
        before = self._generation()
        self._sb.send(*operations, _BUMP)
        select.select([self._arrivals], [], [], SECONDS)
        arrived = time.monotonic()
        while self._generation() == before:
            if time.monotonic() > arrived + SECONDS:
                raise RuntimeError(f"never live\n{self._agent.words()[-2000:]}")
            time.sleep(0.00005)
        passed = time.monotonic() - arrived
        self._sb.results()
        self.settle()
        return passed * 1000

    def _generation(self) -> int:
        return int(self._control.words[word("struct ovn_ctl", "generation")])

    def series(self, turns: int, come: list[Row], go: list[Row]) -> dict[str, float]:
        """Both directions of a change, `turns` times each."""
        self._agent.live(reset=True)
        keys, cpu = self._keys(), self._agent.cost().cpu
        times = sorted(self.change(*each) for _ in range(turns) for each in (come, go))
        keys, cpu = self._keys() - keys, self._agent.cost().cpu - cpu
        found = {
            "keys": keys / len(times),
            "ms median": statistics.median(times),
            "ms 95 %": times[int(len(times) * 0.95)],
            "ms most": times[-1],
            "agent's CPU ms": cpu * 1000 / len(times),
        }
        return found | {f"agent says {name}": ms for name, ms in self._agent.live().items()}

    def _keys(self) -> int:
        return int(self._agent.appctl("coverage/read-counter", "map_keys_written"))


def _mutations(table: str, name: str, column: str, member: str) -> tuple[Row, Row]:
    """A member of a set-valued column of the row `name` comes, and goes."""
    one, other = (
        {
            "op": "mutate",
            "table": table,
            "where": [["name", "==", name]],
            "mutations": [[column, mutator, member]],
        }
        for mutator in ("insert", "delete")
    )
    return one, other


@contextmanager
def _stage() -> Iterator[Stage]:
    """A central that holds the contents, and an agent that has them live."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="obs-live-")))
        central = stack.enter_context(OvnCentral(directory / "central"))
        nb = Client(str(central.nb.socket), "OVN_Northbound")
        stack.callback(nb.close)
        nb.watch(NB_Global=["nb_cfg", "sb_cfg"])
        step = {**_BUMP, "table": "NB_Global"}
        nb.transact(*contents().operations(), step)
        if not nb.until(lambda: _translated(nb), SECONDS):
            raise RuntimeError("ovn-northd does not finish")
        central.northd.stop()  # it would take back what is not the Northbound's
        ports = [f"p{number}" for number in range(LOCAL)]
        (directory / "hv").mkdir()
        agent = Contender(directory / "hv", OURS, central.sb.remote, True, ports, 0)
        stack.enter_context(agent)
        agent.start()
        if not agent.local.until(lambda: all(map(agent.installed, ports)), SECONDS):
            raise RuntimeError(f"not all ports are up\n{agent.words()[-3000:]}")
        stage = Stage(central, agent, stack.enter_context(_control_of(agent.pid)))
        stack.callback(stage.close)
        stage.settle()
        yield stage


def _translated(nb: Client) -> bool:
    return any(row["sb_cfg"] >= row["nb_cfg"] > 0 for row in nb.rows["NB_Global"].values())


@contextmanager
def _control_of(pid: int) -> Iterator[ArrayMap]:
    """The control block in the maps of an agent, which has a bpffs of its own."""
    path = next(Path(f"/proc/{pid}/root/sys/fs/bpf").glob("ovn-bpf/*/*/maps/ovn_ctl"))
    control = ArrayMap("ovn_ctl", pinned(path))
    try:
        yield control
    finally:
        control.close()


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """By kind of change, as for the JSON report."""
    with _stage() as stage:
        changes: dict[str, Callable[[], tuple[Any, Any]]] = {
            "one address": lambda: stage.member("10.200.0.1"),
            "one CIDR over 5,000 members": lambda: stage.member("10.0.0.0/16"),
            "one ACL": stage.one_acl,
            "a port in all ACLs' group": stage.port,
        }
        found = {}
        for name, make in changes.items():
            come, go = (each if isinstance(each, list) else [each] for each in make())
            found[name] = stage.series(4 * rounds, come, go)
        return found


def report(found: dict[str, dict[str, float]]) -> str:
    """The figures as a table."""
    head = f"{ACLS} ACLS, {SETS} SETS OF {MEMBERS}: FROM A CHANGE'S ARRIVAL TO PACKETS"
    rows = [("", *(name.upper() for name in found))]
    for measured in next(iter(found.values())):
        rows.append((measured, *(f"{each[measured]:.2f}" for each in found.values())))
    return "\n".join([head, *table(rows)])


if __name__ == "__main__":
    alone.main(__doc__, measure, report)
