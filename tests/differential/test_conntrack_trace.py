# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-trace --ct beside ovn-trace --ct: NAT, load balancers, stateful ACLs.

A process of ovn-trace for each packet, since it takes connection states from its
command line alone.  The cases are the same in every run.
"""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from ovn_bpf_controller.datapath.trace import Given
from ovn_bpf_controller.observe import microflow, trace
from ovn_bpf_controller.observe.trace_ct import parse_backend, parse_state
from tests.differential.compare import as_ovn_controller
from tests.differential.source import Source
from tests.differential.stateful import Stateful, packet
from tests.support.ovsdb import OvnCentral
from tests.support.release import HOST, Release, newer
from tests.support.tracing import Chassis, chassis

SHARE = 6  # topologies of make check
LONG = 100
PACKETS = 40
_RESULT = re.compile(r"^ *x*reg\d(?:\[[\d.]+\])? = .*;\n", re.MULTILINE)
TRIES = 60  # of ovn-trace, which chooses among at most three backends at random


def oracle(central: OvnCentral, datapath: str, text: str, options: list[str], form: str) -> str:
    argv = [
        *central.release.command("ovn-trace"),
        f"--db={central.sb.remote}",
        form,
        *options,
        datapath,
        text,
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout


def put_right(text: str) -> str:
    """Without the answers of chk_lb_hairpin, ct_proto …, which only ovn-trace prints."""
    return re.sub(r" \{\n\s*\};", ";", _RESULT.sub("", as_ovn_controller(text)))


def ours(made: Chassis, datapath: str, text: str, given: Given, form: str) -> str:
    expr = microflow.parse(text, made.env)
    result = trace.run(made.tracer, made.world, made.sb.datapaths[datapath], expr, given)
    return result.text([form])


def compare(central: OvnCentral, made: Chassis, case: tuple[str, str, list[str], str]) -> str:
    """What became of the packet."""
    datapath, text, states, backend = case
    options = [f"--ct={state}" for state in states]
    options += [f"--lb-dst={backend}"] if backend else []
    preferred = parse_backend(backend) if backend else None
    given = Given([parse_state(state) for state in states], preferred)
    found = put_right(ours(made, datapath, text, given, "minimal"))
    wanted = put_right(oracle(central, datapath, text, options, "--minimal"))
    tries = 0
    while (
        found != wanted
        and tries < TRIES
        and "ct_lb" in ours(made, datapath, text, given, "detailed")
    ):
        wanted = put_right(oracle(central, datapath, text, options, "--minimal"))
        tries += 1
    assert found == wanted, (
        f"ovn-trace {' '.join(options)} {datapath} '{text}'\n{wanted}\nand ours:\n{found}\n"
        f"{oracle(central, datapath, text, options, '--detailed')}\n"
        f"{ours(made, datapath, text, given, 'detailed')}"
    )
    return "delivered" if "output(" in wanted else "dropped"


def run(
    config: pytest.Config,
    cases: int,
    tmp: pytest.TempPathFactory,
    release: Release = HOST,
    fresh: int | None = None,
) -> Counter[str]:
    """So many topologies; fresh: the seed, instead of the fixed cases."""
    seen: Counter[str] = Counter()

    def test(data: st.DataObject) -> None:
        source = Source(data.draw)
        topology = Stateful(source)
        with OvnCentral(tmp.mktemp("central"), release=release) as central:
            for argv in topology.transactions():
                central.nbctl(*argv)
            central.sync()
            with chassis(central.sb) as made:
                for _ in range(PACKETS):
                    seen[compare(central, made, packet(topology, source))] += 1

    phases = tuple(Phase) if config.getoption("--shrink") else (Phase.generate,)
    test = settings(
        deadline=None,
        database=None,
        max_examples=cases,
        derandomize=fresh is None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )(given(st.data())(test))
    (test if fresh is None else seed(fresh)(test))()
    return seen


@pytest.mark.timeout(600)
def test_same_lines_as_ovn_trace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seen = run(request.config, SHARE, tmp_path_factory)
    print(dict(seen))
    assert seen["delivered"] > 30 and seen["dropped"] > 10, "the packets show too little"
    end = time.monotonic() + request.config.getoption("--seconds")
    while time.monotonic() < end:
        fresh = random.SystemRandom().randrange(1 << 32)
        seen = run(request.config, 5, tmp_path_factory, fresh=fresh)
        print(f"--seconds: seed {fresh}: {dict(seen)}", flush=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_same_lines_as_ovn_trace_over_100_topologies(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seen = run(request.config, LONG, tmp_path_factory)
    print(dict(seen))
    assert seen["delivered"] > 500 < seen["dropped"]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_same_lines_as_the_newest_ovn_trace(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Another northd's flows, read by its own ovn-trace."""
    seen = run(request.config, LONG // 2, tmp_path_factory, newer())
    print(dict(seen))
    assert seen["delivered"] > 100 < seen["dropped"]
