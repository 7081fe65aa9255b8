# SPDX-License-Identifier: Apache-2.0
"""Stateful actions in a trace: what it is told, what the tracker knows, nothing made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.layout import chunks, cut, place
from ovn_bpf_controller.datapath.conntrack import Connection, Conntrack
from ovn_bpf_controller.datapath.trace import NOTHING_GIVEN, Given, TraceEvent, Tracer
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.observe.microflow import read
from ovn_bpf_controller.observe.trace_ct import format_state, parse_backend, parse_state
from tests.support.dataplane import Bed, bed, mac

CLIENT, SERVER, VIP, ONE, TWO = 0x0A000001, 0x0A000009, 0x1E000001, 0x0A000002, 0x0A000003
SOURCE = 40000


@pytest.fixture(scope="module")
def switch() -> Iterator[Bed]:
    """Datagrams: balanced to the VIP, translated by port, tracked twice otherwise."""
    backends = "10.0.0.2:8080,10.0.0.3:8081"
    with bed() as made:
        made.plug(1, 2)
        made.flow(0, 0, 90, "udp && ip4.dst == 30.0.0.1", f"ct_lb_mark(backends={backends});")
        made.flow(0, 0, 80, "udp.dst == 7", "ct_snat(30.0.0.9, 2000-3000);")
        made.flow(0, 0, 70, "udp.dst == 8", "ct_lb_mark;")
        made.flow(0, 0, 60, "udp.dst == 9", "ct_snat;")
        made.flow(0, 0, 50, "udp", "ct_next;")
        made.flow(0, 1, 50, "udp.dst == 53 || udp.src == 53", "ct_next;")
        made.flow(0, 1, 0, "1", "next;")
        made.flow(0, 2, 50, "ct.new && udp.dst == 53", "ct_commit { }; next;")
        made.flow(0, 2, 0, "1", "next;")
        made.flow(0, 3, 50, 'inport == "vm1"', 'outport = "vm2"; output;')
        made.flow(0, 3, 0, "1", 'outport = "vm1"; output;')
        made.flow(1, 0, 0, "1", "output;")
        made.flows_live()
        yield made


def words(source: int, target: int, sport: int, dport: int, inport: int = 1) -> list[int]:
    """A datagram that a port sends."""
    made = [0] * lib.OVN_WORDS
    fields = {
        "inport": inport,
        "eth.src": int(mac(inport).replace(":", ""), 16),
        "eth.type": 0x0800,
        "ip.proto": 17,
        "ip.ttl": 64,
        "ip4.src": source,
        "ip4.dst": target,
        "udp.src": sport,
        "udp.dst": dport,
    }
    for name, value in fields.items():
        for chunk in chunks(place(name)):
            made[chunk.word] |= cut(value, chunk)
    made[lib.OW_DP] = 1
    return made


def tried(switch: Bed, packet: list[int], given: Given = NOTHING_GIVEN) -> list[TraceEvent]:
    """The tables that a packet matches in, in order."""
    tracer = Tracer(switch.plane.maps, switch.plane.programs["ovn_trace"])
    try:
        events = tracer.run(packet, given=given).events
    finally:
        tracer.close()
    assert events[-1].kind == lib.TRACE_DEVICE, events[-1]
    return [event for event in events if event.kind == lib.TRACE_MATCH]


def states(events: list[TraceEvent]) -> list[str]:
    """ct_state in ingress tables 1 and 2."""
    return [format_state(read(event.words, "ct_state")) for event in events[1:3]]


def given(*texts: str, backend: str = "") -> Given:
    found = parse_backend(backend) if backend else None
    return Given(tuple(parse_state(text) for text in texts), found)


def connections(switch: Bed) -> list[Connection]:
    table = Conntrack(switch.plane.maps, switch.plane.programs)
    try:
        return [conn for batch in table.dump() for conn in batch]
    finally:
        table.close()


# --- told ---------------------------------------------------------------------------


def test_states_are_taken_one_after_the_other_then_established(switch: Bed) -> None:
    packet = words(CLIENT, SERVER, SOURCE, 53)
    assert states(tried(switch, packet, given("new", "est,rpl"))) == ["new|trk", "est|rpl|trk"]
    assert states(tried(switch, packet, given("inv"))) == ["inv|trk", "est|trk"]


def test_a_named_backend_is_taken_and_else_one_of_the_list(switch: Bed) -> None:
    packet = words(CLIENT, VIP, SOURCE, 80)
    for text, address, port in (("10.0.0.2", ONE, 8080), ("10.0.0.3:1", TWO, 8081)):
        balanced = tried(switch, packet, given("new", backend=text))[1].words
        assert (read(balanced, "ip4.dst"), read(balanced, "udp.dst")) == (address, port)
        assert format_state(read(balanced, "ct_state")) == "new|trk|dnat"
        assert read(balanced, "udp.src") == SOURCE and read(balanced, "ip4.src") == CLIENT
        assert balanced[lib.OW_CT_DST + 3] == VIP
    other = tried(switch, packet, given("new", backend="10.0.0.99"))[1].words
    assert read(other, "ip4.dst") in (ONE, TWO)


def test_without_a_list_the_named_backend_is_the_connections(switch: Bed) -> None:
    packet = words(CLIENT, VIP + 1, SOURCE, 8)
    found = tried(switch, packet, given("est", backend="10.0.0.3:8081"))[1].words
    assert (read(found, "ip4.dst"), read(found, "udp.dst")) == (TWO, 8081)
    assert format_state(read(found, "ct_state")) == "est|trk|dnat"
    found = tried(switch, packet, given("est"))[1].words
    assert (read(found, "ip4.dst"), read(found, "udp.dst")) == (VIP + 1, 8)


def test_translation_with_an_address_changes_that_alone(switch: Bed) -> None:
    found = tried(switch, words(CLIENT, SERVER, SOURCE, 7), given("new"))[1].words
    assert (read(found, "ip4.src"), read(found, "udp.src")) == (0x1E000009, SOURCE)
    assert format_state(read(found, "ct_state")) == "new|trk|snat"
    found = tried(switch, words(CLIENT, SERVER, SOURCE, 9), given("est"))[1].words
    assert (read(found, "ip4.src"), read(found, "udp.src")) == (CLIENT, SOURCE)


def test_more_states_than_there_is_room_for_are_refused(switch: Bed) -> None:
    with pytest.raises(DataPlaneError, match="connection states"):
        tried(switch, words(CLIENT, SERVER, SOURCE, 53), given(*["new"] * (lib.OVN_TRACE_CTS + 1)))


# --- asked --------------------------------------------------------------------------


def test_the_tracker_answers_and_learns_nothing(switch: Bed) -> None:
    packet = words(CLIENT, SERVER, SOURCE, 53)
    assert states(tried(switch, packet)) == ["new|trk", "new|trk"]
    assert connections(switch) == []


def test_a_connection_is_seen_from_both_ends(switch: Bed) -> None:
    ends = (IP(src="10.0.0.1", dst="10.0.0.9"), IP(src="10.0.0.9", dst="10.0.0.1"))
    ports = (UDP(sport=SOURCE + 1, dport=53), UDP(sport=53, dport=SOURCE + 1))
    for peer, ip, udp in zip(("p1", "p2"), ends, ports, strict=True):
        switch.send(peer, bytes(Ether(src=mac(int(peer[1])), dst=mac(9)) / ip / udp / b"x"))
        assert len(switch.received(1)) == 1
    (before,) = connections(switch)
    assert states(tried(switch, words(CLIENT, SERVER, SOURCE + 1, 53))) == ["est|trk"] * 2
    answer = words(SERVER, CLIENT, 53, SOURCE + 1, inport=2)
    assert states(tried(switch, answer)) == ["est|rpl|trk"] * 2
    assert connections(switch) == [before]


def test_a_new_connection_is_translated_as_it_would_be(switch: Bed) -> None:
    before = connections(switch)
    found = tried(switch, words(CLIENT, VIP, SOURCE, 80))[1].words
    assert (read(found, "ip4.dst"), read(found, "udp.dst")) in ((ONE, 8080), (TWO, 8081))
    assert format_state(read(found, "ct_state")) == "new|trk|dnat"
    found = tried(switch, words(CLIENT, SERVER, SOURCE, 7))[1].words
    assert (read(found, "ip4.src"), read(found, "udp.src")) == (0x1E000009, 2000)
    assert connections(switch) == before
