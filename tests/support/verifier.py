# SPDX-License-Identifier: Apache-2.0
"""How many instructions each kernel's verifier goes through to load our object.

The limit is a million; a program creeps towards it unseen until one kernel says
no.  tests/vm/verifier-budget.json keeps the counts, tests compare, and
`python -m tests.vm.budget` renews them.  `python -m tests.support.verifier
OBJECT` prints them for the kernel that runs, as JSON: a guest does that.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath import _libbpf as bpf

ROOT = Path(__file__).resolve().parents[2]
OBJECT = ROOT / "ovn_bpf_controller/bpf/ovn.o"
BUDGET = ROOT / "tests/vm/verifier-budget.json"

# Compilers differ from one point release to the next by a few per cent.
TOLERANCE = 0.10

Counts = dict[str, int]


def counts(obj: Path = OBJECT) -> Counts:
    """Instructions verified, by program.  RuntimeError with the verifier's log
    when the kernel refuses one."""
    lib.ovn_log_take(ffi.new("char[]", 1), 1)
    bpf.libbpf_set_print(int(ffi.cast("uintptr_t", lib.ovn_log_printer())))
    handle = bpf.bpf_object__open_file(str(obj).encode(), None)
    if not handle:
        raise RuntimeError(f"{obj} does not open: {_log()}")
    try:
        if bpf.bpf_object__load(handle):
            raise RuntimeError(f"{obj} does not load: {_log()}")
        return dict(_programs(handle))
    finally:
        bpf.bpf_object__close(handle)


def _programs(handle: bpf.bpf_object) -> list[tuple[str, int]]:
    found = []
    program = bpf.bpf_object__next_program(handle, bpf.bpf_program(None))
    while program:
        info: Any = ffi.new("struct ovn_prog_info *")
        result = lib.ovn_prog_info(bpf.bpf_program__fd(program), info)
        assert result == 0, result
        found.append(((bpf.bpf_program__name(program) or b"").decode(), info.verified_insns))
        program = bpf.bpf_object__next_program(handle, program)
    return found


def _log() -> str:
    text: Any = ffi.new("char[]", 1 << 20)
    lib.ovn_log_take(text, len(text))
    told: Any = ffi.string(text)
    return str(told.decode(errors="replace"))


def budget() -> dict[str, Counts]:
    """The checked-in counts: kernel series -> program -> instructions."""
    kept: dict[str, Counts] = json.loads(BUDGET.read_text())
    return kept


def _number(series: str) -> tuple[int, ...]:
    return tuple(int(part) for part in series.split("."))


def series_of(release: str) -> str:
    """The series of the budget that a kernel release is measured by: its own, or
    else the newest one before it."""
    own = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    known = sorted(budget(), key=_number)
    return max((s for s in known if _number(s) <= own), key=_number, default=known[0])


def over(series: str, found: Counts) -> list[str]:
    """What exceeds the budget of a series, and programs that it does not know."""
    kept = budget()[series]
    told = [f"{name}: not in the budget" for name in found.keys() ^ kept.keys()]
    for name in found.keys() & kept.keys():
        if found[name] > kept[name] * (1 + TOLERANCE):
            told.append(f"{name}: {found[name]} instructions on {series}, budget {kept[name]}")
    return sorted(told)


def under(series: str, found: Counts) -> list[str]:
    """What is so far below its budget that the budget should be renewed."""
    kept = budget()[series]
    return [
        f"{name}: {found[name]} instructions on {series}, budget {kept[name]}: lower it"
        for name in sorted(found.keys() & kept.keys())
        if found[name] < kept[name] * (1 - TOLERANCE)
    ]


if __name__ == "__main__":
    print(json.dumps(counts(Path(sys.argv[1]))))
