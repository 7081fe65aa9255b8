# SPDX-License-Identifier: Apache-2.0
"""Meters of flows, log() and sample(): numbers for them, and who uses which.

compile.actions makes OP_METER, OP_LOG and OP_SAMPLE with the numbers; the agent
fills the meters in (metering.py) and writes the lines (acl_log.py).  Numbers are
digests, so they mean the same after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn
from ovn_bpf_controller.digests import digest
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.model import Meter
from ovn_bpf_controller.plaindata import NamedTuple

#: Actions that OVN does with the packet in hand: without what they answer it ends.
PAUSING: Final = (nodes.PutOpts, nodes.DnsLookup, nodes.DhcpRelay)
#: What ovn-controller has packets sent up for, but for log(): lib/actions.c.
PACKET_IN: Final = (
    *PAUSING,
    nodes.Arp,
    nodes.NdNs,
    nodes.NdNa,
    nodes.NdNaRouter,
    nodes.Icmp4,
    nodes.Icmp4Error,
    nodes.Icmp6,
    nodes.Icmp6Error,
    nodes.TcpReset,
    nodes.SctpAbort,
    nodes.Reject,
    nodes.Igmp,
    nodes.PutMacBind,
    nodes.PutFdb,
    nodes.HandleDhcpv6Reply,
    nodes.HandleBfdMsg,
    nodes.TriggerEvent,
    nodes.BindVport,
    nodes.HandleSvcCheck,
)


def _always(_: object) -> bool:
    return True


class About(NamedTuple):
    """What actions may depend on besides their text: their flow's UUID, its
    controller_meter or "", and what is here.

    collected: whether sample() has a collector set of that number.  tunnelled: whether
    a tunnel leads to the chassis of a port.
    """

    uuid: str = ""
    meter: str = ""
    collected: Callable[[int], bool] = _always
    tunnelled: Callable[[str], bool] = _always


class Told(NamedTuple):
    """What a list of actions uses.

    meters: by name; None: the Southbound says what it is.  logs: what log() says, by
    number, JSON of compile.punts.
    """

    meters: Mapping[str, Meter | None]
    logs: Mapping[int, str]


NOTHING: Final = Told({}, {})

K = TypeVar("K")
V = TypeVar("V")


def meter_key(name: str) -> int:
    """The key of a meter in the maps."""
    return int.from_bytes(digest(name.encode(), 8), "big")


def meter(name: str, reason: int, skip: int = 0) -> Insn:
    """Above its rate: drop for the reason, or if that is 0 pass `skip` instructions over."""
    key = meter_key(name)
    return Insn(lib.OP_METER, src=reason, a=key >> 32, b=key & 0xFFFFFFFF, c=skip)


def set_meter(action: nodes.SetMeter, uuid: str) -> tuple[str, Meter]:
    """The meter of a flow of its own, and its name; ovn-controller's, since
    meter-table-list shows it."""
    flags, size = ("kbps burst stats", f" burst_size={action.burst}")
    if not action.burst:
        flags, size = "kbps stats", ""
    name = f"__string: uuid {uuid} {flags} bands=type=drop rate={action.rate}{size}"
    return name, Meter(False, ((action.rate, action.burst),))


class Shared(Generic[K, V]):
    """What several owners use, each thing once: asked for often, so it is counted."""

    def __init__(self) -> None:
        self._counts: dict[K, int] = {}
        self.values: dict[K, V] = {}

    def change(self, old: Mapping[K, V], new: Mapping[K, V]) -> None:
        """What one owner uses instead of what it used."""
        for name, value in new.items():
            self._counts[name] = self._counts.get(name, 0) + 1
            self.values[name] = value
        for name in old:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name], self.values[name]


class Uses:
    """Who uses which meters and logs.  revision: another one when anything changed."""

    def __init__(self) -> None:
        self._of: dict[Any, Told] = {}
        self._meters: Shared[str, Meter | None] = Shared()
        self._logs: Shared[int, str] = Shared()
        self.revision = 0

    def put(self, owner: Any, told: Told) -> None:
        """What `owner` uses, all of it."""
        old = self._of.get(owner, NOTHING)
        if old == told:
            return
        self.revision += 1
        self._meters.change(old.meters, told.meters)
        self._logs.change(old.logs, told.logs)
        if told == NOTHING:
            del self._of[owner]
        else:
            self._of[owner] = told

    def drop(self, owner: Any) -> None:
        """It is gone."""
        self.put(owner, NOTHING)

    def meters(self) -> Mapping[str, Meter | None]:
        """All meters in use."""
        return self._meters.values

    def logs(self) -> Mapping[int, str]:
        """What all logs in use say."""
        return self._logs.values
