# SPDX-License-Identifier: Apache-2.0
"""Who waits at a terminal sees what for: the daemon in the foreground, and ovn-bpf-ctl."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.support.daemon import Bed
from tests.support.ovsdb import wait_until
from tests.support.terminal import Terminal

ERASED = "\x1b[K\r"


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.close()


def test_the_daemon_in_the_foreground_tells_that_it_loads(
    bed: Bed, terminals: list[Terminal]
) -> None:
    (bed.dir / "loading").touch()
    terminal = Terminal(bed.fake("-vconsole:off", "--pidfile"), bed.env)
    terminals.append(terminal)
    wait_until(lambda: "\x1b[KLoading\r" in terminal.shown(), "the word on the terminal")
    assert ERASED not in terminal.shown()
    (bed.dir / "loading").unlink()
    wait_until(lambda: terminal.shown().endswith(ERASED), "an empty line")


def test_ovn_bpf_ctl_tells_how_far_the_agent_is(bed: Bed, terminals: list[Terminal]) -> None:
    """The answer comes when progress has been asked for twice."""
    bed.up()
    command = [sys.executable, "-m", "ovn_bpf_controller.cli.ctl", "check"]
    terminal = Terminal(command, bed.env)
    terminals.append(terminal)
    out, _ = terminal.process.communicate(timeout=60)
    assert out == "0 differences\n"
    assert terminal.shown().endswith(ERASED)
    assert "\x1b[Kcomparing\r" in terminal.shown()


def test_nothing_is_shown_where_there_is_no_terminal(bed: Bed) -> None:
    bed.up()
    done = bed.run(sys.executable, "-m", "ovn_bpf_controller.cli.ctl", "flows")
    assert (done.stdout, done.stderr) == ("[]\n", "")
