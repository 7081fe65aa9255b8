# SPDX-License-Identifier: Apache-2.0
"""What routers answer while the agent is dead, on the deployment of test_routing.

Not for ovn-controller, which makes ICMP errors and NAs itself.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.netns import test_routing as routing
from tests.netns.test_routing import routed
from tests.support.beds import OURS

__all__ = ["routed"]  # the fixture that makes the routes

KINDS = OURS
TOPOLOGY = routing.TOPOLOGY


@pytest.fixture(autouse=True)
def dead(bed: Sandbox) -> Iterator[None]:
    chassis = bed.chassis["hv1"]
    chassis.stop_agent(signal.SIGKILL)
    yield
    chassis.start_agent()
    bed.sync()


def test_arp_and_nd_for_router_addresses(bed: Sandbox) -> None:
    routing.test_arp_and_nd_find_the_router(bed)


@pytest.mark.parametrize("version", [4, 6])
def test_router_addresses(bed: Sandbox, version: int) -> None:
    routing.test_router_addresses_answer_wherever_the_asker_is(bed, version)


def test_every_hop(bed: Sandbox) -> None:
    routing.test_every_hop_answers_traceroute(bed, "vm1", "vm3", ())
