# SPDX-License-Identifier: Apache-2.0
"""enum ovn_drop in words, for operators.

observe prints them; a test holds them against include/ovn_bpf/counts.h.
"""

from __future__ import annotations

from typing import Final

from ovn_bpf_controller._native import lib

REASONS: Final[dict[int, str]] = {
    lib.DROP_NONE: "none",
    lib.DROP_ACTION: "a logical flow says drop",
    lib.DROP_NO_FLOW: "no logical flow matches",
    lib.DROP_UNSUPPORTED: "the logical flow has an unsupported verb",
    lib.DROP_MALFORMED: "malformed frame",
    lib.DROP_NO_PORT: "the device is no logical port's",
    lib.DROP_NO_OUTPORT: "unknown output port",
    lib.DROP_NOT_BOUND: "the output port is not bound",
    lib.DROP_LOOPBACK: "output port is input port",
    lib.DROP_TTL: "TTL exceeded",
    lib.DROP_STEPS: "too many steps",
    lib.DROP_DEPTH: "too deeply nested",
    lib.DROP_MEMBERS: "multicast group too large",
    lib.DROP_STORE: "the frame could not be rewritten",
    lib.DROP_REDIRECT: "the kernel refused the output device",
    lib.DROP_TUN_HEADER: "unreadable tunnel header",
    lib.DROP_TUN_OPTION: "tunnel packet without OVN's option",
    lib.DROP_TUN_SENDER: "tunnel packet from an unknown address",
    lib.DROP_TUN_VNI: "tunnel packet for an unknown datapath or port",
    lib.DROP_TUN_PEER: "no tunnel to the chassis of the output port",
    lib.DROP_TUN_ENCAP: "encapsulation failed",
    lib.DROP_TUN_NEIGH: "next hop of the tunnel is unresolved",
    lib.DROP_TOO_BIG: "too big for the tunnel, sender told",
    lib.DROP_TOO_BIG_QUIET: "too big for the tunnel",
    lib.DROP_REENTRY: "program nested too deeply",
    lib.DROP_BUG: "inconsistent tables",
    lib.DROP_NO_REPLY: "nothing to answer, or nobody to tell",
    lib.DROP_LOCALPORT: "traffic of a localport must not leave the chassis",
    lib.DROP_SETS: "an address or port is a member of too many sets",
    lib.DROP_CT_FULL: "no room for a connection",
    lib.DROP_CT_NAT: "no free address and port to translate to",
    lib.DROP_CT_FRAG: "later fragment of an unknown first one",
    lib.DROP_CT_RACE: "another packet committed the connection just now",
    lib.DROP_NO_SLOWPATH: "nobody serves the slow path",
    lib.DROP_PUNT_RATE: "more for the slow path than a source may have",
    lib.DROP_PUNT_FULL: "the slow path is behind",
    lib.DROP_PUNT_BIG: "too long for the slow path",
    lib.DROP_PUNT_STALE: "came back from the slow path when its flow had gone",
    lib.DROP_NO_PROGRAM: "the program that goes on is not loaded",
    lib.DROP_METER: "above the rate of set_meter",
    lib.DROP_COPP: "above the rate of the logical flow's controller_meter",
    lib.DROP_ASLEEP: "the guest has not moved here yet",
    lib.DROP_NO_ROOM: "the logical flow has no room in its stage",
    lib.DROP_NO_BACKEND: "a load balancer without backends",
}


def reason_text(reason: int) -> str:
    """Words for a drop reason; the number if it has none."""
    return REASONS.get(reason, f"reason {reason}")
