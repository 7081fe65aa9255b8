# SPDX-License-Identifier: Apache-2.0
"""Our parser in python-ovs' place, against python-ovs' own."""

from __future__ import annotations

import json
from typing import Any

import ovs.json
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.ovsdb import local  # noqa: F401  what installs it
from ovn_bpf_controller.ovsdb.local_json import Parser

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), min_size=1, max_size=4),
       st.booleans(), st.integers(1, 50))  # fmt: skip
def test_messages_in_pieces(messages: list[dict[str, Any]], ascii: bool, size: int) -> None:
    text = "\n".join(json.dumps(message, ensure_ascii=ascii) for message in messages)
    found, parser = [], Parser()
    for start in range(0, len(text), size):
        piece = text[start : start + size]
        while piece:
            piece = piece[parser.feed(piece) :]
            if parser.is_done():
                found.append(parser.finish())
                parser = Parser()
    assert found == messages


@pytest.mark.parametrize("wrong", ['{"a": b}', "]", "{]", "nonsense"])
def test_errors_are_text(wrong: str) -> None:
    parser = Parser()
    parser.feed(wrong)
    assert parser.is_done() and isinstance(parser.finish(), str)


def test_installed_where_there_is_none_in_c() -> None:
    in_c = ovs.json.PARSER == ovs.json.PARSER_C
    assert in_c or ovs.json.Parser is Parser
