# SPDX-License-Identifier: Apache-2.0
"""One BFD session: the state machine of RFC 5880, asynchronous mode, without I/O.

slowpath.bfd carries the packets.  Time is an argument, in seconds.  As ovn-controller
does it, a session that is down sends at its own rate, not at the RFC's one a second.
One that was up under another process is taken up where its peer still has it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath.bfd_message import DEMAND, FINAL, POLL, Diag, Message, State
from ovn_bpf_controller.slowpath.duty import FOREVER

_MICRO: Final = 1e-6
_FASTEST: Final = 1000  # microseconds between packets, whatever is asked for
PATIENCE: Final = 3.0  # seconds that a peer has to say that it is still up


@dataclass(frozen=True, slots=True)
class Terms:
    """What this side offers.  min_tx, min_rx: microseconds."""

    min_tx: int
    min_rx: int
    mult: int


class Session:
    """state: as it is; a session begins in DOWN, and sends at once."""

    def __init__(
        self,
        disc: int,
        terms: Terms,
        now: float,
        chance: Callable[[], float] = lambda: random.random(),
        was_up: bool = False,
    ) -> None:
        """chance: uniform in [0, 1), for the jitter.  was_up: under another process, or on
        another chassis, that has not taken leave: nothing is sent before the peer has
        spoken, since it would take a Down for the end of what it has.
        """
        self._disc = disc
        self._terms = terms
        self._chance = chance
        self.state = State.DOWN
        self._diag = Diag.NONE
        self._peer = 0
        self._peer_state = State.DOWN
        self._peer_min_rx = 1  # RFC 5880, section 6.8.1
        self._demand = False
        self._polling = False
        self._expires = FOREVER
        self._send_at = now + PATIENCE if was_up else now
        self._resumes = was_up

    @property
    def due(self) -> float:
        """When run() is wanted."""
        silent = self.state is State.ADMIN_DOWN or self._silent
        return min(FOREVER if silent else self._send_at, self._expires)

    @property
    def _silent(self) -> bool:
        """Whether the peer wants no packets by the clock (section 6.8.7)."""
        if self._peer_min_rx == 0:
            return True
        up = self.state is State.UP and self._peer_state is State.UP
        return self._demand and up and not self._polling

    def set_terms(self, terms: Terms) -> None:
        """Offer others; the peer is asked to confirm (section 6.8.3)."""
        if terms != self._terms:
            self._terms = terms
            self._polling = self.state is State.UP

    def administer(self, up: bool, now: float) -> None:
        """Whether the operator wants the session at all."""
        if up and self.state is State.ADMIN_DOWN:
            self._enter(State.DOWN, Diag.NONE)
            self._send_at = now
        elif not up and self.state is not State.ADMIN_DOWN:
            self._enter(State.ADMIN_DOWN, Diag.ADMIN_DOWN)
            self._expires = FOREVER
            self._peer = 0
            self._resumes = False

    def run(self, now: float) -> Message | None:
        """What to send by now; a peer that has said nothing for too long is down."""
        if now >= self._expires:
            self._expires = FOREVER
            self._peer = 0
            if self.state is not State.DOWN:
                self._enter(State.DOWN, Diag.EXPIRED)
        if self.state is State.ADMIN_DOWN or self._silent or now < self._send_at:
            return None
        self._resumes = False
        self._send_at = now + self._interval()
        return self._message(POLL if self._polling else 0)

    def receive(self, message: Message, now: float) -> Message | None:
        """A packet of the peer's (section 6.8.6); returns the answer to a poll."""
        if self.state is State.ADMIN_DOWN:
            return None
        self._peer = message.mine
        self._peer_state = message.state
        self._peer_min_rx = message.min_rx
        self._demand = bool(message.flags & DEMAND)
        if message.flags & FINAL:
            self._polling = False
        patience = message.mult * max(message.min_tx, self._terms.min_rx) * _MICRO
        self._expires = now + patience
        if self._resumes:
            self._resumes = False
            self._send_at = now
            if message.state is State.UP and message.yours == self._disc:
                self._enter(State.UP, Diag.NONE)
                self._polling = True  # our terms may be others now
        self._advance(message.state)
        self._send_at = min(self._send_at, now + self._longest())
        return self._message(FINAL) if message.flags & POLL else None

    def _advance(self, peer: State) -> None:
        if peer is State.ADMIN_DOWN:
            if self.state is not State.DOWN:
                self._enter(State.DOWN, Diag.NEIGHBOUR)
        elif self.state is State.DOWN and peer is State.DOWN:
            self._enter(State.INIT, self._diag)
        elif self.state is State.DOWN and peer is State.INIT:
            self._enter(State.UP, Diag.NONE)
        elif self.state is State.INIT and peer in (State.INIT, State.UP):
            self._enter(State.UP, Diag.NONE)
        elif self.state is State.UP and peer is State.DOWN:
            self._enter(State.DOWN, Diag.NEIGHBOUR)

    def _enter(self, state: State, diag: Diag) -> None:
        self.state = state
        self._diag = diag
        if state in (State.DOWN, State.ADMIN_DOWN):
            self._demand = self._polling = False
            self._peer_min_rx = self._peer_min_rx or 1

    def _longest(self) -> float:
        return max(self._terms.min_tx, self._peer_min_rx, _FASTEST) * _MICRO

    def _interval(self) -> float:
        """With jitter: three quarters or more, and with a multiplier of 1 nine tenths
        at most, so that one packet in time is sure (section 6.8.7)."""
        most = 0.9 if self._terms.mult == 1 else 1.0
        return self._longest() * (most - (most - 0.75) * self._chance())

    def _message(self, flags: int) -> Message:
        terms = self._terms
        return Message(
            self.state,
            terms.mult,
            self._disc,
            self._peer,
            terms.min_tx,
            terms.min_rx,
            self._diag,
            flags,
        )
