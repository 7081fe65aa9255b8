# SPDX-License-Identifier: Apache-2.0
"""SCTP's state machine and verification tags, by the rules of the kernel's tracker.

RFC 9260, sections 5, 8.5 and 9; what real sockets make of it: tests/vm/test_sctp.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.sctp import (
    SCTP,
    SCTPChunkAbort,
    SCTPChunkCookieAck,
    SCTPChunkCookieEcho,
    SCTPChunkData,
    SCTPChunkError,
    SCTPChunkHeartbeatAck,
    SCTPChunkHeartbeatReq,
    SCTPChunkInit,
    SCTPChunkInitAck,
    SCTPChunkSACK,
    SCTPChunkShutdown,
    SCTPChunkShutdownAck,
    SCTPChunkShutdownComplete,
)
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.conntrack import Connection, now_ms
from ovn_bpf_controller.observe.ct_format import sctp_state
from tests.support.tracked import COMMIT, NEXT, Tracked, bits, tracked

ADDRESSES = {4: ("10.0.0.1", "10.0.0.2"), 6: ("fd00::1", "fd00::2")}
CLIENT, SERVER = 111, 222  # the tags that packets to them carry
NEW, EST, REPLY, INVALID = map(bits, ("new trk", "est trk", "est rpl trk", "inv trk"))

INIT = SCTPChunkInit(init_tag=CLIENT)
INIT_ACK = SCTPChunkInitAck(init_tag=SERVER)
ECHO = SCTPChunkCookieEcho(cookie=b"abcd", len=8)
ACK = SCTPChunkCookieAck()
DATA = SCTPChunkData(data=b"data", beginning=1, ending=1)
SACK = SCTPChunkSACK()
BEAT = SCTPChunkHeartbeatReq()
BEAT_ACK = SCTPChunkHeartbeatAck()
SHUTDOWN, SHUTDOWN_ACK = SCTPChunkShutdown(), SCTPChunkShutdownAck()
COMPLETE = SCTPChunkShutdownComplete()


@pytest.fixture(name="ct", scope="module")
def _ct() -> Iterator[Tracked]:
    with tracked() as made:
        yield made


@pytest.fixture(autouse=True)
def _empty(ct: Tracked) -> None:
    ct.forget()


def out(*chunks: Packet, tag: int = SERVER, version: int = 4) -> Packet:
    """From the client; tag: what the server wants to see."""
    client, server = ADDRESSES[version]
    return packet(version, client, server, SCTP(sport=1000, dport=80, tag=tag), chunks)


def back(*chunks: Packet, tag: int = CLIENT, version: int = 4) -> Packet:
    client, server = ADDRESSES[version]
    return packet(version, server, client, SCTP(sport=80, dport=1000, tag=tag), chunks)


def packet(version: int, src: str, dst: str, sctp: Packet, chunks: tuple[Packet, ...]) -> Packet:
    made = (IP if version == 4 else IPv6)(src=src, dst=dst) / sctp
    for chunk in chunks:
        made = made / chunk.copy()
    return made


def only(ct: Tracked) -> Connection:
    (conn,) = ct.connections()
    return conn


def state(ct: Tracked) -> str:
    return sctp_state(only(ct))


def tags(ct: Tracked) -> tuple[int, int]:
    orig, reply = only(ct).peers
    return orig.seq_lo, reply.seq_lo


def seconds_left(ct: Tracked) -> float:
    return (only(ct).expires - now_ms()) / 1000


def associate(ct: Tracked, version: int = 4) -> None:
    """The four packets of section 5.1."""
    assert ct.send(out(INIT, tag=0, version=version), COMMIT).state == NEW
    assert ct.send(back(INIT_ACK, version=version)).state == REPLY
    assert ct.send(out(ECHO, version=version)).state == EST
    assert ct.send(back(ACK, version=version)).state == REPLY
    assert state(ct) == "ESTABLISHED"


@pytest.mark.parametrize("version", [4, 6])
def test_an_association_comes_and_goes(ct: Tracked, version: int) -> None:
    steps = (
        (out(INIT, tag=0, version=version), NEW, "CLOSED", 10),
        (back(INIT_ACK, version=version), REPLY, "COOKIE_WAIT", 3),
        (out(ECHO, DATA, version=version), EST, "COOKIE_ECHOED", 3),
        (back(ACK, SACK, version=version), REPLY, "ESTABLISHED", 210),
        (out(DATA, version=version), EST, "ESTABLISHED", 210),
        (back(BEAT, version=version), REPLY, "ESTABLISHED", 210),
        (out(BEAT_ACK, version=version), EST, "ESTABLISHED", 210),
        (out(SHUTDOWN, version=version), EST, "SHUTDOWN_SENT", 3),
        (back(SHUTDOWN_ACK, version=version), REPLY, "SHUTDOWN_ACK_SENT", 3),
        (out(COMPLETE, version=version), EST, "CLOSED", 10),
    )
    for i, (sent, said, reached, lasts) in enumerate(steps):
        assert ct.send(sent, NEXT if i else COMMIT).state == said, i
        assert state(ct) == reached, i
        assert lasts - 2 < seconds_left(ct) <= lasts, i
    assert tags(ct) == (SERVER, CLIENT)
    assert only(ct).flags & lib.OVN_CONN_CLOSING


def test_the_server_may_end_it(ct: Tracked) -> None:
    associate(ct)
    assert ct.send(back(SHUTDOWN)).state == REPLY
    assert state(ct) == "SHUTDOWN_RECD"
    assert ct.send(out(SHUTDOWN_ACK)).state == EST
    assert ct.send(back(COMPLETE)).state == REPLY
    assert state(ct) == "CLOSED"


@pytest.mark.parametrize("reflected", [0, 1])
def test_an_abort_needs_the_right_tag(ct: Tracked, reflected: int) -> None:
    """With bit T the tag is the one that the other side's packets carry."""
    associate(ct)
    abort = SCTPChunkAbort(TCB=reflected)
    right, wrong = (CLIENT, SERVER) if not reflected else (SERVER, CLIENT)
    assert ct.send(back(abort, tag=wrong)).state == INVALID
    assert state(ct) == "ESTABLISHED"
    assert ct.send(back(abort, tag=right)).state == REPLY
    assert state(ct) == "CLOSED"


WRONG: Mapping[str, Packet] = {
    "data": DATA,
    "acknowledgement": SACK,
    "cookie": ECHO,
    "shutdown": SHUTDOWN,
    "complete": COMPLETE,
    "error": SCTPChunkError(),
}


@pytest.mark.parametrize("what", WRONG)
def test_another_tag_is_invalid(ct: Tracked, what: str) -> None:
    associate(ct)
    before = only(ct)
    assert ct.send(out(WRONG[what], tag=SERVER ^ 1)).state == INVALID
    assert only(ct) == before


@pytest.mark.parametrize(
    ("chunks", "tag"),
    [
        ((DATA,), SERVER),
        ((ACK,), SERVER),
        ((ECHO,), SERVER),
        ((COMPLETE,), SERVER),
        ((SCTPChunkAbort(),), SERVER),
        ((INIT,), 1),
        ((INIT_ACK,), SERVER),
        ((), SERVER),
    ],
    ids=["data", "ack", "cookie", "complete", "abort", "tagged init", "init ack", "nothing"],
)
def test_nothing_begins_in_the_middle(ct: Tracked, chunks: tuple[Packet, ...], tag: int) -> None:
    assert ct.send(out(*chunks, tag=tag), COMMIT).state == INVALID
    assert ct.connections() == []


@pytest.mark.parametrize(
    "chunks",
    [(INIT, DATA), (DATA, INIT), (DATA, ECHO), (COMPLETE, DATA), (INIT_ACK, DATA), (DATA, ACK)],
    ids=str,
)
def test_some_chunks_are_alone_or_first(ct: Tracked, chunks: tuple[Packet, ...]) -> None:
    associate(ct)
    assert ct.send(out(*chunks, tag=0 if INIT in chunks else SERVER)).state == INVALID
    assert state(ct) == "ESTABLISHED"


def test_heartbeats_begin_a_second_path(ct: Tracked) -> None:
    """A multi-homed peer's other addresses see no INIT."""
    assert ct.send(out(BEAT), COMMIT).state == NEW
    assert (state(ct), tags(ct)) == ("HEARTBEAT_SENT", (SERVER, 0))
    assert 28 < seconds_left(ct) <= 30
    assert ct.send(back(DATA)).state == INVALID
    assert ct.send(back(BEAT_ACK)).state == REPLY
    assert (state(ct), tags(ct)) == ("ESTABLISHED", (SERVER, CLIENT))
    assert ct.send(out(DATA)).state == EST


def test_a_peer_that_began_again_is_known_by_its_heartbeat(ct: Tracked) -> None:
    associate(ct)
    assert ct.send(out(BEAT, tag=333)).state == EST  # passes, and waits for the answer
    assert tags(ct) == (SERVER, CLIENT)
    assert ct.send(out(BEAT_ACK, tag=333)).state == INVALID
    assert ct.send(back(BEAT_ACK, tag=444)).state == REPLY
    assert tags(ct) == (0, 444)
    assert ct.send(out(BEAT, tag=333)).state == EST
    assert tags(ct) == (333, 444)
    assert ct.send(out(DATA, tag=333)).state == EST
    assert ct.send(out(DATA)).state == INVALID


def test_an_init_sent_again_gains_no_time(ct: Tracked) -> None:
    ct.send(out(INIT, tag=0), COMMIT)
    before = only(ct).expires
    assert ct.send(out(INIT, tag=0)).state == NEW
    assert only(ct).expires == before


def test_an_init_ack_with_another_tag_is_invalid(ct: Tracked) -> None:
    """Of a server that was asked before: its tag was learnt."""
    associate(ct)
    assert ct.send(back(SCTPChunkInitAck(init_tag=333))).state == INVALID
    assert tags(ct) == (SERVER, CLIENT)


def test_an_association_that_failed_may_be_tried_again(ct: Tracked) -> None:
    ct.send(out(INIT, tag=0), COMMIT)
    assert ct.send(back(SCTPChunkAbort())).state == REPLY
    assert state(ct) == "CLOSED"
    assert ct.send(out(SCTPChunkInit(init_tag=5), tag=0)).state == EST
    assert ct.send(back(SCTPChunkInitAck(init_tag=6), tag=5)).state == REPLY
    assert (state(ct), tags(ct)) == ("COOKIE_WAIT", (6, 5))
    assert not only(ct).flags & lib.OVN_CONN_CLOSING


def test_chunks_of_chance_hurt_nobody(ct: Tracked) -> None:
    """Whatever is behind the header, states stay states and the tags are asked for."""
    rng = random.Random(0)
    associate(ct)
    for _ in range(300):
        junk = rng.randbytes(4 * rng.randrange(1, 40))
        sctp = SCTP(sport=1000, dport=80, tag=rng.getrandbits(32))
        said = ct.send(packet(4, *ADDRESSES[4], sctp, ()) / junk).state
        assert said in (EST, INVALID)
        if only(ct).peers[0].state != lib.OVN_SCTPS_ESTABLISHED:
            ct.forget()
            associate(ct)
