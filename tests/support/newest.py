# SPDX-License-Identifier: Apache-2.0
"""A sandbox whose central programs are the newest release's, the chassis ours.

What newer northds write, older oracles do not know: such tests run with ours alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox import bed as sandbox_bed
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support.release import NEWER, newer

PROGRAMS = ("ovn-northd", "ovn-nbctl", "ovn-sbctl")


@contextmanager
def sandbox(topology: str, programs: Path, suite: str = NEWER) -> Iterator[Sandbox]:
    """programs: a directory for what runs the release's programs in its own root.
    suite: of Debian, whose release it is."""
    release = newer(suite)
    for name in PROGRAMS:
        command = " ".join(release.command(name))
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    schemas = {name: str(release.schema(f"ovn-{name}")) for name in ("nb", "sb")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        patch.setattr(sandbox_bed, "_SCHEMAS", schemas)
        with Sandbox(parse(topology)) as made:
            yield made
