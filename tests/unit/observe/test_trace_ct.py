# SPDX-License-Identifier: Apache-2.0
"""--ct and --lb-dst are read, and stateful actions told, as by ovn-trace."""

from __future__ import annotations

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.observe import trace_ct
from ovn_bpf_controller.observe.microflow import MicroflowError


def test_trk_is_implied_and_flags_are_separated_by_commas_or_spaces() -> None:
    for text in ("new", "trk,new", "trk new", " new , trk,"):
        assert trace_ct.parse_state(text) == lib.OVN_CS_NEW | lib.OVN_CS_TRK
    assert trace_ct.parse_state("") == lib.OVN_CS_TRK


def test_an_unknown_flag_is_refused() -> None:
    with pytest.raises(MicroflowError, match="old: unknown connection tracking state flag"):
        trace_ct.parse_state("trk,old")


def test_flags_are_printed_in_the_order_of_their_bits() -> None:
    assert trace_ct.format_state(trace_ct.parse_state("dnat,rpl,est")) == "est|rpl|trk|dnat"


@pytest.mark.parametrize(
    ("text", "words", "port"),
    [
        ("10.0.0.1", (0, 0, 0xFFFF, 0x0A000001), 0),
        ("10.0.0.1:80", (0, 0, 0xFFFF, 0x0A000001), 80),
        ("fd00::1", (0xFD000000, 0, 0, 1), 0),
        ("[fd00::1]:443", (0xFD000000, 0, 0, 1), 443),
    ],
)
def test_a_backend_is_an_address_and_perhaps_a_port(
    text: str, words: tuple[int, ...], port: int
) -> None:
    assert trace_ct.parse_backend(text) == (words, port)


@pytest.mark.parametrize("text", ["", "host", "10.0.0.1:x", "10.0.0.1:65536", "[fd00::1", "1.2.3"])
def test_what_is_no_backend_is_refused(text: str) -> None:
    with pytest.raises(MicroflowError):
        trace_ct.parse_backend(text)


def test_who_takes_a_state() -> None:
    tracked = lib.OVN_CS_TRK | lib.OVN_CS_EST
    commit = lib.OVN_CT_COMMIT
    for does, state, takes in (
        (0, tracked, True),  # ct_next always does
        (lib.OVN_CT_NAT, 0, True),
        (lib.OVN_CT_NAT, tracked, False),
        (lib.OVN_CT_NAT | lib.OVN_CT_BALANCE, tracked, True),
        (commit | lib.OVN_CT_NAT | lib.OVN_CT_SRC, tracked, False),
        (commit | lib.OVN_CT_KEEP | lib.OVN_CT_NULL_SNAT, 0, False),
    ):
        assert trace_ct.takes_state(Insn(lib.OP_CT, a=does), state) is takes


def context(dst: int, state: int) -> list[int]:
    words = [0] * lib.OVN_WORDS
    words[lib.OW_ETH_TYPE] = 0x0800 << 16
    words[lib.OW_IP_DST + 3] = dst
    words[lib.OW_CT_STATE] = state
    return words


def test_titles() -> None:
    before = context(0x0A000001, 0)
    after = context(0x0A000002, lib.OVN_CS_TRK | lib.OVN_CS_EST | lib.OVN_CS_DNAT)
    default = " /* default (use --ct to customize) */"
    for action, answer, text in (
        (nodes.CtNext(), "given", "ct_next(ct_state=est|trk|dnat)"),
        (nodes.CtNext(), "default", f"ct_next(ct_state=est|trk|dnat{default})"),
        (nodes.CtDnat(0x0A000002, 4), "", "ct_dnat(ip4.dst=10.0.0.2)"),
        (nodes.CtSnat(1, 6), "default", f"ct_snat(ip6.src=::1){default}"),
        (nodes.CtSnat(), "given", "ct_snat /* assuming no un-snat entry, so no change */"),
        (nodes.CtDnat(), "live", "ct_dnat /* ct_state=est|trk|dnat, ip4.dst=10.0.0.2 */"),
        (nodes.CtLbMark(), "default", f"ct_lb_mark{default}"),
        (nodes.CtLb(), "live", "ct_lb /* ct_state=est|trk|dnat, ip4.dst=10.0.0.2 */"),
        (nodes.CtCommitToZone("dnat"), "given", "ct_commit_to_zone(dnat)"),
        (
            nodes.CtCommitNat(),
            "given",
            "ct_commit_nat /* assuming no un-nat entry, so no change */",
        ),
    ):
        assert trace_ct.title(action, before, after, answer) == text
