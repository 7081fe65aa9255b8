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
from ovn_bpf_controller.slowpath.bfd_message import PORT, Message, State, parse
from ovn_bpf_controller.slowpath.bfd_session import Session, Terms
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.frames import packet
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_BROADCAST: Final = b"\xff" * 6
_TTL: Final = 255  # RFC 5881, section 5; the router's flows take one off
_UDP: Final = 8
# A session that is new says nothing of itself for so long: after a restart its peer
# was up, and will be soon.
_SILENCE: Final = 3.0


@dataclass(frozen=True, slots=True)
class Wish:
    """A BFD row.  dp, port: keys of the router port.  wanted: not administratively down."""

    dp: int
    port: int
    mac: bytes
    src: bytes
    dst: bytes
    sport: int
    disc: int
    terms: Terms
    wanted: bool

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it another session."""
        return (self.dp, self.port, self.src, self.dst, self.sport, self.disc)


@dataclass(slots=True)
class _Running:
    wish: Wish
    session: Session
    silent_until: float
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
        )
        for uuid, row in told.items()
    }


class Bfd(Duty):
    """All sessions of this chassis, by the uuid of their rows."""

    name = "bfd"

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, _Running] = {}
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
            self.news = True
        for uuid, wish in wishes.items():
            running = self._sessions.get(uuid)
            if running is None or running.wish.identity != wish.identity:
                session = Session(wish.disc, wish.terms, now)
                running = self._sessions[uuid] = _Running(wish, session, now + _SILENCE)
            running.wish = wish
            running.session.set_terms(wish.terms)
            running.session.administer(wish.wanted, now)
            self._note(running)
        self._plan()

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
        running = self._of(punt, found.src, message.yours)
        if running is None:
            raise RejectedError("BFD of no session here")
        answer = running.session.receive(message, time.monotonic())
        self._note(running)
        self._plan()
        if answer is not None:
            yield _sent(running.wish, answer)

    def _of(self, punt: Punt, peer: bytes, disc: int) -> _Running | None:
        """By our discriminator; by the addresses when the peer does not know it yet."""
        dp = punt.words[lib.OW_DP]
        for running in self._sessions.values():
            wish = running.wish
            if (wish.dp, wish.dst) == (dp, peer) and disc in (wish.disc, 0):
                return running
        return None

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        for running in list(self._sessions.values()):
            message = running.session.run(now)
            self._note(running, now)
            if message is not None:
                yield _sent(running.wish, message)
        self._plan()

    def reports(self) -> Mapping[str, Any]:
        """bfd: row uuid -> word for BFD.status, of those that have something to say."""
        return {
            "bfd": {
                uuid: running.told.text
                for uuid, running in self._sessions.items()
                if not running.silent_until and running.told is not State.ADMIN_DOWN
            }
        }

    def _note(self, running: _Running, now: float = 0.0) -> None:
        """Report a state that is new, or the first one when silence has lasted."""
        state = running.session.state
        if state is running.told and not (running.silent_until and now >= running.silent_until):
            return
        running.told = state
        running.silent_until = 0.0
        self.news = True

    def _plan(self) -> None:
        due = [running.session.due for running in self._sessions.values()]
        due += [each.silent_until for each in self._sessions.values() if each.silent_until]
        self.due = min(due, default=FOREVER)


def _sent(wish: Wish, message: Message) -> Punt:
    addresses = (wish.src, wish.dst)
    udp = compose.datagram(addresses, (wish.sport, PORT), message.pack())
    frame = compose.frame((wish.mac, _BROADCAST), addresses, compose.UDP, _TTL, udp)
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT] = wish.dp, wish.port
    return Punt(frame, tuple(words))
