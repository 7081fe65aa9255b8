# SPDX-License-Identifier: Apache-2.0
"""What every source says of itself: its licence, what it is, and of a map what it is for."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "ovn_bpf_controller"
APACHE = "SPDX-License-Identifier: Apache-2.0"
KERNEL = "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause"
MAP_NAME = 15  # BPF_OBJ_NAME_LEN of uapi/linux/bpf.h, less its 0
# A map, and the line above it; the second of two of one kind shares the first one's.
MAP = re.compile(r"^(OVN_SLOTS|OVN_INDEX)\((\w+), |^\} (\w+) SEC\(\"\.maps\"\);")


def sources(*patterns: str) -> list[Path]:
    """What the repository has of such names; generated files are not in it."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in found if path.exists()]


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def in_program(path: Path) -> bool:
    """Whether it is compiled into the BPF program, or may be."""
    return path.name.endswith(".bpf.c") or path.is_relative_to(ROOT / "csrc/bpf")


def licence(path: Path) -> str:
    shared = path.is_relative_to(ROOT / "include")
    return KERNEL if shared or in_program(path) else APACHE


def test_every_source_begins_with_its_licence() -> None:
    """In the first line, or the second behind `#!`."""
    paths = sources("*.py", "*.pyi", "*.c", "*.h", "*.sh", "Makefile", ".ci/run")
    assert len(paths) > 600
    lacking = [p for p in paths if licence(p) not in "\n".join(p.read_text().split("\n", 2)[:2])]
    assert named(lacking) == []


def purpose(path: Path) -> int:
    """Lines of a module's docstring that are not empty."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return sum(1 for line in text.splitlines() if line)


def test_every_module_says_what_it_is() -> None:
    assert named([path for path in sources("*.py") if not purpose(path)]) == []


def test_a_module_of_the_package_says_so_in_a_few_lines() -> None:
    """What it is, who calls it, why it is so: two to six lines, eight where it must be."""
    modules = [path for path in sources("ovn_bpf_controller/*.py") if path.name != "__init__.py"]
    assert len(modules) > 200
    assert named([path for path in modules if not 2 <= purpose(path) <= 8]) == []


@pytest.fixture(scope="module")
def maps() -> dict[str, str]:
    """The line above each map's definition, by the map's name."""
    found = {}
    for path in sources("csrc/*.h", "csrc/*.c"):
        begins, lines = 0, path.read_text().splitlines()
        for number, line in enumerate(lines):
            if line == "struct {":
                begins = number
            if match := MAP.match(line):
                kind, name, own = match.groups()
                found[name or own] = lines[(number if kind else begins) - 1]
    return found


def test_a_name_of_a_map_is_not_cut_by_the_kernel(maps: dict[str, str]) -> None:
    assert len(maps) > 50
    assert [name for name in maps if len(name) > MAP_NAME] == []


def test_every_map_says_in_a_line_what_it_is_for(maps: dict[str, str]) -> None:
    lacking = [
        name
        for name, above in maps.items()
        if not (above.startswith("/* ") and above.endswith(" */") or MAP.match(above))
    ]
    assert lacking == []
