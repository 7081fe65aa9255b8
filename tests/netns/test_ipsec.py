# SPDX-License-Identifier: Apache-2.0
"""ipsec=true where the program itself writes tunnel headers: nothing leaves in clear text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS
from tests.support.complaints import complaints

KINDS = OURS[:1]
ANNOUNCED = ("ipsec=true needs a tunnel device",)
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
  vm3: {switch: sw0, chassis: hv1}
"""


@pytest.fixture(autouse=True)
def inline(bed: Sandbox) -> Iterator[None]:
    for chassis in bed.chassis.values():
        chassis.vsctl("set", "open", ".", "external_ids:ovn-bpf-tunnel=inline")
    bed.sync()
    yield
    bed.nbctl("--wait=hv", "set", "nb_global", ".", "ipsec=false")


def told(bed: Sandbox, chassis: str) -> list[str]:
    return [line for line in bed.chassis[chassis].log().splitlines() if ANNOUNCED[0] in line]


def test_tunnels_are_refused_and_that_is_said_once(bed: Sandbox) -> None:
    assert traffic.answers(bed, "vm1", "vm2")
    for times in (1, 2):
        bed.nbctl("--wait=hv", "set", "nb_global", ".", "ipsec=true")
        for name in bed.chassis:
            process.wait_until(lambda: len(told(bed, name)) == times, 60, "the complaint")  # noqa: B023
        bed.sync()
        assert traffic.silent(bed, "vm1", "vm2")
        assert traffic.answers(bed, "vm1", "vm3")
        for number in range(3):
            bed.nbctl("--wait=hv", "set", "nb_global", ".", f"options:round={number}")
        assert {len(told(bed, name)) for name in bed.chassis} == {times}
        bed.nbctl("--wait=hv", "set", "nb_global", ".", "ipsec=false")
        assert traffic.answers(bed, "vm1", "vm2")
    # This is what every module with a bed is asked at its end.
    assert len(complaints(bed, ())) == 2 * len(bed.chassis)
    assert complaints(bed, ANNOUNCED) == []
