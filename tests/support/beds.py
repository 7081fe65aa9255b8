# SPDX-License-Identifier: Apache-2.0
"""The `bed` fixture: a module's topology, once for each kind of chassis.

A test module names its TOPOLOGY with `$agent` where a chassis is described.  Every
kind must pass: ours alone, ours beside a real ovs-vswitchd, and the real
ovn-controller, which keeps the tests honest.  A module narrows the kinds by KINDS.
One that says which complaints are ANNOUNCED fails if our agents' logs have others.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import topologies
from tests.support.complaints import complaints

AGENTS = {
    "alone": "{agent: ovn-bpf-controller}",
    "beside": "{agent: ovn-bpf-controller, vswitchd: true}",
    "oracle": "{agent: ovn-controller}",
}
OURS = ("alone", "beside")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise whatever uses `kind` over the module's KINDS."""
    if "kind" in metafunc.fixturenames:
        kinds = getattr(metafunc.module, "KINDS", tuple(AGENTS))
        metafunc.parametrize("kind", kinds, scope="module")


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest, kind: str) -> Iterator[Sandbox]:
    """A running sandbox with the module's TOPOLOGY, shared by its tests."""
    text = topologies.filled(request.module.TOPOLOGY, agent=AGENTS[kind])
    with Sandbox(parse(text)) as sandbox:
        yield sandbox
        announced = getattr(request.module, "ANNOUNCED", None)
        assert announced is None or complaints(sandbox, announced) == []
