# SPDX-License-Identifier: Apache-2.0
"""Random packets as root fields, and as microflows for ovn-trace."""

from __future__ import annotations

from hypothesis import strategies as st

from ovn_bpf_controller.lang.lexer import parse_constant
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.symbols import SYMBOLS
from tests.unit.lang import grammar


def number(text: str) -> int:
    """The integer that a constant stands for."""
    value = parse_constant(text).value
    assert isinstance(value, int)
    return value


def put(packet: dict[str, int], field: str, value: int) -> None:
    """Set a field that may lie across registers."""
    symbol = SYMBOLS[field]
    for root, low, size, shift in pieces(symbol.root, symbol.offset, symbol.width):
        ones = (1 << size) - 1
        packet[root] = packet.get(root, 0) & ~(ones << low) | (value >> shift & ones) << low


@st.composite
def loose_packets(draw: st.DrawFn) -> dict[str, int]:
    """Any values in any fields, consistent or not, near the constants in use."""
    packet = {
        "inport": draw(st.sampled_from([0, 1, 2, 3, 1 << 31])),
        "outport": draw(st.sampled_from([0, 1, 2, 3, 32768])),
        "ct_state": draw(st.sampled_from([0, 0x21, 0x22, 0x02])),
        "eth.type": draw(st.sampled_from([0x800, 0x806, 0x86DD, 0x8035, 0x1234])),
    }
    pools = grammar.ORDINAL | grammar.NOMINAL
    for field in draw(st.lists(st.sampled_from(sorted(pools)), max_size=12)):
        near = draw(st.sampled_from([0, 0, 0, 1, -1]))
        symbol = SYMBOLS[field]
        value = number(draw(st.sampled_from(list(pools[field])))) + near
        if symbol.root not in ("eth.type", "inport"):
            put(packet, field, value & ((1 << symbol.width) - 1))
    return packet
