# SPDX-License-Identifier: Apache-2.0
"""Lines of dump-conntrack; the expected ones are what ovs-vswitchd 3.1 printed."""

from __future__ import annotations

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.conntrack import Connection, Peer, Tuple, mapped
from ovn_bpf_controller.observe.ct_format import entry, tcp_state

LABEL = 0xAB0000000000001234
KNOWN = lib.OVN_WSCALE_KNOWN


def conn(proto: int, orig: Tuple, reply: Tuple, **more: object) -> Connection:
    quiet = Peer(0, 0, 0, 0, 0)
    values: dict[str, object] = {
        "id": 1,
        "birth": 1,
        "flags": lib.OVN_CONN_LIVE,
        "epoch": 1,
        "zone_gen": 0,
        "zone": 7,
        "family": 4 if orig.src >> 32 == 0xFFFF else 6,
        "proto": proto,
        "orig": orig,
        "reply": reply,
        "mark": 5,
        "label": LABEL,
        "peers": (quiet, quiet),
        "expires": 29_999,
        "used": 0,
        "packets": (0, 0),
        "bytes": (0, 0),
    }
    return Connection(**(values | more))  # type: ignore[arg-type]


def both(a: str, b: str, sport: int, dport: int) -> tuple[Tuple, Tuple]:
    one, two = mapped(a), mapped(b)
    return Tuple(one, two, sport, dport), Tuple(two, one, dport, sport)


ECHO = (
    Tuple(mapped("10.9.0.1"), mapped("10.9.0.2"), 31012, 8 << 8),
    Tuple(mapped("10.9.0.2"), mapped("10.9.0.1"), 31012, 0),
)
WEB = both("10.9.0.1", "10.9.0.2", 57618, 8000)
TAIL = "zone=7,mark=5,labels=0xab0000000000001234"
TUPLES = (
    "tcp,orig=(src=10.9.0.1,dst=10.9.0.2,sport=57618,dport=8000),"
    "reply=(src=10.9.0.2,dst=10.9.0.1,sport=8000,dport=57618),"
)


def test_icmp_has_an_identifier() -> None:
    assert entry(conn(1, *ECHO), 0) == (
        "icmp,orig=(src=10.9.0.1,dst=10.9.0.2,id=31012,type=8,code=0),"
        f"reply=(src=10.9.0.2,dst=10.9.0.1,id=31012,type=0,code=0),{TAIL}"
    )


def test_ipv6_addresses_are_compressed() -> None:
    assert entry(conn(17, *both("fd09::1", "fd09::2", 49024, 5353)), 0) == (
        "udp,orig=(src=fd09::1,dst=fd09::2,sport=49024,dport=5353),"
        f"reply=(src=fd09::2,dst=fd09::1,sport=5353,dport=49024),{TAIL}"
    )


def test_other_protocols_are_numbers() -> None:
    assert entry(conn(47, *both("10.9.0.1", "10.9.0.2", 0, 0)), 0) == (
        "47,orig=(src=10.9.0.1,dst=10.9.0.2,sport=0,dport=0),"
        f"reply=(src=10.9.0.2,dst=10.9.0.1,sport=0,dport=0),{TAIL}"
    )


def test_mark_label_and_zone_only_when_there_are_some() -> None:
    line = entry(conn(17, *WEB, zone=0, mark=0, label=0), 0)
    assert line == TUPLES.replace("tcp", "udp").rstrip(",")


def tcp(orig: int, reply: int, wscale: int = 10 | KNOWN) -> Connection:
    return conn(6, *WEB, peers=(Peer(0, 0, 0, wscale, orig), Peer(0, 0, 0, wscale, reply)))


@pytest.mark.parametrize(
    ("states", "shown"),
    [
        ((lib.OVN_TCPS_FIN_WAIT_2, lib.OVN_TCPS_FIN_WAIT_2), "TIME_WAIT"),
        ((lib.OVN_TCPS_SYN_SENT, lib.OVN_TCPS_CLOSED), "SYN_SENT"),
        ((lib.OVN_TCPS_SYN_SENT, lib.OVN_TCPS_SYN_RECV), "ESTABLISHED"),
        ((lib.OVN_TCPS_ESTABLISHED, lib.OVN_TCPS_FIN_WAIT_1), "FIN_WAIT_1"),
        ((99, 0), "[99]"),
    ],
)
def test_the_terse_form_shows_one_tcp_state(states: tuple[int, int], shown: str) -> None:
    assert tcp_state(tcp(*states)) == shown
    assert entry(tcp(*states), 0) == f"{TUPLES}{TAIL},protoinfo=(state={shown})"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        (lib.OVN_SCTPS_NONE, "CLOSED"),
        (lib.OVN_SCTPS_COOKIE_ECHOED, "COOKIE_ECHOED"),
        (lib.OVN_SCTPS_HEARTBEAT_SENT, "HEARTBEAT_SENT"),
        (lib.OVN_SCTPS_MAX, "[9]"),
    ],
)
def test_sctp_has_a_state_and_both_tags(state: int, shown: str) -> None:
    peers = (Peer(0xFFFFFFFE, 0, 0, 0, state), Peer(7, 0, 0, 0, 0))
    line = entry(conn(132, *WEB, peers=peers), 0)
    assert line == TUPLES.replace("tcp", "sctp") + (
        f"{TAIL},protoinfo=(state={shown},vtag_orig=4294967294,vtag_reply=7)"
    )


def test_more_and_statistics() -> None:
    closing = tcp(lib.OVN_TCPS_FIN_WAIT_2, lib.OVN_TCPS_FIN_WAIT_2)
    inner = (
        "state_orig=FIN_WAIT_2,state_reply=FIN_WAIT_2,wscale_orig=10,wscale_reply=10,"
        "flags_orig=WINDOW_SCALE,flags_reply=WINDOW_SCALE"
    )
    assert entry(closing, 0, verbose=True, stats=True) == (
        f"{TUPLES}id=0,zone=7,status=0,timeout=29,mark=5,labels=0xab0000000000001234,"
        f"protoinfo=({inner})"
    )
    unknown = entry(tcp(4, 4, lib.OVN_WSCALE_LIBERAL), 0, verbose=True)
    assert "ESTABLISHED,flags_orig=BE_LIBERAL,flags_reply=BE_LIBERAL)" in unknown
    assert ",flags_orig=0,flags_reply=0)" in entry(tcp(4, 4, 0), 0, verbose=True)


def test_packets_are_counted_in_statistics_alone() -> None:
    counted = conn(17, *WEB, packets=(3, 0), bytes=(300, 0))
    assert "dport=8000,packets=3,bytes=300),reply=(src=10.9.0.2" in entry(counted, 0, stats=True)
    assert "packets" not in entry(counted, 0)
