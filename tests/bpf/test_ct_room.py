# SPDX-License-Identifier: Apache-2.0
"""A table that is full, and connections that expire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.records import word
from tests.support.tracked import COMMIT, NEXT, Tracked, bits, tracked

SIZE = 256  # of the table; element 0 is not used
DEADLINE = 60.0
HOUR = 3_600_000  # milliseconds


def control(ct: Tracked, **fields: int) -> None:
    """Sets members of struct ovn_ct_ctl; timeout_x is an element of timeout[]."""
    array = ArrayMap("ovn_ct_ctl", ct.bed.plane.maps["ovn_ct_ctl"])
    try:
        for name, value in fields.items():
            if name.startswith("timeout_"):
                which = getattr(lib, "OVN_CTT_" + name.removeprefix("timeout_").upper())
                array.publish(0, word("struct ovn_ct_ctl", "timeout") + which, value)
            else:
                array.publish(0, word("struct ovn_ct_ctl", name), value)
    finally:
        array.close()


@pytest.fixture(name="ct")
def _ct() -> Iterator[Tracked]:
    with tracked({"ovn_conns": SIZE, "ovn_ct_idx": 2 * SIZE, "ovn_ct_free": SIZE}) as made:
        # An emulated machine may take longer than OVS's time-outs for a test.
        control(made, timeout_udp_first=HOUR, timeout_udp_single=HOUR, timeout_udp_multiple=HOUR)
        yield made


def there(n: int) -> Packet:
    return IP(src="10.0.0.1", dst="10.0.1.1") / UDP(sport=1000 + n, dport=53)


def back(n: int) -> Packet:
    return IP(src="10.0.1.1", dst="10.0.0.1") / UDP(sport=53, dport=1000 + n)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def ports(ct: Tracked) -> set[int]:
    return {each.orig.sport - 1000 for each in ct.connections()}


def test_the_table_holds_what_it_is_made_for(ct: Tracked) -> None:
    for n in range(SIZE - 1):
        assert ct.send(there(n), COMMIT).state == bits("new trk")
    assert ports(ct) == set(range(SIZE - 1))
    for n in range(SIZE - 1):
        assert ct.send(back(n)).state == bits("est rpl trk")
    assert ct.counted("evicted unreplied") == 0


def test_established_connections_outlive_a_flood(ct: Tracked) -> None:
    for n in range(200):
        ct.send(there(n), COMMIT)
        ct.send(back(n))
    for n in range(1000, 3000):
        assert ct.send(there(n), COMMIT).state == bits("new trk")
    assert set(range(200)) <= ports(ct)
    for n in range(200):
        assert ct.send(there(n)).state == bits("est trk")
    assert ct.counted("evicted unreplied") == 2000 - 55
    assert ct.counted("evicted established") == 0


def test_of_the_unreplied_the_oldest_go_first_about(ct: Tracked) -> None:
    for n in range(SIZE - 1 + 100):
        ct.send(there(n), COMMIT)
        if n % 50 == 0:
            time.sleep(0.002)  # the clock of age is in milliseconds
    left = ports(ct)
    assert len(left) == SIZE - 1
    # A sample of 32 out of 255 has one of the oldest half with odds of 1 - 2^-32.
    assert sum(1 for n in range(100) if n in left) < 40


def test_closing_connections_go_before_unreplied_ones(ct: Tracked) -> None:
    for n in range(55):
        syn = TCP(sport=2000 + n, dport=80, flags="S", seq=1)
        rst = TCP(sport=80, dport=2000 + n, flags="RA", seq=0, ack=2)
        ct.send(IP(src="10.0.0.1", dst="10.0.1.1") / syn, COMMIT)
        ct.send(IP(src="10.0.1.1", dst="10.0.0.1") / rst)
    for n in range(200):
        ct.send(there(n), COMMIT)
    for n in range(200, 230):
        ct.send(there(n), COMMIT)
    # A sample of 32 misses all of 25 among 255 one time in 30, so one or two may err.
    assert ct.counted("evicted closing") >= 20
    assert len(set(range(230)) & ports(ct)) >= 220


def test_established_ones_go_when_there_is_nothing_else(ct: Tracked) -> None:
    for n in range(SIZE - 1):
        ct.send(there(n), COMMIT)
        ct.send(back(n))
    assert ct.send(there(999), COMMIT).packet is not None
    assert ct.counted("evicted established") == 1
    assert 999 in ports(ct) and len(ports(ct)) == SIZE - 1


def test_expired_connections_make_room_first(ct: Tracked) -> None:
    for n in range(100):
        ct.send(there(n), COMMIT)
    control(ct, timeout_udp_first=1)
    for n in range(100, SIZE - 1):
        ct.send(there(n), COMMIT)
    until(lambda: len(ports(ct)) == 100)
    control(ct, timeout_udp_first=HOUR)
    for n in range(1000, 1050):
        ct.send(there(n), COMMIT)
    assert set(range(100)) | set(range(1000, 1050)) == ports(ct)


def test_an_expired_connection_is_not_found_and_is_replaced(ct: Tracked) -> None:
    control(ct, timeout_udp_first=20)
    ct.send(there(1), COMMIT)
    until(lambda: ports(ct) == set())
    assert ct.send(back(1), NEXT).state == bits("new trk")
    control(ct, timeout_udp_first=HOUR)
    assert ct.send(there(1), COMMIT).state == bits("new trk")
    assert ct.send(back(1)).state == bits("est rpl trk")


def test_packets_prolong_a_connection_by_its_state(ct: Tracked) -> None:
    control(ct, timeout_udp_first=5_000, timeout_udp_single=7_000, timeout_udp_multiple=9_000)

    def given() -> int:
        [conn] = ct.connections()
        return conn.expires - conn.used

    ct.send(there(1), COMMIT)
    assert given() == 5_000
    ct.send(there(1))
    assert given() == 7_000
    ct.send(back(1))
    assert given() == 9_000
    ct.send(there(1))
    assert given() == 9_000


def test_the_timer_ends_what_has_expired(ct: Tracked) -> None:
    control(ct, timeout_udp_first=1, tick=1)
    for n in range(150):
        ct.send(there(n), COMMIT)
    control(ct, timeout_udp_first=HOUR)
    for n in range(150, 200):
        ct.send(there(n), COMMIT)
    assert ct.indexed() >= 2 * 50
    ct.conntrack.start()
    until(lambda: ct.counted("expired") == 150)
    assert ports(ct) == set(range(150, 200))
    assert ct.indexed() == 2 * 50
    assert ct.conntrack.zone_counts() == {7: 50}


def test_the_timer_goes_on_and_is_taken_over(ct: Tracked) -> None:
    control(ct, tick=1)
    ct.conntrack.start()
    ct.conntrack.start()  # a second agent
    control(ct, timeout_udp_first=1)
    for n in range(3):
        ct.send(there(n), COMMIT)
        until(lambda n=n: ct.counted("expired") == n + 1)  # type: ignore[misc]
    assert ct.indexed() == 0


def test_the_timer_clears_away_a_flushed_zone(ct: Tracked) -> None:
    control(ct, tick=1)
    for n in range(100):
        ct.send(there(n), COMMIT)
    ct.conntrack.flush_zone(7)
    ct.conntrack.start()
    until(lambda: ct.indexed() == 0)
    assert ct.conntrack.zone_counts() == {}
    for n in range(SIZE - 1):
        ct.send(there(n), COMMIT)
    assert len(ports(ct)) == SIZE - 1 and ct.counted("evicted unreplied") == 0
