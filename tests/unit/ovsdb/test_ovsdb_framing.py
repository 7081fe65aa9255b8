# SPDX-License-Identifier: Apache-2.0
"""The C framer and its Python side: any split of any stream gives the same values."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb import framing
from ovn_bpf_controller.ovsdb.framing import Framer

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
messages = st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4)
space = st.text(" \t\r\n", max_size=3)


@pytest.fixture(params=["orjson", "json"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both parsers must do: Debian 12 has no orjson."""
    monkeypatch.setattr(framing, "_orjson", orjson if request.param == "orjson" else False)
    return str(request.param)


def collect(framer: Framer, pieces: list[bytes]) -> list[Any]:
    """All values, asking for them after each piece."""
    found = []
    for piece in pieces:
        framer.feed(piece)
        while (value := framer.next()) is not None:
            found.append(value)
    return found


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """data in pieces."""
    places = sorted(cut % (len(data) + 1) for cut in cuts)
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.tuples(messages, space, st.booleans()), max_size=5), st.lists(st.integers(0)))
def test_any_split_of_any_stream_gives_the_same_values(
    stream: list[tuple[Any, str, bool]], cuts: list[int]
) -> None:
    text = "".join(
        blank + json.dumps(message, ensure_ascii=ascii) for message, blank, ascii in stream
    )
    framer = Framer()
    pieces = split(text.encode("utf-8", "surrogatepass"), cuts)
    assert collect(framer, pieces) == [message for message, _, _ in stream]
    assert len(framer) == 0


@given(st.binary(max_size=300), st.lists(st.integers(0), max_size=6))
@example(b'{"a": nul}', [])
@example(b"[[[[[]", [1, 2])
@example(b'["\\', [])
@example(b'{"a":"\xff\xfe"}', [3])
@example(b"}", [])
@example(b"[}", [])
@example(b"\x00\x00\x00[", [])
def test_garbage_ends_in_an_error_or_in_waiting(data: bytes, cuts: list[int]) -> None:
    framer = Framer()
    try:
        found = collect(framer, split(data, cuts))
    except DatabaseError:
        return
    # What was taken for values is what the standard parser finds, one after the other.
    rest, decoder = data.decode("utf-8", "strict") if found else "", json.JSONDecoder()
    for value in found:
        rest = rest.lstrip(" \t\r\n")
        expected, end = decoder.raw_decode(rest)
        assert value == expected
        rest = rest[end:]


@settings(max_examples=20)
@given(st.integers(1, 400))
def test_nesting_is_limited(depth: int) -> None:
    framer = Framer()
    framer.feed(b"[" * depth + b"]" * depth)
    if depth <= 256:
        assert framer.next() is not None
    else:
        with pytest.raises(DatabaseError, match="nested deeper"):
            framer.next()


def test_both_parsers_give_the_same(parser: str) -> None:
    framer = Framer()
    text = '{"a":"}]\\"{[\\\\","b":[1,-2,1.5,true,null,"\\u00e9é"]}'
    assert collect(framer, [bytes([byte]) for byte in text.encode()]) == [json.loads(text)]


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x03\x00\x02", b"null", b'"x"', b"1"]
)
def test_what_is_no_object_or_array_is_refused(parser: str, data: bytes) -> None:
    framer = Framer()
    framer.feed(data)
    with pytest.raises(DatabaseError, match="not JSON-RPC"):
        framer.next()


@pytest.mark.parametrize("data", [b"[}", b'{"a"}', b'{"a":"\xff"}', b"[01]", b'["\n"]'])
def test_what_only_looks_like_json_is_refused(parser: str, data: bytes) -> None:
    framer = Framer()
    framer.feed(data)
    with pytest.raises(DatabaseError, match="not JSON"):
        framer.next()


def test_message_of_absurd_size_is_refused() -> None:
    framer = Framer(limit=1000)
    framer.feed(b'["' + b"x" * 900)
    with pytest.raises(DatabaseError, match="more than 1000 bytes"):
        framer.feed(b"x" * 100)


def test_large_message_in_small_pieces_is_scanned_once() -> None:
    payload = json.dumps([["row", "{[" * 20, i] for i in range(50_000)]).encode()
    framer = Framer()
    pieces = [payload[i : i + 999] for i in range(0, len(payload), 999)]
    (value,) = collect(framer, pieces)
    assert len(value) == 50_000


@given(values)
def test_dumps_is_read_back(value: Any) -> None:
    assert json.loads(framing.dumps([value])) == [value]
