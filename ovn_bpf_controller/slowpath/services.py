# SPDX-License-Identifier: Apache-2.0
"""Service monitors: probes of services at ports here, and handle_svc_check's answers.

A probe goes to the egress pipeline of the service's port and nowhere else.  TCP is
asked to open a connection and refuses what it gets; of UDP only an ICMP error is heard.
duties.services says what to watch and writes what comes of it.  Behaviour:
ovn-controller's pinctrl.c.
"""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass, field
from ovn_bpf_controller.slowpath import compose
from ovn_bpf_controller.slowpath.agenda import Agenda
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, Handler, RejectedError
from ovn_bpf_controller.slowpath.frames import Packet, packet
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.probing import Pace, Watch

_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_WINDOW: Final = 65160
_TTL, _ICMP_TTL = 63, 255
_PROTO: Final = {"tcp": compose.TCP, "udp": compose.UDP, "icmp": compose.ICMP}
# (request, reply) and (type, code) of "port unreachable", by the protocol.
_ECHO: Final = {compose.ICMP: (8, 0), compose.ICMP6: (128, 129)}
_UNREACHABLE: Final = {compose.ICMP: (3, 3), compose.ICMP6: (1, 4)}

Key = tuple[int, int, bytes, int, int]
"""Datapath, port, the service's address, protocol, its port."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to probe.  out: key of the port that the probe leaves by."""

    key: Key
    out: int
    macs: tuple[bytes, bytes]
    addresses: tuple[bytes, bytes]
    pace: Pace


@dataclass(slots=True)
class _Service:
    target: Target
    watch: Watch
    sport: int = field(default_factory=lambda: random.randint(1024, 65535))
    number: int = 0  # TCP's sequence, ICMP's identifier and sequence


def heard(told: Mapping[str, Mapping[str, Any]]) -> dict[str, Target]:
    """duties.services' "services": row uuid -> Target."""
    return {uuid: _target(row) for uuid, row in told.items()}


def _target(row: Mapping[str, Any]) -> Target:
    proto, ip = _PROTO[row["protocol"]], bytes.fromhex(row["ip"])
    return Target(
        (int(row["dp"]), int(row["port"]), ip, proto, int(row["number"])),
        int(row["out"]),
        (bytes.fromhex(row["src_mac"]), bytes.fromhex(row["mac"])),
        (bytes.fromhex(row["src_ip"]), ip),
        Pace(
            float(row["interval"]),
            float(row["timeout"]),
            int(row["success_count"]),
            int(row["failure_count"]),
            silence=proto == compose.UDP,
        ),
    )


class Services(Duty):
    """All monitored services of this chassis, by the uuid of their rows."""

    name = "services"

    def __init__(self) -> None:
        super().__init__()
        self._services: dict[str, _Service] = {}
        self._by_key: dict[Key, str] = {}
        self._agenda = Agenda()
        self._heard: Mapping[str, Target] = {}

    def verbs(self) -> Mapping[int, Handler]:
        """See Duty."""
        return {lib.OVN_PUNT_SVC_CHECK: self.receive}

    def hears(self) -> Mapping[str, Any]:
        """See Duty."""
        return {"services": heard}

    def learnt(self, known: Knowledge) -> None:
        """Services as the rows are now; what was found out of one stays."""
        targets: Mapping[str, Target] = known.facts.get("services", {})
        if targets is self._heard:
            return
        self._heard = targets
        now = time.monotonic()
        before, self._services = self._services, {}
        for uuid, target in targets.items():
            service = before.get(uuid)
            if service is None or service.target.key != target.key:
                service = _Service(target, Watch(target.pace, now))
            service.target, service.watch.pace = target, target.pace
            self._services[uuid] = service
            self._agenda.set(uuid, service.watch.due)
        for uuid in before.keys() - targets.keys():
            self._agenda.set(uuid, FOREVER)
        self._by_key = {target.key: uuid for uuid, target in targets.items()}
        self.news = True
        self.due = self._agenda.due

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty."""
        for uuid in self._agenda.take(now):
            service = self._services[uuid]
            before = service.watch.status
            if service.watch.run(now):
                yield _probe(service)
            self.news = self.news or service.watch.status != before
            self._agenda.set(uuid, service.watch.due)
        self.due = self._agenda.due

    def receive(
        self, punt: Punt, _argument: Mapping[str, Any], _known: Knowledge
    ) -> Iterator[Punt]:
        """See service.Handler: TCP's answer gets a reset."""
        found = packet(punt.frame)
        where = (punt.words[lib.OW_DP], punt.words[lib.OW_INPORT])
        if found.proto == compose.TCP:
            yield from self._tcp(where, found)
        elif found.proto in _ECHO:
            self._icmp(where, found)
        else:
            raise RejectedError("service check of another protocol")

    def _tcp(self, where: tuple[int, int], found: Packet) -> Iterator[Punt]:
        if len(found.payload) < 20:
            raise RejectedError("truncated service check")
        sport, dport, _seq, ack, _, flags = struct.unpack_from("!HHIIBB", found.payload)
        service = self._service((*where, found.src, compose.TCP, sport))
        if (dport, ack) != (service.sport, service.number + 1 & 0xFFFFFFFF):
            raise RejectedError("service check that was not asked for")
        if flags & (_SYN | _ACK) == _SYN | _ACK:
            self._answered(service, True)
            yield _sent(service, compose.TCP, _TTL, _segment(service, _RST, ack))
        elif flags & _RST:
            self._answered(service, False)

    def _icmp(self, where: tuple[int, int], found: Packet) -> None:
        if len(found.payload) < 8:
            raise RejectedError("truncated service check")
        kind = (found.payload[0], found.payload[1])
        if kind[0] in _ECHO[found.proto] and not kind[1]:
            # What comes back through a network function is the request itself.
            asked = kind[0] == _ECHO[found.proto][0]
            address = found.dst if asked else found.src
            service = self._service((*where, address, compose.ICMP, 0))
            if int.from_bytes(found.payload[4:8], "big") != service.number:
                raise RejectedError("service check that was not asked for")
            self._answered(service, True)
        elif kind == _UNREACHABLE[found.proto]:
            sport, dport = _quoted(found)
            service = self._service((*where, found.src, compose.UDP, dport))
            if sport != service.sport:
                raise RejectedError("service check that was not asked for")
            self._answered(service, False)

    def _service(self, key: Key) -> _Service:
        uuid = self._by_key.get(key)
        if uuid is None:
            raise RejectedError("service check of no service here")
        return self._services[uuid]

    def _answered(self, service: _Service, good: bool) -> None:
        before = service.watch.status
        service.watch.answered(good, time.monotonic())
        self.news = self.news or service.watch.status != before
        self._agenda.set(self._by_key[service.target.key], service.watch.due)
        self.due = self._agenda.due

    def reports(self) -> Mapping[str, Any]:
        """services: row uuid -> word for Service_Monitor.status, as far as it is known."""
        known = {uuid: each.watch.status for uuid, each in self._services.items()}
        return {"services": {uuid: status for uuid, status in known.items() if status}}


def _quoted(found: Packet) -> tuple[int, int]:
    """Ports of the datagram that an ICMP error is about."""
    quote = found.payload[8:]
    at, proto_at = 40, 6
    if found.proto == compose.ICMP:
        at, proto_at = 4 * (quote[0] & 15) if quote else 20, 9
    if len(quote) < max(at + 4, 20) or quote[proto_at] != compose.UDP:
        raise RejectedError("service check that quotes no datagram")
    sport, dport = struct.unpack_from("!HH", quote, at)
    return int(sport), int(dport)


def _probe(service: _Service) -> Punt:
    """A new one; UDP's keep their source port, so that late errors count."""
    addresses, proto = service.target.addresses, service.target.key[3]
    service.number = random.getrandbits(32)
    if proto == compose.TCP:
        service.sport = random.randint(1024, 65535)
        return _sent(service, proto, _TTL, _segment(service, _SYN, service.number))
    if proto == compose.UDP:
        ports = (service.sport, service.target.key[4])
        return _sent(service, proto, _TTL, compose.datagram(addresses, ports, bytes(8)))
    if len(addresses[0]) == 16:
        proto = compose.ICMP6
    echo = struct.pack("!BBHI", _ECHO[proto][0], 0, 0, service.number)
    return _sent(service, proto, _ICMP_TTL, compose.summed(addresses, proto, echo))


def _segment(service: _Service, flags: int, seq: int) -> bytes:
    ports = (service.sport, service.target.key[4])
    head = struct.pack("!HHIIBBHHH", *ports, seq, 0, 5 << 4, flags, _WINDOW, 0, 0)
    return compose.summed(service.target.addresses, compose.TCP, head)


def _sent(service: _Service, proto: int, ttl: int, payload: bytes) -> Punt:
    target = service.target
    frame = compose.frame(target.macs, target.addresses, proto, ttl, payload)
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_OUTPORT] = target.key[0], target.out
    words[lib.OW_FLAGS] = lib.MLF_LOCAL_ONLY
    return Punt(frame, tuple(words), table=lib.OVN_PUNT_OUTPUT)
