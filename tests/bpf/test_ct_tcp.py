# SPDX-License-Identifier: Apache-2.0
"""TCP: opening, closing, resetting, and segments that are not where they should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from scapy.layers.inet import IP, TCP

from ovn_bpf_controller._native import lib
from tests.support.tracked import COMMIT, NEXT, UNDO, Tracked, bits, tracked, translate

NEW, EST, RPL, INV = bits("new trk"), bits("est trk"), bits("est rpl trk"), bits("inv trk")


@pytest.fixture(name="ct", scope="module")
def _ct() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


@pytest.fixture(name="conn")
def _conn(ct: Tracked) -> Conversation:
    ct.forget()
    return Conversation(ct)


@dataclass
class Conversation:
    """A client (to) and a server (fro) of 1000-byte windows, unless they say else."""

    ct: Tracked
    sport: int = 1234
    client: int = 1000  # next sequence numbers
    server: int = 9000

    def to(
        self, flags: str, data: bytes = b"", how: object = None, **tcp: object
    ) -> frozenset[str]:
        fields = {"seq": self.client, "ack": self.server if "A" in flags else 0, "window": 1000}
        segment = TCP(sport=self.sport, dport=80, flags=flags, **(fields | tcp))
        packet = IP(src="10.0.0.1", dst="10.0.0.2") / segment / data
        state = self.ct.send(packet, COMMIT if how is None else how).state  # type: ignore[arg-type]
        if "seq" not in tcp:
            self.client += len(data) + ("S" in flags) + ("F" in flags)
        return state

    def fro(self, flags: str, data: bytes = b"", **tcp: object) -> frozenset[str]:
        fields = {"seq": self.server, "ack": self.client if "A" in flags else 0, "window": 1000}
        segment = TCP(sport=80, dport=self.sport, flags=flags, **(fields | tcp))
        state = self.ct.send(IP(src="10.0.0.2", dst="10.0.0.1") / segment / data).state
        if "seq" not in tcp:
            self.server += len(data) + ("S" in flags) + ("F" in flags)
        return state

    def open(self) -> None:
        """Three-way handshake."""
        assert self.to("S") == NEW
        assert self.fro("SA") == RPL
        assert self.to("A") == EST

    def states(self) -> tuple[int, int]:
        """enum ovn_ct_tcp of both sides."""
        [conn] = self.ct.connections()
        return conn.peers[0].state, conn.peers[1].state

    def timeout(self) -> float:
        """Seconds that the connection has been given, from its last packet on."""
        [conn] = self.ct.connections()
        return (conn.expires - conn.used) / 1000


def test_a_connection_opens_talks_and_closes(conn: Conversation) -> None:
    conn.open()
    assert conn.states() == (lib.OVN_TCPS_ESTABLISHED, lib.OVN_TCPS_ESTABLISHED)
    assert conn.timeout() == 24 * 3600
    assert conn.to("PA", b"x" * 500) == EST
    assert conn.fro("A") == RPL
    assert conn.fro("PA", b"y" * 900) == RPL
    assert conn.to("A") == EST
    assert conn.to("FA") == EST
    assert conn.timeout() == 15 * 60
    assert conn.fro("A") == RPL
    assert conn.fro("FA") == RPL
    assert conn.to("A") == EST
    assert conn.states() == (lib.OVN_TCPS_FIN_WAIT_2, lib.OVN_TCPS_FIN_WAIT_2)
    assert conn.timeout() == 30


def test_a_syn_that_is_sent_again_stays_new(conn: Conversation) -> None:
    assert conn.to("S") == NEW
    assert conn.to("S", seq=1000) == NEW
    assert conn.timeout() == 30
    assert len(conn.ct.connections()) == 1


def test_half_open_it_expires_soon(conn: Conversation) -> None:
    conn.to("S")
    conn.fro("SA")
    assert conn.timeout() == 30
    assert conn.fro("SA", seq=9000, ack=1001) == RPL


def test_both_may_open_at_once(conn: Conversation) -> None:
    assert conn.to("S") == NEW
    assert conn.fro("S", seq=9000) == NEW
    conn.server = 9001
    assert conn.to("SA", seq=1000, ack=9001) == EST
    assert conn.fro("SA", seq=9000, ack=1001) == RPL
    assert conn.to("A") == EST
    assert conn.fro("PA", b"hello") == RPL
    assert conn.states() == (lib.OVN_TCPS_ESTABLISHED, lib.OVN_TCPS_ESTABLISHED)


@pytest.mark.parametrize("flags", ["SF", "SR", "F", "", "P", "FSRPAU"])
def test_flags_that_no_stack_sends_are_invalid(conn: Conversation, flags: str) -> None:
    assert conn.to(flags) == INV
    assert conn.ct.connections() == []
    conn.client = 1000
    conn.open()
    assert conn.to(flags) == INV


def test_a_syn_ack_begins_nothing(conn: Conversation) -> None:
    assert conn.to("SA") == INV
    assert conn.ct.connections() == []


def test_a_stream_may_be_picked_up_in_the_middle(conn: Conversation) -> None:
    conn.client, conn.server = 4_000_000_000, 77
    assert conn.to("PA", b"x" * 1400) == NEW
    assert conn.to("PA", b"x" * 1400) == EST
    assert conn.fro("PA", b"y" * 1400) == RPL
    assert conn.to("PA", b"x" * 1400) == EST
    assert conn.fro("A") == RPL


@pytest.mark.parametrize("off", [5_000, 500_000, -300_000, 1 << 31])
def test_a_segment_outside_the_window_is_invalid(conn: Conversation, off: int) -> None:
    conn.open()
    before = conn.ct.connections()[0].epoch
    assert conn.to("PA", b"x" * 10, seq=(conn.client + off) % (1 << 32)) == INV
    assert conn.fro("PA", b"x" * 10, seq=(conn.server + off) % (1 << 32)) == INV
    assert conn.ct.connections()[0].epoch == before
    assert conn.to("PA", b"x" * 10) == EST


def test_acknowledging_what_was_never_sent_is_invalid(conn: Conversation) -> None:
    conn.open()
    assert conn.to("PA", b"x", ack=conn.server + 100_000) == INV
    assert conn.to("PA", b"x", seq=conn.client, ack=(conn.server - 100_000) % (1 << 32)) == INV
    assert conn.to("PA", b"x") == EST


def test_sequence_numbers_run_over(conn: Conversation) -> None:
    conn.client, conn.server = (1 << 32) - 300, (1 << 32) - 5
    conn.open()
    for _ in range(5):
        assert conn.to("PA", b"x" * 200, ack=conn.server % (1 << 32)) == EST
        conn.client %= 1 << 32
        assert conn.fro("PA", b"y" * 200, ack=conn.client) == RPL
        conn.server %= 1 << 32


def test_windows_are_scaled(conn: Conversation) -> None:
    options = [("NOP", None), ("WScale", 7)]
    assert conn.to("S", options=options) == NEW
    assert conn.fro("SA", options=options) == RPL
    assert conn.to("A") == EST  # 1000 << 7 for the server from here on
    assert conn.fro("A") == RPL
    assert conn.fro("PA", b"y" * 1000, seq=conn.server + 120_000) == RPL
    assert conn.fro("PA", b"y" * 1000, seq=conn.server + 500_000) == INV


def test_windows_are_not_scaled_when_one_side_cannot(conn: Conversation) -> None:
    assert conn.to("S", options=[("WScale", 7)]) == NEW
    assert conn.fro("SA") == RPL
    assert conn.to("A") == EST
    assert conn.fro("PA", b"y" * 1000, seq=conn.server + 120_000) == INV


def test_a_reset_in_place_ends_it(conn: Conversation) -> None:
    conn.open()
    assert conn.fro("R") == RPL
    assert conn.states() == (lib.OVN_TCPS_TIME_WAIT, lib.OVN_TCPS_TIME_WAIT)
    assert conn.timeout() == 30
    [left] = conn.ct.connections()
    assert left.flags & lib.OVN_CONN_CLOSING


@pytest.mark.parametrize("off", [2, 500, -500, 1 << 30])
def test_a_reset_that_was_guessed_does_not(conn: Conversation, off: int) -> None:
    conn.open()
    assert conn.fro("R", seq=(conn.server + off) % (1 << 32)) == INV
    assert conn.states() == (lib.OVN_TCPS_ESTABLISHED, lib.OVN_TCPS_ESTABLISHED)


def test_a_refused_connection_is_closed(conn: Conversation) -> None:
    assert conn.to("S") == NEW
    assert conn.fro("RA", seq=0) == RPL
    assert conn.timeout() == 30


def test_a_closed_tuple_may_be_used_again(conn: Conversation) -> None:
    conn.open()
    conn.to("FA")
    conn.fro("FA")
    conn.to("A")
    [before] = conn.ct.connections()
    conn.client, conn.server = 3_000_000, 7_000_000
    assert conn.to("S", how=NEXT) == NEW
    assert conn.ct.connections() == []
    conn.client = 3_000_000
    conn.open()
    [after] = conn.ct.connections()
    assert (after.id, after.birth) != (before.id, before.birth)
    assert conn.to("PA", b"x" * 100) == EST


def test_an_open_tuple_is_not_begun_anew(conn: Conversation) -> None:
    conn.open()
    assert conn.to("S", seq=3_000_000) == INV
    assert conn.states() == (lib.OVN_TCPS_ESTABLISHED, lib.OVN_TCPS_ESTABLISHED)


def test_a_translated_connection_is_watched_as_well(conn: Conversation) -> None:
    there = translate(lib.OVN_CT_SRC, "192.0.2.1")
    assert conn.to("S", how=there) == bits("new trk snat")
    back = IP(src="10.0.0.2", dst="192.0.2.1")
    answer = TCP(sport=80, dport=1234, flags="SA", seq=9000, ack=1001, window=1000)
    assert conn.ct.send(back / answer, UNDO).state == bits("est rpl trk dnat")
    conn.server = 9001
    assert conn.to("A", how=there) == bits("est trk snat")
    assert conn.to("PA", b"x", how=there, seq=500_000) == INV


def test_a_checksum_that_is_wrong_is_invalid(conn: Conversation) -> None:
    conn.open()
    assert conn.to("PA", b"x", chksum=0x1234) == INV
    assert conn.to("PA", b"x", seq=conn.client) == EST
