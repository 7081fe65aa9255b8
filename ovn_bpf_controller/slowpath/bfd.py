# SPDX-License-Identifier: Apache-2.0
"""handle_bfd_msg: BFD sessions for routes, with the peers that BFD rows name.

Each packet begins in the ingress pipeline of the router port that it is from, which
finds the way to the peer.  The state machine is slowpath.bfd_session's; what the rows
say comes from duties.bfd, and what to write there goes back.  RFC 5880 and 5881;
behaviour: ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath import compose
from ovn_bpf_controller.slowpath.agenda import Agenda
from ovn_bpf_controller.slowpath.bfd_message import PORT, Message, State, parse
from ovn_bpf_controller.slowpath.bfd_session import PATIENCE, Session, Terms
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.frames import packet
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_BROADCAST: Final = b"\xff" * 6
_TTL: Final = 255  # RFC 5881, section 5; the router's flows take one off
_UDP: Final = 8


@dataclass(frozen=True, slots=True)
class Wish:
    """A BFD row.  dp, port: keys of the router port.  wanted: not administratively down.
    up: so says the row, of a session that may be another process's.
    """

    dp: int
    port: int
    mac: bytes
    src: bytes
    dst: bytes
    sport: int
    disc: int
    terms: Terms
    wanted: bool
    up: bool

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it another session."""
        return (self.dp, self.port, self.src, self.dst, self.sport, self.disc)


@dataclass(slots=True)
class _Running:
    wish: Wish
    session: Session
    silent_until: float  # says nothing of itself to the agent: after a restart it may be up
    told: State = State.DOWN


def heard(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Wish]:
    """duties.bfd's "bfd": row uuid -> Wish."""
    return {
        uuid: Wish(
            int(row["dp"]),
            int(row["port"]),
            bytes.fromhex(row["mac"]),
            bytes.fromhex(row["src"]),
            bytes.fromhex(row["dst"]),
            int(row["sport"]),
            int(row["disc"]),
            Terms(1000 * int(row["min_tx"]), 1000 * int(row["min_rx"]), int(row["mult"])),
            bool(row["wanted"]),
            bool(row["up"]),
        )
        for uuid, row in told.items()
    }


class Bfd(Duty):
    """All sessions of this chassis, by the uuid of their rows."""

    name = "bfd"

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, _Running] = {}
        self._by_peer: dict[tuple[int, bytes, int], str] = {}
        self._agenda = Agenda()
        self._heard: Mapping[str, Wish] = {}

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return {lib.OVN_PUNT_BFD: self.receive}

    def hears(self) -> Mapping[str, Any]:
        """See Duty."""
        return {"bfd": heard}

    def learnt(self, known: Knowledge) -> None:
        """Sessions as the rows are now."""
        wishes: Mapping[str, Wish] = known.facts.get("bfd", {})
        if wishes is self._heard:
            return
        self._heard = wishes
        now = time.monotonic()
        for uuid in self._sessions.keys() - wishes.keys():
            del self._sessions[uuid]
            self._agenda.set(uuid, FOREVER)
            self.news = True
        for uuid, wish in wishes.items():
            running = self._sessions.get(uuid)
            if running is None or running.wish.identity != wish.identity:
                session = Session(wish.disc, wish.terms, now, was_up=wish.up)
                running = self._sessions[uuid] = _Running(wish, session, now + PATIENCE)
            running.wish = wish
            running.session.set_terms(wish.terms)
            running.session.administer(wish.wanted, now)
            self._note(uuid, running)
        self._by_peer = {
            (wish.dp, wish.dst, disc): uuid
            for uuid, wish in wishes.items()
            for disc in (0, wish.disc)
        }
        self.due = self._agenda.due

    def receive(
        self, punt: Punt, _argument: Mapping[str, Any], _known: Knowledge
    ) -> Iterator[Punt]:
        """See service.Handler: the answer, if the peer asks for one."""
        found = packet(punt.frame)
        if found.proto != compose.UDP or len(found.payload) < _UDP:
            raise RejectedError("BFD that is no UDP datagram")
        length = int.from_bytes(found.payload[4:6], "big")
        if int.from_bytes(found.payload[2:4], "big") != PORT:
            raise RejectedError("BFD for another port")
        message = parse(found.payload[_UDP : max(length, _UDP)])
        # By our discriminator, and by the address when the peer does not know it yet.
        uuid = self._by_peer.get((punt.words[lib.OW_DP], found.src, message.yours))
        if uuid is None:
            raise RejectedError("BFD of no session here")
        running = self._sessions[uuid]
        answer = running.session.receive(message, time.monotonic())
        self._note(uuid, running)
        self.due = self._agenda.due
        if answer is not None:
            yield _sent(running.wish, answer)

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        for uuid in self._agenda.take(now):
            running = self._sessions[uuid]
            message = running.session.run(now)
            self._note(uuid, running, now)
            if message is not None:
                yield _sent(running.wish, message)
        self.due = self._agenda.due

    def reports(self) -> Mapping[str, Any]:
        """bfd: row uuid -> word for BFD.status, of those that have something to say."""
        return {
            "bfd": {
                uuid: running.told.text
                for uuid, running in self._sessions.items()
                if not running.silent_until and running.told is not State.ADMIN_DOWN
            }
        }

    def _note(self, uuid: str, running: _Running, now: float = 0.0) -> None:
        """Report a state that is new, or the first one when silence has lasted; plan on."""
        state = running.session.state
        if state is not running.told or 0 < running.silent_until <= now:
            running.told = state
            running.silent_until = 0.0
            self.news = True
        self._agenda.set(uuid, min(running.session.due, running.silent_until or FOREVER))


def _sent(wish: Wish, message: Message) -> Punt:
    addresses = (wish.src, wish.dst)
    udp = compose.datagram(addresses, (wish.sport, PORT), message.pack())
    frame = compose.frame((wish.mac, _BROADCAST), addresses, compose.UDP, _TTL, udp)
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT] = wish.dp, wish.port
    return Punt(frame, tuple(words))
