# SPDX-License-Identifier: Apache-2.0
"""A benchmark that is ended leaves nothing behind, and its program compiles."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import build

REPO = Path(__file__).parents[3]
MEASURE = """
import signal, sys, tempfile
from pathlib import Path
from tests.bench import alone
from tests.support.ovsdb import LocalServer

def measure(rounds):
    with tempfile.TemporaryDirectory() as directory, LocalServer(Path(directory)) as server:
        print(server.pid, directory, flush=True)
        while True:
            signal.pause()

alone.main("", measure, str)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_what_a_measure_has_started(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MEASURE], cwd=REPO, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, directory = process.stdout.readline().split()
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert not Path(directory).exists()
    assert not Path(f"/proc/{pid}").exists()


def test_the_pieces_of_the_program_compile(tmp_path: Path) -> None:
    """Beside the headers of the data plane, which change."""
    build.clang(REPO / "tests/bench/parts.bpf.c", tmp_path / "parts.o")
