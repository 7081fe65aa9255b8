# SPDX-License-Identifier: Apache-2.0
"""An sdist holds all that a wheel is built from, a wheel all that the agent needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ovn_bpf_controller._native import lib

REPO = Path(__file__).parents[2]


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        cwd=cwd,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        timeout=200,
    ).stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from an sdist of the tracked files, with nothing of this tree's builds."""
    top = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPO, check=True, text=True, stdout=subprocess.PIPE
    ).stdout
    for name in filter(None, tracked.split("\0")):
        if (REPO / name).is_file():
            copy = top / "tree" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, copy)
    run("setup.py", "-q", "sdist", "-d", str(top), cwd=top / "tree")
    [sdist] = top.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(top / "unpacked", filter="data")
    [source] = (top / "unpacked").iterdir()
    options = ["--no-build-isolation", "--no-deps", "--no-index", "-w", str(top)]
    run("-m", "pip", "wheel", "-q", *options, ".", cwd=source)
    [made] = top.glob("*.whl")
    return made


@pytest.mark.timeout(300)
def test_a_wheel_brings_the_extension_the_program_and_the_bindings(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for end in (
        "bpf/ovn.o",
        "datapath/_libbpf.py",
        "compile/shapes.bin",
        "py.typed",
        "_native.pyi",
    ):
        assert f"ovn_bpf_controller/{end}" in names
    assert [n for n in names if n.startswith("ovn_bpf_controller/_native.") and n.endswith(".so")]
    assert not [n for n in names if n.startswith(("tests/", "tools/", "build.py"))]


@pytest.mark.timeout(300)
def test_the_wheel_works_where_nothing_was_compiled(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = (
        "import ovn_bpf_controller as package\n"
        "from ovn_bpf_controller._native import lib\n"
        "from ovn_bpf_controller.compile.known import known\n"
        "from ovn_bpf_controller.datapath.libbpf import BpfObject\n"
        "from ovn_bpf_controller.datapath.loader import OBJECT\n"
        "print(package.__file__, lib.OVN_LAYOUT_VERSION, len(BpfObject(OBJECT).programs) > 0)\n"
        "print(len(known().matches) > 0)\n"
    )
    said = run("-c", program, cwd=tmp_path).split()
    assert said == [
        str(tmp_path / "ovn_bpf_controller" / "__init__.py"),
        str(lib.OVN_LAYOUT_VERSION),
        "True",
        "True",
    ]
