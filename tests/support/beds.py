# SPDX-License-Identifier: Apache-2.0
"""The `bed` fixture: a module's topology, once for each kind of chassis.

A test module names its TOPOLOGY with `$agent` where a chassis is described.  Every
kind must pass: ours alone, ours beside a real ovs-vswitchd, and the real
ovn-controller, which keeps the tests honest.  A module narrows the kinds by KINDS.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from string import Template

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from ovn_bpf_controller.sandbox.topology import parse

AGENTS = {
    "alone": "{agent: ovn-bpf-controller}",
    "beside": "{agent: ovn-bpf-controller, vswitchd: true}",
    "oracle": "{agent: ovn-controller}",
}
OURS = ("alone", "beside")
_LOG_LINES = 40


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrise whatever uses `kind` over the module's KINDS."""
    if "kind" in metafunc.fixturenames:
        kinds = getattr(metafunc.module, "KINDS", tuple(AGENTS))
        metafunc.parametrize("kind", kinds, scope="module")


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest, kind: str) -> Iterator[Sandbox]:
    """A running sandbox with the module's TOPOLOGY, shared by its tests."""
    text = Template(request.module.TOPOLOGY).substitute(agent=AGENTS[kind])
    with Sandbox(parse(text)) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def logs_on_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the end of every agent's log beside a failure."""
    yield
    report = request.node.stash.get(_REPORT, None)
    sandbox = request.node.funcargs.get("bed")
    if report is None or not report.failed or sandbox is None:
        return
    for chassis in sandbox.chassis.values():
        report.sections.append((f"{chassis.name} log", tail(chassis)))


_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the report for logs_on_failure."""
    report = yield
    if call.when == "call":
        item.stash[_REPORT] = report
    return report


def tail(chassis: Chassis) -> str:
    """The last lines of the agent's log and output."""
    lines = []
    for name in ("ovn-controller.log", "ovn-bpf-controller.out"):
        file = chassis.root / name
        if file.exists():
            lines += file.read_text().splitlines()[-_LOG_LINES:]
    return "\n".join(lines)
