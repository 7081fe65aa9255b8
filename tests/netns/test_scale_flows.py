# SPDX-License-Identifier: Apache-2.0
"""Every flow of the large Southbounds of make bench is compiled and carried out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.bench.scale import databases, measure
from tests.bench.scale.contender import OURS, Contender
from tests.support.ovsdb import OvsdbServer

pytestmark = pytest.mark.long

PLUGGED = 50


@pytest.mark.parametrize("name", ["S", "M", "L"])
def test_no_flow_is_left_out(name: str, tmp_path: Path) -> None:
    deployment = databases.get(name)
    server = OvsdbServer(tmp_path)
    shutil.copy(deployment.southbound, server.database)
    local = deployment.local[:PLUGGED]
    with server, Contender(tmp_path, OURS, server.remote, True, local, 0) as contender:
        bench = measure.Bench(server, contender)
        try:
            bench.cold(local)
            left_out = json.loads(contender.appctl("ovn-bpf/unsupported", "--json"))
            status = contender.appctl("ovn-bpf/status")
        finally:
            bench.close()
    assert not left_out
    rules = re.search(r"map ovn_rules_s: +(\d+) of", status)
    assert rules is not None and int(rules[1]) > 20 * PLUGGED
