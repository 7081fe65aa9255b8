# SPDX-License-Identifier: Apache-2.0
"""Router advertisements that nobody asked for, at random times between two bounds.

Each goes into the ingress pipeline of the switch as if the router port's peer had
received it, and to no other chassis: each sends to its own guests (RFC 4861, section
6.2.4; behaviour: ovn-controller's pinctrl.c).  duties.advertisements says what.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.slowpath import compose
from ovn_bpf_controller.slowpath.advertisements import message
from ovn_bpf_controller.slowpath.duty import FOREVER, Duty, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_TO_MAC: Final = bytes.fromhex("333300000001")
_TO: Final = bytes.fromhex("ff020000000000000000000000000001")  # ff02::1
_HOPS: Final = 255
_NOTHING: Final[Mapping[str, Any]] = {}


@dataclass(slots=True)
class _Port:
    """A router port's advertisements.  due: time of the next one."""

    said: Mapping[str, Any]
    due: float

    @property
    def bounds(self) -> tuple[int, int]:
        """Seconds between two."""
        return int(self.said["min"]), int(self.said["max"])

    def again(self, now: float) -> None:
        """Sets the time of the next one."""
        lowest, highest = self.bounds
        self.due = now + random.uniform(lowest, max(lowest, highest))


class PeriodicAdverts(Duty):
    """Of all router ports that this chassis sends for."""

    name = "periodic-ra"

    def __init__(self) -> None:
        super().__init__()
        self._told = _NOTHING
        self._ports: dict[str, _Port] = {}

    def hears(self) -> Mapping[str, Callable[[Any], Any]]:
        """See Duty."""
        return {"adverts": dict}

    def learnt(self, known: Knowledge) -> None:
        """Ports that are new, or whose bounds are others, begin to count anew."""
        told = known.facts.get("adverts", _NOTHING)
        if told is self._told:
            return
        self._told = told
        now = time.monotonic()
        ports: dict[str, _Port] = {}
        for name, said in told.items():
            port = _Port(said, FOREVER)
            before = self._ports.get(name)
            if before is not None and before.bounds == port.bounds:
                port.due = before.due
            else:
                port.again(now)
            ports[name] = port
        self._ports = ports
        self._schedule()

    def run(self, now: float) -> Iterator[Punt]:
        """See Duty.  One that cannot be written costs itself only."""
        due = [port for port in self._ports.values() if port.due <= now]
        for port in due:
            port.again(now)
        self._schedule()
        failure: RejectedError | None = None
        for port in due:
            try:
                yield _advert(port.said)
            except RejectedError as error:
                failure = error
        if failure is not None:
            raise failure

    def _schedule(self) -> None:
        self.due = min((port.due for port in self._ports.values()), default=FOREVER)


def _advert(said: Mapping[str, Any]) -> Punt:
    addresses = int(said["source"]).to_bytes(16, "big"), _TO
    body = compose.summed(addresses, compose.ICMP6, message(said["options"]))
    macs = int(said["mac"]).to_bytes(6, "big"), _TO_MAC
    words = [0] * lib.OVN_WORDS
    words[lib.OW_DP], words[lib.OW_INPORT] = int(said["dp"]), int(said["port"])
    words[lib.OW_FLAGS] = lib.MLF_LOCAL_ONLY
    return Punt(compose.frame(macs, addresses, compose.ICMP6, _HOPS, body), tuple(words))
