# SPDX-License-Identifier: Apache-2.0
"""The bytes of instructions, and how dumps read them."""

from __future__ import annotations

import struct

import pytest

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.insns import (
    INSN_BYTES,
    Insn,
    decode,
    describe,
    disassemble,
    encode,
    program,
)


def test_an_instruction_is_sixteen_bytes_in_the_order_of_the_struct() -> None:
    data = encode([Insn(1, dst=2, src=3, aux=4, a=0xFFFFFFFF, b=6, c=7)])
    assert data == struct.pack("=BBBBIII", 1, 2, 3, 4, 0xFFFFFFFF, 6, 7)
    assert INSN_BYTES == 16


def test_decode_is_the_reverse_of_encode() -> None:
    insns = [Insn(lib.OP_MOVE, 1, 2, 0, 3, 4, 5), Insn(lib.OP_NEXT, aux=9, src=1), Insn(lib.OP_END)]
    assert decode(encode(insns)) == insns


def test_half_an_instruction_is_refused() -> None:
    with pytest.raises(ValueError, match="17 bytes"):
        decode(bytes(17))


def test_program_ends_the_list() -> None:
    assert decode(program([]))[-1].op == lib.OP_END


@pytest.mark.parametrize("op", sorted(set(ffi.typeof("enum ovn_op").elements) - {lib.OP_MAX}))
def test_every_operation_has_a_text_without_numbers_of_words(op: int) -> None:
    text = describe(Insn(op, dst=lib.OW_REG0, src=lib.OW_ETH_SRC, a=1, b=1, c=1))
    assert text
    assert "?" not in text


@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (Insn(lib.OP_SET, dst=lib.OW_REG0, a=0b110, b=0b100), "reg0[1..2] = 0x2"),
        (Insn(lib.OP_SET, dst=lib.OW_REG0, a=0x101, b=1), "reg0[0] = 0x1; reg0[8] = 0x0"),
        (Insn(lib.OP_SET, dst=lib.OW_OUTPORT, a=0xFFFFFFFF, b=3), "outport = 0x3"),
        (
            Insn(lib.OP_MOVE, dst=lib.OW_REG0, src=lib.OW_IP_SRC + 3, c=32),
            "reg0 = ip4.src",
        ),
        (Insn(lib.OP_NEXT, src=1, aux=7), "next(egress, 7)"),
        (Insn(lib.OP_DROP, a=lib.DROP_UNSUPPORTED), "drop (unsupported)"),
        (
            Insn(lib.OP_LOOKUP_FDB, dst=lib.OW_REG0, a=11, src=lib.OW_ETH_SRC, b=lib.OW_INPORT),
            "reg0[11] = lookup_fdb(inport, eth.src)",
        ),
        (
            Insn(lib.OP_CT, src=lib.OW_REG0, a=lib.OVN_CT_COMMIT | lib.OVN_CT_NAT),
            "ct(zone=reg0, commit, nat)",
        ),
        (Insn(lib.OP_LEARN, a=lib.OVN_LEARNT_LB_AFF), "learn(lb_aff)"),
        (
            Insn(lib.OP_LEARNT, dst=lib.OW_REG0, a=5, b=lib.OVN_LEARNT_ECMP_NH_MAC),
            "reg0[5] = learnt(ecmp_nh_mac)",
        ),
    ],
)
def test_instructions_read_like_actions(insn: Insn, text: str) -> None:
    assert describe(insn) == text


def test_bodies_of_clones_are_indented() -> None:
    inner = [Insn(lib.OP_CLONE, a=2), Insn(lib.OP_OUTPUT), Insn(lib.OP_END)]
    outer = [Insn(lib.OP_CLONE, a=len(inner) + 1), *inner, Insn(lib.OP_END), Insn(lib.OP_OUTPUT)]
    assert disassemble(program(outer)) == [
        "clone (4 instructions)",
        "  clone (2 instructions)",
        "    output",
        "    end",
        "  end",
        "output",
        "end",
    ]


def test_an_unknown_operation_is_shown_as_one() -> None:
    assert describe(Insn(200)) == "op200?"
