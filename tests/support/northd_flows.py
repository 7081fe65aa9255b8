# SPDX-License-Identifier: Apache-2.0
"""python -m tests.support.northd_flows [NUMBER] > tools/northd_flows.txt

Collects a flow of each shape that a real ovn-northd writes: for the networks of the
bench and for random ones of the differential tests.  tools/known_shapes.py learns them
when the package is built; run this anew when the tests' networks learn new features.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ovn_bpf_controller.compile import flow as flow_module
from ovn_bpf_controller.compile.action_templates import ActionTemplates
from ovn_bpf_controller.compile.flow import LogicalFlow
from ovn_bpf_controller.compile.lists import Traits
from ovn_bpf_controller.compile.names import STATEFUL
from tests.bench.scale import databases
from tests.differential.stateful import Stateful
from tests.differential.test_chassis import Dice
from tests.differential.topologies import Topology
from tests.support import southbound
from tests.support.ovsdb import OvnCentral, OvsdbServer
from tests.support.release import HOST
from tools.known_shapes import Learner, Line, write

NETWORKS = ("S", "M", "LC")
RANDOM = 8  # networks of each kind


def flows(server: OvsdbServer) -> Iterator[Line]:
    """Every flow, for each kind of datapath that it is on."""
    found = southbound.read(server)
    for uuid, each in found.compiler._flows.items():
        row = found.compiler.flow(uuid)
        assert row is not None
        kinds = {found.compiler._env.traits(dp) for dp in each.compiled}
        yield from (line(row, kind) for kind in sorted(kinds))


def line(row: LogicalFlow, kind: Traits) -> Line:
    """What of a flow matters."""
    stateful = STATEFUL.search(row.actions)
    kind = kind if stateful else Traits()
    return row.pipeline, row.table, kind, row.match, row.actions


def every_network(number: int) -> Iterator[Line]:
    """The flows of all the networks."""
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as directory:
            server = OvsdbServer(Path(directory))
            shutil.copy(databases.get(name).southbound, server.database)
            with server:
                yield from flows(server)
    for seed in range(number):
        yield from _of_network([Topology(Dice(seed), HOST).argv()])
        yield from _of_network(Stateful(Dice(seed)).transactions())


def _of_network(transactions: Sequence[Sequence[str]]) -> Iterator[Line]:
    with (
        tempfile.TemporaryDirectory() as directory,
        OvnCentral(Path(directory), release=HOST) as central,
    ):
        for argv in transactions:
            central.nbctl(*argv)
        central.sync()
        yield from flows(central.sb)


def main() -> None:
    """The command line."""
    flow_module._MATCHES, flow_module._ACTIONS = flow_module.matches(), ActionTemplates()  # type: ignore[misc]
    learner = Learner()
    print("# SPDX-License-Identifier: Apache-2.0")
    print("# A flow of each shape, as ovn-northd writes them: see tools/known_shapes.py.")
    known = 0
    for each in every_network(int(sys.argv[1]) if len(sys.argv) > 1 else RANDOM):
        learner.learn(each)
        if learner.size > known:
            known = learner.size
            print(write(each), flush=True)


if __name__ == "__main__":
    main()
