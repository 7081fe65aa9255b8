# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-trace beside ovn-trace: the same lines over the same Southbound.

Networks and packets are drawn by Hypothesis (topologies.py, with what is excluded and
why), a real ovn-northd, the real program on real maps.  The cases are the same in
every run; --seconds N draws fresh ones for so long and prints their seeds.
"""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.differential.compare import Network, network
from tests.differential.packets import packet
from tests.differential.source import Draw, Source
from tests.differential.topologies import Topology
from tests.support.release import HOST, Release, newer

SHARE = 8  # topologies of make check
LONG = 200
PACKETS = 100

# A packet is a dozen choices, a topology hundreds: Hypothesis finds that a lot.  It
# takes minutes to make a failure smaller, so it has to be asked to: --shrink.
CASES = settings(
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def compare(draw: Draw, seen: Counter[str], release: Release) -> None:
    """One topology and its packets."""
    source = Source(draw)
    made = Topology(source, release)
    with network(made.argv(), made.learnt, release, settings=made.settings) as both:
        # A group without ports on a datapath is none there: OVN leaves such flows out, too.
        problems = both.ours.sb.compiler.unsupported()
        serious = [u for u in problems if "port group does not exist" not in u.what]
        assert not serious, serious
        for _ in range(PACKETS):
            seen[_one(both, *packet(made, source))] += 1


def _one(both: Network, datapath: str, text: str) -> str:
    """Compares a packet; returns what became of it."""
    wanted = both.wanted(datapath, text)
    difference = both.differs(datapath, text)
    assert not difference, difference
    return "delivered" if "output(" in wanted else "dropped"


def run(
    config: pytest.Config, cases: int, *, fresh: int | None = None, release: Release = HOST
) -> Counter[str]:
    """So many topologies; fresh: the seed, instead of the fixed cases."""
    seen: Counter[str] = Counter()

    def test(data: st.DataObject) -> None:
        compare(data.draw, seen, release)

    test = given(st.data())(test)
    phases = tuple(Phase) if config.getoption("--shrink") else (Phase.generate,)
    test = settings(CASES, max_examples=cases, derandomize=fresh is None, phases=phases)(test)
    (test if fresh is None else seed(fresh)(test))()
    return seen


def go_on(config: pytest.Config, release: Release = HOST) -> None:
    """With fresh seeds, for --seconds."""
    end = time.monotonic() + config.getoption("--seconds")
    while time.monotonic() < end:
        fresh = random.SystemRandom().randrange(1 << 32)
        seen = run(config, 10, fresh=fresh, release=release)
        print(f"--seconds: seed {fresh}: {dict(seen)}", flush=True)


@pytest.mark.timeout(600)
def test_same_lines_as_ovn_trace(request: pytest.FixtureRequest) -> None:
    seen = run(request.config, SHARE)
    print(dict(seen))
    assert seen["delivered"] > 100 < seen["dropped"], "the packets show too little"
    go_on(request.config)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_same_lines_as_ovn_trace_over_200_topologies(request: pytest.FixtureRequest) -> None:
    seen = run(request.config, LONG)
    print(dict(seen))
    assert seen["delivered"] + seen["dropped"] > 15_000


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_same_lines_as_the_newest_ovn_trace(request: pytest.FixtureRequest) -> None:
    """Another northd's flows, read by its own ovn-trace."""
    release = newer()
    assert tuple(map(int, release.version().split(".")[:2])) >= (26, 3)
    seen = run(request.config, LONG // 4, release=release)
    print(release.version(), dict(seen))
    assert seen["delivered"] > 500 < seen["dropped"]
    go_on(request.config, release)
