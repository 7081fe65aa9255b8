# SPDX-License-Identifier: Apache-2.0
"""A connection as a line of text, character for character Open vSwitch's.

observe.conntrack prints dpctl/dump-conntrack with it; OVN's system tests compare
such lines.  The form is that of ct_dpif_format_entry in OVS's lib/ct-dpif.c.
"""

from __future__ import annotations

from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.conntrack import Connection, Tuple, address

PROTOCOLS: Final = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    58: "icmpv6",
    132: "sctp",
    136: "udplite",
}
ICMP: Final = (1, 58)
TCP: Final = 6
SCTP: Final = 132
_TCP_STATES: Final = (
    "CLOSED",
    "LISTEN",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "CLOSE_WAIT",
    "FIN_WAIT_1",
    "CLOSING",
    "LAST_ACK",
    "FIN_WAIT_2",
    "TIME_WAIT",
)
_SCTP_STATES: Final = (
    "CLOSED",  # nothing yet, which OVS shows so too
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
)
# Where trackers differ, the terse form shows one state for both.
_COALESCED: Final = {"FIN_WAIT_2": "TIME_WAIT", "SYN_RECV": "ESTABLISHED"}


def protocol(number: int) -> str:
    """Name of an IP protocol, or its number."""
    return PROTOCOLS.get(number, str(number))


def tcp_state(conn: Connection) -> str:
    """The one state that the terse form shows."""
    name = _tcp_name(max(peer.state for peer in conn.peers))
    return _COALESCED.get(name, name)


def state(conn: Connection) -> str | None:
    """How far a connection is; None where the protocol has no states."""
    if conn.proto == TCP:
        return tcp_state(conn)
    return sctp_state(conn) if conn.proto == SCTP else None


def sctp_state(conn: Connection) -> str:
    """How far an association is."""
    state = conn.peers[0].state
    return _SCTP_STATES[state] if state < len(_SCTP_STATES) else f"[{state}]"


def entry(conn: Connection, now: int, *, verbose: bool = False, stats: bool = False) -> str:
    """One line, without its end.

    now: datapath.conntrack.now_ms().  verbose, stats: as dpctl's -m and -s.
    """
    parts = [
        f"{protocol(conn.proto)},orig=({_tuple(conn, conn.orig)}{_counters(conn, 0, stats)})",
        f",reply=({_tuple(conn, conn.reply)}{_counters(conn, 1, stats)})",
    ]
    if verbose:
        parts.append(",id=0")  # the kernel's only; userspace has none either
    if conn.zone:
        parts.append(f",zone={conn.zone}")
    if verbose:
        parts.append(",status=0")
    if stats:
        parts.append(f",timeout={max(0, conn.expires - now) // 1000}")
    if conn.mark:
        parts.append(f",mark={conn.mark}")
    if conn.label:
        parts.append(f",labels={conn.label:#x}")
    if conn.proto == TCP:
        inner = _verbose_tcp(conn) if verbose else f"state={tcp_state(conn)}"
        parts.append(f",protoinfo=({inner})")
    if conn.proto == SCTP:
        parts.append(f",protoinfo=({_sctp(conn)})")
    return "".join(parts)


def _sctp(conn: Connection) -> str:
    """Tags as they are in packets; Open vSwitch prints theirs with bytes swapped."""
    orig, reply = conn.peers
    state = sctp_state(conn)
    return f"state={state},vtag_orig={orig.seq_lo},vtag_reply={reply.seq_lo}"


def _tuple(conn: Connection, one: Tuple) -> str:
    text = f"src={address(one.src, conn.family)},dst={address(one.dst, conn.family)}"
    if conn.proto in ICMP:
        return f"{text},id={one.sport},type={one.dport >> 8},code={one.dport & 0xFF}"
    return f"{text},sport={one.sport},dport={one.dport}"


def _counters(conn: Connection, direction: int, wanted: bool) -> str:
    packets, size = conn.packets[direction], conn.bytes[direction]
    return f",packets={packets},bytes={size}" if wanted and (packets or size) else ""


def _verbose_tcp(conn: Connection) -> str:
    orig, reply = conn.peers
    text = f"state_orig={_tcp_name(orig.state)},state_reply={_tcp_name(reply.state)}"
    scales = [peer.wscale & lib.OVN_WSCALE_MASK for peer in conn.peers]
    if any(scales):
        text += f",wscale_orig={scales[0]},wscale_reply={scales[1]}"
    return text + f",flags_orig={_flags(orig.wscale)},flags_reply={_flags(reply.wscale)}"


def _flags(wscale: int) -> str:
    names = []
    if wscale & lib.OVN_WSCALE_KNOWN:
        names.append("WINDOW_SCALE")
    if wscale & lib.OVN_WSCALE_LIBERAL:
        names.append("BE_LIBERAL")
    return "|".join(names) or "0"


def _tcp_name(state: int) -> str:
    return _TCP_STATES[state] if state < len(_TCP_STATES) else f"[{state}]"
