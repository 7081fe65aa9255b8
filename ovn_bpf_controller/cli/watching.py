# SPDX-License-Identifier: Apache-2.0
"""What `ovn-bpf-ctl monitor` and `capture` share: whom to watch, and names for it all.

The packets come from the data plane itself (datapath.witness); names of ports and
flows are asked of the agent, those of stages and ACLs of the Southbound, as far as
somebody answers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from ovn_bpf_controller.cli import southbound
from ovn_bpf_controller.datapath import witness
from ovn_bpf_controller.datapath.reasons import reason_text
from ovn_bpf_controller.datapath.witness import Watcher, Witness
from ovn_bpf_controller.errors import DatabaseError, StartupError
from ovn_bpf_controller.plaindata import NamedTuple

Ask = Callable[[str, list[str]], Any]
"""A command of the agent and its arguments -> the answer's JSON."""

POINTS: Final = {
    "in": witness.IN,
    "tunnel": witness.TUNNEL,
    "out": witness.OUT,
    "remote": witness.REMOTE,
    "drop": witness.DROP,
}
_WORDS: Final = {kind: word for word, kind in POINTS.items()}
_POLL_SECONDS: Final = 0.5


class Seen(NamedTuple):
    """A packet with names.  at: ns of the Unix epoch.  port: the one that it is about."""

    at: int
    point: str
    port: str
    inport: str
    outport: str
    datapath: str
    verdict: str
    flow: str
    stage: str
    acl: str
    frame: bytes
    length: int

    def told(self) -> dict[str, Any]:
        """For JSON; of the frame its Ethernet header."""
        rest = self._asdict()
        frame = rest.pop("frame")
        seen = datetime.fromtimestamp(self.at / 1e9, UTC)
        return {
            "time": seen.isoformat(timespec="microseconds"),
            **rest,
            "eth_src": frame[6:12].hex(":"),
            "eth_dst": frame[:6].hex(":"),
            "eth_type": f"0x{frame[12:14].hex()}",
        }


class Names:
    """Ports, datapaths and flows by their numbers; asked again when one is new."""

    def __init__(self, ask: Ask, database: str) -> None:
        self._ask = ask
        self._database = database
        self._ports: dict[str, dict[str, Any]] = {}
        self._flows: dict[int, tuple[str, southbound.Flow]] = {}
        self._learn()

    def _learn(self) -> None:
        self._ports = {row["key"]: row for row in self._ask("ovn-bpf/ports", [])}

    def key(self, lport: str) -> tuple[int, int]:
        """Keys of a logical port and its datapath.  Raises StartupError."""
        for key, row in self._ports.items():
            if row["port"] == lport:
                dp, _, port = key.partition("/")
                return int(dp), int(port)
        raise StartupError(f"{lport} is no port of a local datapath (see ovn-bpf-ctl ports)")

    def port(self, dp: int, key: int) -> str:
        """Its name, or its key; "" for none."""
        if not key:
            return ""
        name = f"{dp}/{key}"
        if name not in self._ports:
            self._ports[name] = {"port": str(key), "datapath": str(dp)}
        return str(self._ports[name]["port"])

    def datapath(self, dp: int) -> str:
        """Its name, or its key."""
        for key, row in self._ports.items():
            if key.startswith(f"{dp}/"):
                return str(row["datapath"])
        return str(dp)

    def flow(self, number: int) -> tuple[str, southbound.Flow]:
        """UUID and what the Southbound says, both empty when nobody knows."""
        found = self._flows.get(number)
        if found is None:
            found = self._flows[number] = self._find(number)
        return found

    def _find(self, number: int) -> tuple[str, southbound.Flow]:
        nothing = southbound.Flow("", "", "", "")
        if not number:
            return "", nothing
        rows = self._ask("ovn-bpf/flow-uuid", [str(number)])
        uuid = str(rows[0]["uuid"]) if rows else ""
        if not uuid:
            return "", nothing
        try:
            return uuid, southbound.flows(self._database, [uuid]).get(uuid, nothing)
        except DatabaseError:
            return uuid, nothing  # the UUID will have to do


def named(names: Names, seen: Witness) -> Seen:
    """A packet in words."""
    uuid, flow = names.flow(seen.flow)
    inport, outport = names.port(seen.dp, seen.inport), names.port(seen.dp, seen.outport)
    point = _WORDS.get(seen.seen, "?")
    verdict = {"in": "received", "tunnel": "received", "out": "delivered", "remote": "sent"}
    late = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - seen.at
    return Seen(
        at=time.time_ns() - late,
        point=point,
        port=inport if point in ("in", "drop") else outport,
        inport=inport,
        outport=outport,
        datapath=names.datapath(seen.dp),
        verdict=verdict.get(point) or f"dropped: {reason_text(seen.a)}",
        flow=uuid,
        stage=flow.stage,
        acl=flow.acl or flow.hint,
        frame=seen.frame,
        length=seen.length,
    )


def asker(transact: Callable[[str, list[str]], str]) -> Ask:
    """transact: sends a command of the agent."""
    return lambda command, args: json.loads(transact(command, ["--json", *args]))


def watch(
    ask: Ask, database: str, instance: str, lport: str, points: list[str], snap: int
) -> Iterator[Seen | None]:
    """Packets as they are seen, for ever; None now and then.  Raises StartupError."""
    names = Names(ask, database)
    dp, port = names.key(lport) if lport else (0, 0)
    wanted = sum(POINTS[point] for point in points) or witness.ALL
    with Watcher(instance) as watcher:
        watcher.watch(wanted, dp, port, snap)
        while True:
            for seen in watcher.read(_POLL_SECONDS):
                yield named(names, seen)
            yield None
