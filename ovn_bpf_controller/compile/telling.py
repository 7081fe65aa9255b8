# SPDX-License-Identifier: Apache-2.0
"""Meters of flows, log() and sample(): numbers for them, and who uses which.

compile.actions makes OP_METER, OP_LOG and OP_SAMPLE with the numbers; the agent
fills the meters in (metering.py) and writes the lines (acl_log.py).  Numbers are
digests, so they mean the same after a restart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn
from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.model import Meter

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


class About(NamedTuple):
    """What actions may depend on of their flow: its UUID, its controller_meter or ""."""

    uuid: str = ""
    meter: str = ""


class Told(NamedTuple):
    """What a list of actions uses.

    meters: by name; None: the Southbound says what it is.  logs: what log() says, by
    number, JSON of compile.punts.
    """

    meters: Mapping[str, Meter | None]
    logs: Mapping[int, str]


NOTHING: Final = Told({}, {})


def meter_key(name: str) -> int:
    """The key of a meter in the maps."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


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


class Uses:
    """Who uses which meters and logs.  revision: another one when anything changed."""

    def __init__(self) -> None:
        self._of: dict[Any, Told] = {}
        self.revision = 0

    def put(self, owner: Any, told: Told) -> None:
        """What `owner` uses, all of it."""
        if self._of.get(owner, NOTHING) == told:
            return
        self.revision += 1
        if told == NOTHING:
            del self._of[owner]
        else:
            self._of[owner] = told

    def drop(self, owner: Any) -> None:
        """It is gone."""
        self.put(owner, NOTHING)

    def meters(self) -> dict[str, Meter | None]:
        """All meters in use."""
        return {name: said for told in self._of.values() for name, said in told.meters.items()}

    def logs(self) -> dict[int, str]:
        """What all logs in use say."""
        return {number: text for told in self._of.values() for number, text in told.logs.items()}
