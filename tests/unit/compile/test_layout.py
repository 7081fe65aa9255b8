# SPDX-License-Identifier: Apache-2.0
"""Where fields lie in the packet context, and how matches become masked words."""

from __future__ import annotations

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.layout import (
    ROOTS,
    Chunk,
    Key,
    chunks,
    describe,
    field_at,
    pack,
    place,
)
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.lang.symbols import SYMBOLS

FULL32 = 0xFFFFFFFF
FULL48 = 0xFFFFFFFFFFFF
FULL128 = (1 << 128) - 1


def test_every_field_that_can_be_matched_has_a_home_of_its_width() -> None:
    for symbol in SYMBOLS.values():
        if symbol.root and symbol.matchable:
            home = ROOTS[symbol.root]
            assert symbol.offset + symbol.width <= home.width, symbol.name


def test_no_field_reaches_outside_the_context() -> None:
    for root, home in ROOTS.items():
        for chunk in chunks(home):
            if root.startswith("set."):
                assert lib.OW_SETS <= chunk.word < lib.OW_SETS + lib.OVN_SET_WORDS
            else:
                assert 0 <= chunk.word < lib.OVN_WORDS, root
            assert chunk.shift + chunk.bits <= 32, root


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        # What words.h says in words, spelt out.
        ([("reg0", 5, FULL32)], {1: (FULL32, 5)}),
        ([("reg9", 5, 0xF)], {10: (0xF, 5)}),
        ([("xxreg0", 1 << 96 | 2, FULL128)],
         {1: (FULL32, 1), 2: (FULL32, 0), 3: (FULL32, 0), 4: (FULL32, 2)}),
        ([("xreg4", 3 << 32 | 4, (1 << 64) - 1)], {9: (FULL32, 3), 10: (FULL32, 4)}),
        ([("inport", 7, FULL32), ("outport", 8, FULL32)], {15: (FULL32, 7), 16: (FULL32, 8)}),
        ([("eth.dst", 0x0102_03040506, FULL48)], {36: (0xFFFF, 0x0102), 37: (FULL32, 0x03040506)}),
        ([("eth.type", 0x0800, 0xFFFF)], {40: (0xFFFF0000, 0x08000000)}),
        ([("vlan.tci", 0x1000, 0x1000)], {40: (0x1000, 0x1000)}),
        ([("ip.proto", 6, 0xFF), ("ip.ttl", 255, 0xFF)], {41: (0xFFFF0000, 0x06FF0000)}),
        ([("ip.dscp", 46, 0x3F)], {41: (0xFC00, 0xB800)}),
        ([("ip.ecn", 3, 3), ("ip.frag", 1, 1)], {41: (0x0301, 0x0301)}),
        ([("ip4.src", 0x0A000001, FULL32)], {45: (FULL32, 0x0A000001)}),
        ([("arp.tpa", 0x0A000001, 0xFFFFFF00)], {49: (0xFFFFFF00, 0x0A000000)}),
        ([("ip6.dst", 0xFF02 << 112, 0xFFFF << 112)], {46: (0xFFFF0000, 0xFF020000)}),
        ([("tcp.src", 1, 0xFFFF), ("tcp.dst", 2, 0xFFFF)], {50: (FULL32, 0x00010002)}),
        ([("icmp6.type", 135, 0xFF), ("icmp6.code", 0, 0xFF)], {50: (0x00FF00FF, 0x00870000)}),
        ([("tcp.flags", 2, 0xFFF)], {51: (0xFFF, 2)}),
        ([("arp.op", 1, 0xFFFF)], {51: (0xFFFF0000, 0x00010000)}),
        ([("nd.sll", 1, FULL48)], {57: (0xFFFF, 0), 58: (FULL32, 1)}),
        ([("arp.tha", 1, FULL48)], {59: (0xFFFF, 0), 60: (FULL32, 1)}),
        ([("ct_label", 1 << 127, 1 << 127)], {19: (0x80000000, 0x80000000)}),
    ],
)  # fmt: skip
def test_fields_lie_where_words_h_says(
    fields: list[tuple[str, int, int]], key: dict[int, tuple[int, int]]
) -> None:
    got = pack(tuple(fields))
    assert got is not None
    assert {w: (m, v) for (w, m), v in zip(got.mask, got.values, strict=True)} == key
    assert list(got.mask) == sorted(got.mask)


def test_an_empty_match_is_an_empty_key() -> None:
    assert pack(()) == Key((), ())


def test_fields_of_a_masked_out_word_are_left_out_of_the_key() -> None:
    key = pack((("ip6.src", 1, 1),))
    assert key == Key(((45, 1),), (1,))


def test_fields_that_share_a_word_contradict_each_other_when_they_differ() -> None:
    assert pack((("icmp4.code", 0, 0xFF), ("tcp.dst", 80, 0xFFFF))) is None
    assert pack((("icmp4.code", 80, 0xFF), ("tcp.dst", 80, 0xFFFF))) is not None


def test_a_field_without_a_home_is_an_error() -> None:
    with pytest.raises(UnsupportedError, match=r"icmp4\.inner_ip4\.src"):
        place("icmp4.inner_ip4.src")


def test_a_subfield_across_words_is_cut_at_their_border() -> None:
    first = lib.OW_REG0
    assert list(chunks(place("xxreg0", 20, 50))) == [
        Chunk(first + 3, 20, 12, 0),
        Chunk(first + 2, 0, 32, 12),
        Chunk(first + 1, 0, 6, 44),
    ]


def test_names_come_back_from_words() -> None:
    assert field_at(lib.OW_REG0, 1, 1) == "reg0[1]"
    assert field_at(lib.OW_ETH_SRC + 1, 0, 32) == "eth.src[0..31]"
    assert field_at(lib.OW_IP, 24, 8) == "ip.proto"
    assert field_at(lib.OW_DP, 0, 32) == "w0"


def test_a_key_is_told_in_fields() -> None:
    key = pack((("inport", 3, FULL32), ("eth.type", 0x800, 0xFFFF), ("ip.proto", 6, 0xFF)))
    assert key is not None
    assert describe(key) == "inport == 0x3 && eth.type == 0x800 && ip.proto == 0x6"
    assert describe(Key((), ())) == "1"
