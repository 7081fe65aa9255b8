# SPDX-License-Identifier: Apache-2.0
"""log() and sample() tell of packets, and never cost one."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from contextlib import closing, redirect_stdout

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.acl_log import AclLog, line
from ovn_bpf_controller.cli import samples
from ovn_bpf_controller.compile.telling import Uses, meter_key
from ovn_bpf_controller.datapath.events import LOGS, SAMPLES, Event, Events, told
from ovn_bpf_controller.datapath.meters import Meters
from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.model import Meter
from tests.support.dataplane import Bed, mac

ROOM = 1 << 20  # bytes of a ring buffer


def frame(layer: Packet | None = None) -> bytes:
    packet = Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2")
    return bytes(packet / (layer or UDP(sport=1, dport=2)) / Raw(b"q" * 20))


def switch(bed: Bed, actions: str) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 10, "1", actions + ' outport = "vm2"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()


@pytest.fixture
def logs(bed: Bed) -> Iterator[Events]:
    with closing(Events(LOGS, bed.plane.maps[LOGS])) as events:
        yield events


@pytest.fixture
def chosen(bed: Bed) -> Iterator[Events]:
    with closing(Events(SAMPLES, bed.plane.maps[SAMPLES])) as events:
        yield events


def drain(events: Events) -> list[Event]:
    return list(events.read(1 << 20))


def test_a_log_tells_of_the_packet_as_it_is_by_then(bed: Bed, logs: Events) -> None:
    switch(bed, 'ip.ttl = 7; log(name="a", verdict=allow, severity=notice); ip.ttl = 9;')
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    bed.send("p1", frame(TCP(sport=5, dport=80, flags="S")))
    [(_, got)] = bed.received(1)
    assert Ether(got)[IP].ttl == 9
    [event] = drain(logs)
    assert before < event.at < time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert event.length == len(got)
    said = json.loads(bed.compiler.uses.logs()[event.arg])
    assert line(said, event) == (
        'name="a", verdict=allow, severity=notice, direction=from-lport: '
        f"tcp,vlan_tci=0x0000,dl_src={mac(1)},dl_dst={mac(2)},nw_src=10.0.0.1,nw_dst=10.0.0.2,"
        "nw_tos=0,nw_ecn=0,nw_ttl=7,nw_frag=no,tp_src=5,tp_dst=80,tcp_flags=syn"
    )


def test_a_meter_limits_the_lines_and_not_the_packets(bed: Bed, logs: Events) -> None:
    switch(bed, 'log(verdict=allow, meter="m");')
    Meters(bed.plane.maps).put(meter_key("m"), Meter(True, ((1, 5),)))
    start = time.monotonic()
    for _ in range(40):
        bed.send("p1", frame())
    assert len(bed.received(40)) == 40
    late = int(time.monotonic() - start)
    assert 5 <= len(drain(logs)) <= 5 + late
    use = Meters(bed.plane.maps).read()[meter_key("m")]
    assert use.passed.packets + use.dropped.packets == 40
    assert not bed.drops()


def test_without_a_meter_one_source_cannot_fill_the_log(bed: Bed, logs: Events) -> None:
    switch(bed, "log(verdict=drop);")
    many = 5 * lib.OVN_LOG_BURST
    start = time.monotonic()
    program, device = "ovn_vif", bed.devices["v1"]
    bed.run(program, frame(), device, repeat=many)
    bed.send("p2", frame())
    elapsed = time.monotonic() - start
    events = drain(logs)
    most = lib.OVN_LOG_BURST + lib.OVN_LOG_RATE * elapsed + 2
    assert [e.words[lib.OW_INPORT] for e in events].count(2) == 1
    assert lib.OVN_LOG_BURST <= len(events) <= most
    counts = told(bed.plane.maps)
    assert counts["logged"] == len(events)
    assert counts["logged"] + counts["logs limited"] == many + 1
    assert set(bed.drops()) == {"output port is input port"}  # what p2 sent to itself


def test_a_full_ring_costs_lines_and_no_packet(bed: Bed, logs: Events) -> None:
    switch(bed, 'log(verdict=drop, meter="nobody defines it");')
    many = 20_000
    bed.run("ovn_vif", frame(), bed.devices["v1"], repeat=many)
    counts = told(bed.plane.maps)
    assert counts["logs lost"] > 0
    assert counts["logged"] + counts["logs lost"] == many
    assert len(drain(logs)) == counts["logged"]
    assert counts["logged"] > ROOM // 400
    assert not bed.drops()
    bed.send("p1", frame())  # there is room again
    assert len(drain(logs)) == 1


def test_what_was_told_without_an_agent_is_the_next_ones(bed: Bed) -> None:
    switch(bed, 'log(name="a", verdict=allow);')
    for _ in range(3):
        bed.send("p1", frame())
    earlier = AclLog(Events(LOGS, bed.plane.maps[LOGS]))
    earlier.close()  # it has not read any
    agent = AclLog(Events(LOGS, bed.plane.maps[LOGS]))
    agent.run(bed.compiler.uses)
    assert agent.unknown == 0
    bed.send("p1", frame())
    agent.run(Uses())  # the flow is gone, its packet was not told of yet
    assert agent.unknown == 0
    bed.send("p1", frame())
    agent.run(Uses())
    assert agent.unknown == 1
    agent.close()


def test_a_sample_says_domain_and_point(bed: Bed, chosen: Events) -> None:
    bed.compiler.remove_flow("1")
    switch(
        bed,
        "reg3 = 77;"
        " sample(probability=65535, collector_set=5, obs_domain=42, obs_point=4711);"
        " sample(probability=65535, collector_set=6, obs_domain=43, obs_point=reg3);"
        " sample(probability=65535, collector_set=7, obs_domain=0, obs_point=$cookie);",
    )
    bed.send("p1", frame())
    found = drain(chosen)
    assert [(e.arg, e.domain >> 24, e.domain & 0xFFFFFF, e.point) for e in found] == [
        (5, 42, 1, 4711),
        (6, 43, 1, 77),
        (7, 0, 1, 1),  # the beginning of the flow's UUID, which is "1" here
    ]


def test_a_point_may_be_a_part_of_a_field(bed: Bed, chosen: Events) -> None:
    """northd 24.09 has that of an ACL in ct_label.obs_point_id, bits 96 to 127."""
    bed.compiler.remove_flow("1")
    points = ("xxreg0[96..127]", "xxreg0[64..95]", "xxreg0[80..111]")
    samples = (f"sample(probability=65535, collector_set=1, obs_point={p});" for p in points)
    switch(bed, "reg0 = 1; reg1 = 0x2345678a;" + "".join(samples))
    bed.send("p1", frame())
    assert [event.point for event in drain(chosen)] == [1, 0x2345678A, 0x00012345]


def test_what_no_collector_set_is_for_is_not_sampled(bed: Bed, chosen: Events) -> None:
    bed.world.collectors = {6}
    switch(bed, "".join(f"sample(probability=65535, collector_set={n});" for n in (5, 6)))
    bed.send("p1", frame())
    assert [e.arg for e in drain(chosen)] == [6]
    bed.world.collectors = {5}
    for number in (5, 6):
        bed.compiler.collector_changed(number)
    bed.flows_live()
    bed.send("p1", frame())
    assert [e.arg for e in drain(chosen)] == [5]
    assert [where for where, _ in bed.received(2)] == ["p2", "p2"]


@pytest.mark.parametrize("probability", [1, 655, 32768, 65535])
def test_a_sample_is_taken_as_often_as_its_probability_says(
    bed: Bed, chosen: Events, probability: int
) -> None:
    """Within 5.5 standard deviations, which one in 26 million tests misses by chance."""
    switch(bed, f"sample(probability={probability});")
    many = 200_000
    bed.run("ovn_vif", frame(), bed.devices["v1"], repeat=many)
    counts = told(bed.plane.maps)
    taken = counts["sampled"] + counts["samples lost"]
    p = probability / 65535
    allowed = 5.5 * (many * p * (1 - p)) ** 0.5 + (12 if probability == 1 else 1)
    assert abs(taken - many * p) <= allowed
    assert len(drain(chosen)) == counts["sampled"]
    if probability == 65535:
        assert taken == many


def test_samples_are_lines_of_json(bed: Bed) -> None:
    switch(bed, "sample(probability=65535, collector_set=9, obs_domain=1, obs_point=2);")
    for _ in range(3):
        bed.send("p1", frame())
    printed = io.StringIO()
    with redirect_stdout(printed):
        samples.run("test", 2)
        samples.run("test", 1)
    rows = [json.loads(text) for text in printed.getvalue().splitlines()]
    assert len(rows) == 3
    assert {k: rows[0][k] for k in ("collector_set", "obs_domain_id", "obs_point_id")} == {
        "collector_set": 9,
        "obs_domain_id": 1 << 24 | 1,
        "obs_point_id": 2,
    }
    assert (rows[0]["inport"], rows[0]["pipeline"]) == (1, "ingress")
    assert rows[0]["packet"].startswith(f"udp,vlan_tci=0x0000,dl_src={mac(1)},dl_dst={mac(2)},")
    with pytest.raises(StartupError, match="no data plane"):
        samples.run("another", 1)
