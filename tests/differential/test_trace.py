# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-trace beside ovn-trace: the same lines over the same Southbound.

Random networks (topologies.py, with what is excluded and why), a real ovn-northd, the
real program on real maps.  --seconds N goes on with other seeds for so long.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.differential.topologies import AGENT_MADE, Topology
from tests.support.ovntrace import OvnTrace
from tests.support.ovsdb import OvnCentral
from tests.support.tracing import chassis

SHARE = range(6)  # seeds of make check
LONG = range(1000, 1200)
PACKETS = 100


def compare(seed: int, packets: int) -> Counter[str]:
    """One topology; what became of its packets."""
    seen: Counter[str] = Counter()
    made = Topology(random.Random(seed))
    with tempfile.TemporaryDirectory() as name, OvnCentral(Path(name)) as central:
        central.nbctl(*made.argv())
        central.sync()
        with OvnTrace(Path(name), central) as oracle, chassis(central.sb) as ours:
            # A group without ports on a datapath is none there: OVN leaves such flows out, too.
            problems = ours.sb.compiler.unsupported()
            invalid = [u for u in problems if u.problem.value == "invalid"]
            wrong = [u for u in invalid if "port group does not exist" not in u.what]
            assert not wrong
            while seen["delivered"] + seen["dropped"] < packets:
                datapath, text = made.packet()
                wanted = oracle.minimal(datapath, text)
                if AGENT_MADE.search(wanted):
                    seen["answered by the agent"] += 1
                    continue
                found = ours.minimal(datapath, text)
                assert found == wanted, (
                    f"seed {seed}: ovn-trace {datapath} '{text}'\n"
                    f"{ours.trace(datapath, text).text(['detailed'])}"
                )
                seen["delivered" if "output(" in wanted else "dropped"] += 1
    return seen


@pytest.mark.parametrize("seed", SHARE)
def test_same_lines_as_ovn_trace(seed: int) -> None:
    seen = compare(seed, PACKETS)
    assert seen["delivered"] and seen["dropped"], "the packets show too little"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_same_lines_as_ovn_trace_over_200_topologies(request: pytest.FixtureRequest) -> None:
    seconds = request.config.getoption("--seconds", default=0)
    seen: Counter[str] = Counter()
    if seconds:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            seen += compare(random.SystemRandom().randrange(1 << 32), PACKETS)
    else:
        for seed in LONG:
            seen += compare(seed, PACKETS)
    print(dict(seen))
    assert seen["delivered"] > seen["answered by the agent"]
