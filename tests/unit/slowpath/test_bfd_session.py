# SPDX-License-Identifier: Apache-2.0
"""BFD sessions: RFC 5880's state machine, alone and with a peer over a lossy link."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.contrib.bfd import BFD

from ovn_bpf_controller.slowpath import bfd_message
from ovn_bpf_controller.slowpath.bfd_message import DEMAND, FINAL, POLL, Message, State
from ovn_bpf_controller.slowpath.bfd_session import PATIENCE, Session, Terms
from ovn_bpf_controller.slowpath.duty import RejectedError

TERMS = Terms(100_000, 100_000, 3)
TICK = 0.005


def said(state: State, flags: int = 0, min_rx: int = 100_000) -> Message:
    return Message(state, 3, 7, 9, 100_000, min_rx, flags=flags)


def in_state(state: State) -> Session:
    """A session of that state at time 0, whose peer has been heard."""
    session = Session(9, TERMS, 0.0)
    if state is State.ADMIN_DOWN:
        session.administer(False, 0.0)
    if state in (State.INIT, State.UP):
        session.receive(said(State.DOWN), 0.0)
    if state is State.UP:
        session.receive(said(State.INIT), 0.0)
    assert session.state is state
    return session


# RFC 5880, section 6.8.6: rows: ours; columns: the peer's AdminDown, Down, Init, Up.
MACHINE = {
    State.DOWN: (State.DOWN, State.INIT, State.UP, State.DOWN),
    State.INIT: (State.DOWN, State.INIT, State.UP, State.UP),
    State.UP: (State.DOWN, State.DOWN, State.UP, State.UP),
    State.ADMIN_DOWN: (State.ADMIN_DOWN,) * 4,
}


@pytest.mark.parametrize("ours", State)
@pytest.mark.parametrize("theirs", State)
def test_states_follow_the_rfc(ours: State, theirs: State) -> None:
    session = in_state(ours)
    session.receive(said(theirs), 0.0)
    assert session.state is MACHINE[ours][theirs]


def test_a_peer_that_is_silent_is_down_after_its_detection_time() -> None:
    session = in_state(State.UP)
    states = []
    for now in (0.299, 0.301):
        message = session.run(now)
        states.append(session.state)
    assert states == [State.UP, State.DOWN]
    later = message or session.run(1.0)
    assert later is not None
    assert (later.state, later.diag, later.yours) == (State.DOWN, bfd_message.Diag.EXPIRED, 0)


def test_a_poll_is_answered_at_once() -> None:
    answer = in_state(State.UP).receive(said(State.UP, POLL), 0.0)
    assert answer is not None and answer.flags == FINAL
    assert in_state(State.UP).receive(said(State.UP), 0.0) is None


def test_other_terms_are_polled_for_until_the_peer_confirms() -> None:
    session = in_state(State.UP)
    session.set_terms(Terms(200_000, 100_000, 3))
    message = session.run(0.2)
    assert message is not None and (message.flags, message.min_tx) == (POLL, 200_000)
    session.receive(said(State.UP, FINAL), 0.2)
    message = session.run(0.45)
    assert message is not None and message.flags == 0


def test_a_peer_may_want_no_packets() -> None:
    for message in (said(State.UP, DEMAND), said(State.UP, min_rx=0)):
        session = in_state(State.UP)
        session.run(0.1)
        session.receive(message, 0.1)
        assert session.run(0.3) is None
        assert session.due > 0.3


def resuming() -> Session:
    return Session(9, TERMS, 0.0, was_up=True)


def test_a_session_that_was_up_is_taken_up_where_its_peer_still_has_it() -> None:
    """Nothing is sent before, and what is then is no Down."""
    session = resuming()
    assert session.run(1.0) is None
    session.receive(said(State.UP), 1.0)
    message = session.run(1.0)
    assert message is not None
    assert (message.state, message.yours, message.flags) == (State.UP, 7, POLL)


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        (said(State.DOWN), State.INIT),
        (said(State.INIT), State.UP),
        (Message(State.UP, 3, 7, 8, 100_000, 100_000), State.DOWN),
    ],
)
def test_a_peer_that_has_noticed_begins_anew(message: Message, wanted: State) -> None:
    session = resuming()
    session.receive(message, 1.0)
    assert session.state is wanted
    session.receive(said(State.UP), 1.1)
    assert session.state is (State.DOWN if wanted is State.DOWN else State.UP)


def test_a_peer_that_says_nothing_is_down() -> None:
    session = resuming()
    assert session.run(PATIENCE - 0.01) is None
    message = session.run(PATIENCE)
    assert message is not None and message.state is State.DOWN
    session.receive(said(State.UP), PATIENCE + 0.1)
    assert session.state is State.DOWN


def test_what_is_administered_meanwhile_is_not_taken_up() -> None:
    session = resuming()
    session.administer(False, 0.5)
    session.administer(True, 0.6)
    session.receive(said(State.UP), 1.0)
    assert session.state is State.DOWN


@given(
    min_tx=st.integers(1, 5_000_000),
    min_rx=st.integers(1, 5_000_000),
    mult=st.integers(1, 255),
    seed=st.integers(0, 1 << 32),
)
def test_the_jitter_is_within_the_rfc_s_bounds(
    min_tx: int, min_rx: int, mult: int, seed: int
) -> None:
    session = Session(9, Terms(min_tx, 1000, mult), 0.0, random.Random(seed).random)
    session.receive(Message(State.DOWN, 1, 7, 9, 10_000_000, min_rx), 0.0)
    assert session.run(0.0) is not None
    gap = min(session.due, 10.0)
    longest = max(min_tx, min_rx, 1000) * 1e-6
    assert 0.75 * longest - 1e-9 <= gap <= (0.9 if mult == 1 else 1.0) * longest + 1e-9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), loss=st.floats(0, 0.3), cut=st.booleans())
def test_two_sessions_agree_over_any_link(seed: int, loss: float, cut: bool) -> None:
    """However much is lost they end up when nothing is lost any more, and both notice
    within the detection time when all is."""
    rng = random.Random(seed)
    ends = [Session(n, TERMS, rng.random(), rng.random) for n in (1, 2)]
    now, lossy, whole = 0.0, 3.0, 6.0
    while now < whole:
        now += TICK
        exchange(ends, now, (lambda: rng.random() < loss) if now < lossy else (lambda: False))
    assert [end.state for end in ends] == [State.UP, State.UP]
    if not cut:
        return
    while now < whole + 0.31:
        now += TICK
        exchange(ends, now, lambda: True)
    assert [end.state for end in ends] == [State.DOWN, State.DOWN]


def exchange(ends: list[Session], now: float, lost: object) -> None:
    """What is due crosses the link, unless it is lost."""
    assert callable(lost)
    for number, end in enumerate(ends):
        message = end.run(now)
        while message is not None and not lost():
            number = 1 - number
            wire = bfd_message.parse(message.pack())
            assert wire == message
            message = ends[number].receive(wire, now)


def test_messages_are_scapy_s() -> None:
    message = Message(State.UP, 3, 0xDEADBEEF, 5, 1000, 2000, diag=3, flags=POLL)
    read = BFD(message.pack())
    assert (read.version, read.diag, read.sta, str(read.flags)) == (1, 3, 3, "P")
    assert (read.detect_mult, read.len, read.my_discriminator) == (3, 24, 0xDEADBEEF)
    assert (read.your_discriminator, read.min_tx_interval, read.min_rx_interval) == (5, 1000, 2000)
    assert bfd_message.parse(bytes(read)) == message


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ((0, 0x40), "BFD of another version"),
        ((1, 0xC4), "BFD with authentication"),
        ((1, 0xC1), "BFD multipoint"),
        ((1, 0xF0), "BFD poll and final at once"),
        ((2, 0), "BFD without multiplier or discriminator"),
        ((3, 23), "BFD length is wrong"),
        ((3, 25), "BFD length is wrong"),
    ],
)
def test_what_the_rfc_discards_is_rejected(change: tuple[int, int], why: str) -> None:
    data = bytearray(said(State.UP).pack())
    data[change[0]] = change[1]
    with pytest.raises(RejectedError, match=why):
        bfd_message.parse(bytes(data))
    with pytest.raises(RejectedError, match="truncated"):
        bfd_message.parse(bytes(data[:23]))


def test_only_a_peer_that_is_down_may_not_know_us() -> None:
    for state in State:
        data = Message(state, 3, 7, 0, 1, 1).pack()
        if state in (State.DOWN, State.ADMIN_DOWN):
            assert bfd_message.parse(data).yours == 0
        else:
            with pytest.raises(RejectedError, match="discriminator of ours"):
                bfd_message.parse(data)
