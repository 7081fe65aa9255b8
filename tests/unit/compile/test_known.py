# SPDX-License-Identifier: Apache-2.0
"""What the package was built with of shapes is what it would learn of them itself."""

from __future__ import annotations

import marshal
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.compile import flow as flow_module
from ovn_bpf_controller.compile import known
from ovn_bpf_controller.compile.action_templates import ActionTemplates
from ovn_bpf_controller.compile.flow import LogicalFlow, compile_flow
from ovn_bpf_controller.compile.literals import another, take_apart
from ovn_bpf_controller.compile.names import Names
from ovn_bpf_controller.compile.sets import SetBook
from ovn_bpf_controller.plaindata import replace
from tests.support.scratch import from_scratch
from tests.support.world import World
from tools.known_shapes import Learner, Line, read

FLOWS = Path(__file__).parents[3] / "tools" / "northd_flows.txt"
VARIANTS = 2  # of each flow


@pytest.fixture
def nothing_learnt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flow_module, "_MATCHES", flow_module.matches())
    monkeypatch.setattr(flow_module, "_ACTIONS", ActionTemplates())
    monkeypatch.setattr(flow_module, "known", known.Known)
    forget()
    yield
    forget()


@pytest.fixture
def just_begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flow_module, "_MATCHES", flow_module.matches(lambda: known.known().matches))
    monkeypatch.setattr(flow_module, "_ACTIONS", ActionTemplates(lambda: known.known().actions))
    forget()
    yield
    forget()


def forget() -> None:
    flow_module._SAME.clear()
    flow_module._lower_constant.cache_clear()
    flow_module._keys_constant.cache_clear()


def test_the_file_is_what_would_be_learnt(nothing_learnt: None) -> None:
    kept = known.known()
    assert len(kept.matches) > 100 and len(kept.actions) > 50 and len(kept.constants) > 50
    learner = Learner()
    for line in read(FLOWS):
        learner.learn(line)
    learnt = learner.learnt()
    assert learnt.prereqs == kept.prereqs
    for now, before in zip(learnt[:3], kept[:3], strict=True):
        assert now.keys() == before.keys()
        for name, content in now.items():
            assert marshal.loads(content) == marshal.loads(before[name]), name


def world(lines: list[Line], residents: bool) -> World:
    """Every name of the flows, and of their variants, is known."""
    made = World()
    text = "\n".join(f"{match} {actions}" for *_, match, actions in lines)
    for n, name in enumerate(sorted(set(re.findall(r'"([^"]*)"', text)))):
        made.ports |= {(1, name): 2 * n + 1, (1, f"{name}'"): 2 * n + 2}
        made.residents |= {name} if residents else {f"{name}'"}
    for name in re.findall(r"[$]([A-Za-z_.][\w.]*)", text):
        made.address_sets |= {name: ["10.0.0.1", "10.1.0.0/16"], f"{name}_": ["10.0.0.9"]}
    for name in re.findall(r"@([A-Za-z_.][\w.]*)", text):
        made.port_groups |= {(1, name): ["a"], (1, f"{name}_"): ["b"]}
    return made


def variants(text: str, dice: random.Random) -> Iterator[str]:
    """The text, then with other literals."""
    yield text
    for _ in range(VARIANTS):
        varied = take_apart(text)
        if varied is None:
            return
        for index in range(len(varied.literals)):
            literal = another(varied.values[index])
            if literal is not None and dice.random() < 0.6:
                made = take_apart(varied.with_literal(index, literal))
                varied = made if made is not None else varied
        yield varied.text()


@pytest.mark.parametrize("residents", [True, False])
def test_every_instance_equals_compiling_it_from_scratch(just_begun: None, residents: bool) -> None:
    lines = list(read(FLOWS))
    env, dice = world(lines, residents), random.Random(5)
    for pipeline, table, traits, match, actions in lines:
        env.kinds = {1: traits}
        for text, todo in zip(variants(match, dice), variants(actions, dice), strict=False):
            flow = LogicalFlow("", pipeline, table, 100, text, todo)
            book = SetBook(env)
            made = compile_flow(flow, Names(env, 1, book))
            slow = from_scratch(flow, env, book)
            assert replace(made, refs=slow.refs) == slow, flow
            assert made.refs >= slow.refs, flow


def test_nothing_is_parsed_of_what_is_known(
    just_begun: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []
    monkeypatch.setattr(flow_module, "_parsed", parsed.append)
    monkeypatch.setattr(flow_module, "parse_match", parsed.append)
    env = world(list(read(FLOWS)), True)
    flow = LogicalFlow("", 0, 0, 100, "vlan.present", "drop;")
    assert compile_flow(flow, Names(env, 1, SetBook(env))).keys and not parsed


def test_a_file_of_another_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = known.PATH.read_bytes()
    version, kept = marshal.loads(content)
    path = tmp_path / "shapes.bin"
    right = known.digest()
    monkeypatch.setattr(known, "digest", lambda: right)
    monkeypatch.setattr(known, "PATH", path)
    load = known.known.__wrapped__
    assert load() == known.Known()
    path.write_bytes(content)
    assert version == right and load().matches
    for wrong in (marshal.dumps((b"", kept)), content[:1000], b"", b"[", marshal.dumps(3)):
        path.write_bytes(wrong)
        assert load() == known.Known()
    path.write_bytes(marshal.dumps((right, marshal.dumps(({}, {})))))
    assert load() == known.Known()


def test_it_is_of_every_module_that_it_was_made_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = known.PATH.parent.parent
    for name in ("lang", "compile"):
        shutil.copytree(package / name, tmp_path / name)
    monkeypatch.setattr(known, "PATH", tmp_path / "compile" / known.PATH.name)
    found = {known.digest()}
    changed = [*tmp_path.rglob("*.py")]
    for path in changed:
        path.write_text(path.read_text() + "\n")
        found.add(known.digest())
    assert len(found) == 1 + len(changed) > 40
