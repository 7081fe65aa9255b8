# SPDX-License-Identifier: Apache-2.0
"""The three languages agree: cffi, the BPF object's BTF, and the reasons' texts."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

import build
from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.loader import OBJECT, SIZES
from ovn_bpf_controller.datapath.reasons import REASONS
from ovn_bpf_controller.datapath.records import record

HEADERS = "".join(path.read_text() for path in sorted(build.SHARED.glob("*.h")))
STRUCTS = re.findall(r"^struct (\w+) \{", HEADERS, re.M)
ENUMS = re.findall(r"^enum (\w+) \{", HEADERS, re.M)


@pytest.fixture(scope="module")
def btf() -> list[dict[str, Any]]:
    command = ["bpftool", "-j", "btf", "dump", "file", str(OBJECT)]
    types = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["types"]
    assert [t["id"] for t in types] == list(range(1, len(types) + 1))
    return [{}, *types]


def test_headers_were_read() -> None:
    assert {"ovn_rule_l", "ovn_port", "ovn_tunnel"} <= set(STRUCTS)
    assert {"ovn_drop", "ovn_op", "ovn_word"} <= set(ENUMS)


@pytest.mark.parametrize("name", STRUCTS)
def test_python_and_the_program_see_one_layout(btf: list[dict[str, Any]], name: str) -> None:
    found = [t for t in btf if t.get("kind") == "STRUCT" and t["name"] == name]
    ours = ffi.typeof(f"struct {name}")
    if not found:
        pytest.fail(f"struct {name} is in no map and no function of the object")
    for theirs in found:
        assert theirs["size"] == ffi.sizeof(ours)
        assert [(m["name"], m["bits_offset"] // 8) for m in theirs["members"]] == [
            (field, info.offset) for field, info in ours.fields
        ]


@pytest.mark.parametrize("name", STRUCTS)
def test_packing_writes_every_field_where_c_reads_it(name: str) -> None:
    packer = record(f"struct {name}")
    assert packer.size == ffi.sizeof(f"struct {name}")
    data = bytes(i % 251 + 1 for i in range(packer.size))
    assert leaves(ffi.from_buffer(f"struct {name} *", data)[0]) == list(packer.unpack(data))


def leaves(value: Any) -> list[Any]:
    """Scalars of a C value in order; an array of bytes is one."""
    if isinstance(value, int):
        return [value]
    kind = ffi.typeof(value)
    if kind.kind == "struct":
        return [leaf for name, _ in kind.fields for leaf in leaves(getattr(value, name))]
    if ffi.sizeof(kind.item) == 1:
        return [bytes(ffi.buffer(value))]
    return [leaf for item in value for leaf in leaves(item)]


@pytest.mark.parametrize("name", ENUMS)
def test_enums_have_one_value_everywhere(btf: list[dict[str, Any]], name: str) -> None:
    ours = {text: number for number, text in ffi.typeof(f"enum {name}").elements.items()}
    for theirs in [t for t in btf if t.get("kind") == "ENUM" and t["name"] == name]:
        assert {v["name"]: v["val"] for v in theirs["values"]} == ours
    for text, number in ours.items():
        assert getattr(lib, text) == number


def test_every_drop_reason_has_a_text_of_its_own() -> None:
    numbers = set(ffi.typeof("enum ovn_drop").elements) - {lib.DROP_MAX}
    assert set(REASONS) == numbers
    assert len(set(REASONS.values())) == len(REASONS)


def test_maps_have_readable_names_and_known_sizes(btf: list[dict[str, Any]]) -> None:
    [section] = [t for t in btf if t.get("kind") == "DATASEC" and t["name"] == ".maps"]
    names = {btf[v["type_id"]]["name"] for v in section["vars"]}
    assert set(SIZES) <= names
    assert all(len(name) <= 15 for name in names)


def test_layout_hash_follows_structs_and_numbers_but_no_comment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = tmp_path / "include" / "ovn_bpf" / "a.h"
    header.parent.mkdir(parents=True)
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(build, "SHARED", header.parent)

    def hash_of(text: str) -> str:
        header.write_text(text)
        return build.layout_hash()

    base = hash_of("#define OVN_N 1 /* one */\nstruct a {\n\tint x; /* old */\n};\n")
    assert hash_of("#define OVN_N 1 /* eins */\nstruct a {\n\tint x; /* new */\n};\n") == base
    assert hash_of("#define OVN_N 2\nstruct a {\n\tint x;\n};\n") != base
    assert hash_of("#define OVN_N 1\nstruct a {\n\tlong x;\n};\n") != base


def test_words_are_32_bits() -> None:
    assert struct.calcsize("=I") == ffi.sizeof("__u32") == 4
