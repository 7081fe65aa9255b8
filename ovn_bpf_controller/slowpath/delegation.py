# SPDX-License-Identifier: Apache-2.0
"""IPv6 prefix delegation: asks for a prefix for each router port, and keeps it.

A client for each port goes the way of RFC 8415, section 18.2: solicit, request, renew
at T1, rebind at T2, and solicit again when the prefix has expired.  It asks again at
random times within three seconds, as ovn-controller does, whose pinctrl.c says what
else there is to it.  duties.delegation tells who asks, and writes what was got.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath import delegation_messages as wire
from ovn_bpf_controller.slowpath.delegation_messages import Offer, Prefix
from ovn_bpf_controller.slowpath.dhcpv6_options import FOREVER as NEVER_ENDS
from ovn_bpf_controller.slowpath.dhcpv6_options import link_layer_duid
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_NOTHING: Final[Mapping[str, Any]] = {}
_AGAIN: Final = (1.0, 3.0)  # seconds until a message is sent again
_BOUND: Final = 0  # the state in which nothing is sent; others are what they send


@dataclass(slots=True)
class _Client:
    """A router port that has a prefix or wants one.

    state: the message that it sends, or _BOUND.  renew_at, rebind_at, end_at: times of
    what it has got.  got: that, as it is reported.
    """

    dp: int
    port: int
    mac: bytes
    source: bytes
    duid: bytes
    iaid: int = 0
    prefix: Prefix | None = None
    state: int = wire.SOLICIT
    transaction: bytes = b""
    server: bytes = b""
    renew_at: float = FOREVER
    rebind_at: float = FOREVER
    end_at: float = FOREVER
    due: float = 0.0
    got: str = ""

    @property
    def identity(self) -> tuple[object, ...]:
        """Another one begins anew."""
        return self.dp, self.port, self.mac, self.source, self.duid

    def send(self, now: float) -> Punt:
        """The state's message, into the pipeline that the router port's peer begins."""
        if not self.transaction:
            self.transaction = os.urandom(3)
        self.due = now + random.uniform(*_AGAIN)
        server = self.server if self.state in (wire.REQUEST, wire.RENEW) else b""
        said = wire.message(self.state, self.transaction, self.duid, server, self.iaid, self.prefix)
        words = [0] * lib.OVN_WORDS
        words[lib.OW_DP], words[lib.OW_INPORT] = self.dp, self.port
        return Punt(wire.frame(self.mac, self.source, said), tuple(words))

    def step(self, now: float) -> None:
        """Into the state that the time asks for; each begins a new transaction."""
        state = self.state
        if state == wire.REQUEST:  # not answered: maybe another server does
            state = wire.SOLICIT
        elif now >= self.end_at:
            state = wire.SOLICIT
        elif now >= self.rebind_at:
            state = wire.REBIND
        elif now >= self.renew_at:
            state = wire.RENEW
        if state != self.state:
            self.enter(state)

    def enter(self, state: int) -> None:
        """Another state, in which nothing has been said yet."""
        self.state = state
        self.transaction = b""
        if state == wire.SOLICIT:
            self.renew_at = self.rebind_at = self.end_at = FOREVER
            self.server = b""

    def bind(self, offer: Offer, prefix: Prefix, now: float) -> None:
        """It has a prefix; without times of the server's by RFC 8415, section 14.2."""
        self.enter(_BOUND)
        self.prefix, self.server = prefix, offer.server
        self.got = f"{self.iaid}:{prefix}"
        self.renew_at = _after(now, offer.t1 or _part(offer.preferred, 0.5))
        self.rebind_at = _after(now, offer.t2 or _part(offer.preferred, 0.8))
        self.end_at = _after(now, offer.valid)
        self.due = min(self.renew_at, self.rebind_at, self.end_at)


def _part(seconds: int, share: float) -> int:
    return seconds if seconds == NEVER_ENDS else int(seconds * share)


def _after(now: float, seconds: int) -> float:
    return FOREVER if seconds == NEVER_ENDS else now + seconds


class Delegation(Duty):
    """All clients."""

    name = "prefix-delegation"

    def __init__(self) -> None:
        super().__init__()
        self._told = _NOTHING
        self._clients: dict[str, _Client] = {}

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return {lib.OVN_PUNT_DHCPV6_REPLY: self.reply}

    def hears(self) -> Mapping[str, Callable[[Any], Any]]:
        """See Duty."""
        return {"delegations": lambda told: {name: _client(said) for name, said in told.items()}}

    def learnt(self, known: Knowledge) -> None:
        """Who asks already goes on."""
        told = known.facts.get("delegations", _NOTHING)
        if told is self._told:
            return
        self._told = told
        now = time.monotonic()
        clients: dict[str, _Client] = {}
        for name, new in told.items():
            before = self._clients.get(name)
            if before is not None and before.identity == new.identity:
                clients[name] = before
                continue
            new.due = now + random.uniform(0, _AGAIN[1])
            clients[name] = new
        self._clients = clients
        self.news = True
        self._schedule()

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        for client in [each for each in self._clients.values() if each.due <= now]:
            client.step(now)
            if client.state == wire.SOLICIT and client.prefix is None and not client.transaction:
                client.iaid = self._unused()
            yield client.send(now)
        self._schedule()

    def reply(self, punt: Punt, _argument: Mapping[str, Any], _known: Knowledge) -> Iterator[Punt]:
        """A server's message: an advertisement is taken up, a reply ends the exchange."""
        offer = wire.read(punt.frame)
        client = self._asked(offer)
        if client is None:
            raise RejectedError("DHCPv6 reply that nobody waits for")
        now = time.monotonic()
        if offer.prefix is None:
            if offer.kind == wire.REPLY and offer.status == wire.NO_BINDING:
                client.enter(wire.SOLICIT)
            raise RejectedError("DHCPv6 server that delegates no prefix")
        if offer.kind == wire.ADVERTISE:
            client.enter(wire.REQUEST)
            client.server, client.prefix = offer.server, offer.prefix
            yield client.send(now)
        else:
            client.bind(offer, offer.prefix, now)
            self.news = True
        self._schedule()

    def reports(self) -> Mapping[str, Any]:
        """See Duty: as Port_Binding.options:ipv6_ra_pd_list has them."""
        clients = self._clients.items()
        return {"delegated": {name: client.got for name, client in clients if client.got}}

    @property
    def waiting(self) -> int:
        """Ports without a prefix."""
        return sum(
            client.state in (wire.SOLICIT, wire.REQUEST) for client in self._clients.values()
        )

    def _asked(self, offer: Offer) -> _Client | None:
        expected = (wire.SOLICIT,) if offer.kind == wire.ADVERTISE else _ANSWERED
        for client in self._clients.values():
            if (
                client.state in expected
                and client.transaction == offer.transaction
                and (client.iaid, client.duid) == (offer.iaid, offer.client)
                and (client.mac, client.source) == (offer.mac, offer.address)
            ):
                return client
        return None

    def _unused(self) -> int:
        """An IAID of 16 bits, as ovn-controller's, that no other client has."""
        taken = {client.iaid for client in self._clients.values()}
        while (iaid := random.randrange(1, 1 << 16)) in taken:
            continue
        return iaid

    def _schedule(self) -> None:
        self.due = min((client.due for client in self._clients.values()), default=FOREVER)


_ANSWERED: Final = (wire.REQUEST, wire.RENEW, wire.REBIND)


def _client(said: Mapping[str, Any]) -> _Client:
    mac, source = int(said["mac"]).to_bytes(6, "big"), int(said["source"]).to_bytes(16, "big")
    duid = link_layer_duid(int(said["client"]).to_bytes(6, "big"))
    client = _Client(int(said["dp"]), int(said["port"]), mac, source, duid)
    if said["before"] is not None:
        iaid, address, length = said["before"]
        client.iaid = int(iaid)
        client.prefix = Prefix(int(address).to_bytes(16, "big"), int(length))
    return client
