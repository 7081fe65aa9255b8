# SPDX-License-Identifier: Apache-2.0
"""A stage of 1,000 ACLs over 20 sets of 10,000 addresses costs the sum of its parts.

The stage is tests/bench/acls.py's, which measures how long all this takes; here it is
entries that are counted, which no load of the machine changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.datapath.loader import SIZES
from tests.bench.acls import ACLS, POOL, PORTS, Stage
from tests.support.dataplane import bed

pytestmark = pytest.mark.long

VIFS = 3


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with bed(SIZES) as made:
        yield Stage(made)


def test_entries_grow_with_the_sum(stage: Stage) -> None:
    size = stage.size()
    assert size["rules"] == ACLS * PORTS + 1
    assert POOL / 2 < size["members"] <= POOL + VIFS
    assert size["masks"] == 2  # the ACLs' and the default's
    used = stage.bed.tables.use()
    assert sum(n for name, (n, _) in used.items() if name.startswith("ovn_rules")) < 60_000
    assert size["members"] <= used["ovn_sets"][0] <= size["members"] + 16


@pytest.mark.parametrize("text", ["10.200.0.1", "10.0.0.0/16"])
def test_a_member_is_one_entry(stage: Stage, text: str) -> None:
    assert stage.change(1, stage.member(text, True), stage.member(text, False)).entries == 1


def test_an_acl_is_an_entry_for_each_of_its_ports(stage: Stage) -> None:
    assert stage.change(1, stage.one_acl(True), stage.one_acl(False)).entries == PORTS


def test_a_port_that_joins_the_group_is_one_entry(stage: Stage) -> None:
    assert stage.change(1, stage.port(True), stage.port(False)).entries == 1
