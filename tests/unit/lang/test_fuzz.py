# SPDX-License-Identifier: Apache-2.0
"""Whatever the text, parsing ends in a tree or in an error of ours that says where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.errors import LangError, UnsupportedError
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.evaluate import evaluate
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.normal import disjuncts
from ovn_bpf_controller.lang.references import references
from ovn_bpf_controller.lang.results import RESULTS
from ovn_bpf_controller.lang.symbols import SYMBOLS
from ovn_bpf_controller.lang.templates import substitute_templates
from ovn_bpf_controller.lang.verbs import VERBS
from tests.unit.lang import grammar
from tests.unit.lang.test_actions import VERBS as ACTION_TEXTS

ENV = grammar.Env()
WORDS = [
    *SYMBOLS, *VERBS, *RESULTS, "ct_commit", "clone", "arp", "drop", "is_chassis_resident",
    "(", ")", "{", "}", "[", "]", "==", "!=", "<", "<=", ">", ">=", "=", "<->", "!", "&&", "||",
    ",", ";", ":", "..", "--", "-", "0", "1", "80", "0x5", "0xffffffffff", "10.0.0.1", "10.0.0.0/8",
    "fd00::1", "fd00::/64", "00:00:00:00:00:01", '"p1"', '""', "$v4", "$gone", "@pg", "@gone",
    "^x", "ipv6", "proto", "tcp", "verdict", "backends", "pipeline", "ingress", "table", "//", "/*",
]  # fmt: skip
SOUP = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
TEXT = st.one_of(st.text(max_size=60), SOUP)


def outcome(parse: Callable[[str], Any], text: str) -> Any:
    """What parse returns, or None after a LangError that is in order."""
    try:
        return parse(text)
    except LangError as error:
        assert error.text == text
        assert 0 <= error.position <= len(text)
        assert error.message
        return None


@settings(grammar.PATIENT, max_examples=1500)
@given(TEXT)
@example("(" * 5000)
@example("!" * 5000)
@example("!(" * 5000)
@example("ip4 && " * 5000)
@example("reg0[99999999999999999999]")
@example('"' + "\\" * 5001)
@example("1 < " * 500)
@example("\x00")
@example("\ud800")
def test_matches(text: str) -> None:
    expr = outcome(parse_match, text)
    if expr is None:
        return
    references(expr)
    try:
        disjuncts(expr, ENV, 1000)
        evaluate(expr, {}, ENV)
    except LangError as error:
        assert error.text in ("$gone", "@gone") or "does not fit" in error.message
    except UnsupportedError:
        pass


@settings(grammar.PATIENT, max_examples=1500)
@given(TEXT)
@example("clone { " * 5000)
@example("next; " * 5000)
@example("reg0 = " * 100)
@example('commit_lb_aff(vip = "[", backend = "]:", timeout = 1);')
@example('commit_lb_aff(vip = "1.2.3.4:\u0662", backend = "1.2.3.4", timeout = 1);')
@example("reg0[0] = put_nd_ra_opts(slla = 5);")
def test_actions(text: str) -> None:
    actions = outcome(parse_actions, text)
    if actions is not None:
        action_prereqs(actions)


@settings(grammar.PATIENT, max_examples=1000)
@given(text=st.sampled_from(sorted(ACTION_TEXTS)), data=st.data())
def test_actions_with_a_word_changed(text: str, data: st.DataObject) -> None:
    """Near misses reach deeper into the verbs than random words."""
    words = text.replace("(", " ( ").replace(")", " ) ").replace(";", " ; ").split()
    if words:
        place = data.draw(st.integers(0, len(words) - 1))
        replacement = data.draw(st.sampled_from([*WORDS, ""]))
        words[place] = replacement
    actions = outcome(parse_actions, " ".join(words))
    if actions is not None:
        action_prereqs(actions)


@settings(grammar.PATIENT, max_examples=500)
@given(text=TEXT, variables=st.dictionaries(st.just("x"), TEXT))
def test_templates(text: str, variables: dict[str, str]) -> None:
    outcome(lambda t: substitute_templates(t, variables), text)


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_long_texts_take_linear_time(size: int) -> None:
    """The lexer has no pattern that backtracks; pytest's timeout is the bound."""
    for text in ("a" * size, "1" * size, ":" * size, "/*" * size, '"' * size, "1." * size):
        outcome(parse_match, text)
        outcome(parse_actions, text)
