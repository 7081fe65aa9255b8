# SPDX-License-Identifier: Apache-2.0
"""A trace tells and changes nothing, and what is counted belongs to its flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.compile.layout import chunks, cut, place
from ovn_bpf_controller.compile.telling import meter_key
from ovn_bpf_controller.datapath.counters import Counters, Drop, DropCounters, possible_cpus
from ovn_bpf_controller.datapath.events import Events
from ovn_bpf_controller.datapath.maps import check, map_info
from ovn_bpf_controller.datapath.meters import Meters
from ovn_bpf_controller.datapath.trace import Tracer
from ovn_bpf_controller.observe import accounts
from tests.support.dataplane import Bed, bed, mac, reason

QUEUE = 22
PERF_EVENT_ARRAY = 4
RINGBUF = 27
PER_CPU = (5, 6, 10)  # enum bpf_map_type: PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH
# Where a trace is written, and working memory that each packet begins anew.
ITS_OWN = ("ovn_trace_ctl", "ovn_trace_log", "ovn_scratch")
BATCH = 512
BROADCAST = "ff:ff:ff:ff:ff:ff"
UNKNOWN = "02:00:00:00:00:77"


@pytest.fixture
def switch() -> Iterator[Bed]:
    """Three ports and another chassis; MACs are learnt, NS answered, some dropped."""
    with bed() as made:
        made.plug(1, 2, 3)
        made.tunnel("hv2", made.device("under", "wire", "ovn_underlay"))
        made.group(32768, "_MC_flood", (1, 2, 3), "hv2")
        made.flow(0, 0, 90, "eth.type == 0x1234", "drop;")
        made.flow(0, 0, 80, 'inport == "vm1"', "put_fdb(inport, eth.src); next;")
        made.flow(0, 1, 90, "nd_ns", "nd_na { outport = inport; flags.loopback = 1; output; };")
        made.flow(0, 1, 10, "1", "outport = get_fdb(eth.dst); next;")
        telling = "log(verdict=allow); sample(probability=65535); set_meter(1000000); next;"
        made.flow(0, 0, 85, "eth.type == 0x1235", telling)

        made.switch(1, 2, 3)
        [(name, said)] = made.compiler.uses.meters().items()
        assert said is not None
        Meters(made.plane.maps).put(meter_key(name), said)
        yield made


def contents(made: Bed) -> dict[str, dict[bytes, bytes]]:
    """Every element of every map that a trace might touch."""
    return {
        name: dump(name, fd)
        for name, fd in made.plane.maps.items()
        if name not in ITS_OWN and "." not in name
    }


def dump(name: str, fd: int) -> dict[bytes, bytes]:
    """All elements of a map, of all CPUs; of a queue the first."""
    info = map_info(fd)
    size = info.value_size
    if info.type == PERF_EVENT_ARRAY:  # for the agent's own descriptors; no contents
        return {}
    if info.type == RINGBUF:
        with closing(Events(name, fd)) as events:
            return {b"": repr(list(events.read(BATCH))).encode()}
    if info.type == QUEUE:
        first = ffi.new("char[]", size)
        there = lib.ovn_map_lookup(fd, ffi.NULL, first) == 0
        return {b"first": bytes(ffi.buffer(first)) if there else b""}
    if info.type in PER_CPU:
        size = (size + 7 & ~7) * possible_cpus()
    keys = ffi.new("char[]", BATCH * info.key_size)
    values = ffi.new("char[]", BATCH * size)
    cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
    found: dict[bytes, bytes] = {}
    while more[0]:
        count = check(lib.ovn_hash_dump(fd, cursor, keys, values, BATCH, more), name)
        key, value = bytes(ffi.buffer(keys)), bytes(ffi.buffer(values))
        for n in range(count):
            at = n * info.key_size
            found[key[at : at + info.key_size]] = value[n * size : (n + 1) * size]
    return found


def packet(port: int, dst: str, **fields: int) -> list[int]:
    """Words of a frame that port `port` would send."""
    words = [0] * lib.OVN_WORDS
    values = {"eth.src": int(mac(port).replace(":", ""), 16), "inport": port, **fields}
    values["eth.dst"] = int(dst.replace(":", ""), 16)
    for name, value in values.items():
        for chunk in chunks(place(name.replace("_", "."))):
            words[chunk.word] |= cut(value, chunk)
    words[lib.OW_DP] = 1
    return words


SOLICITATION = {"eth_type": 0x86DD, "ip_proto": 58, "ip_ttl": 255, "icmp6_type": 135}

PACKETS = {
    "delivered": (packet(1, mac(2)), [lib.TRACE_DEVICE]),
    "told of": (packet(2, mac(1), eth_type=0x1235), [lib.TRACE_DEVICE]),
    "flooded and tunnelled": (
        packet(1, BROADCAST),
        [lib.TRACE_LEARN, lib.TRACE_DEVICE, lib.TRACE_REMOTE],
    ),
    "learnt": (packet(1, UNKNOWN), [lib.TRACE_LEARN]),
    "answered": (packet(1, BROADCAST, **SOLICITATION), [lib.TRACE_CLONE, lib.TRACE_DEVICE]),
    "dropped": (packet(1, mac(2), eth_type=0x1234), [lib.TRACE_DROP]),
}


@pytest.mark.parametrize("name", PACKETS)
def test_a_trace_changes_nothing(switch: Bed, name: str) -> None:
    words, wanted = PACKETS[name]
    tracer = Tracer(switch.plane.maps, switch.plane.programs["ovn_trace"])
    before = contents(switch)
    found = tracer.run(words)
    tracer.close()
    assert contents(switch) == before
    assert switch.nothing_received()
    assert {event.kind for event in found.events} >= set(wanted)
    assert not found.lost


def test_a_trace_sees_what_the_same_frame_then_does(switch: Bed) -> None:
    tracer = Tracer(switch.plane.maps, switch.plane.programs["ovn_trace"])
    ports = [e.port for e in tracer.run(packet(1, BROADCAST)).events if e.kind == lib.TRACE_DEVICE]
    tracer.close()
    switch.send("p1", bytes(Ether(src=mac(1), dst=BROADCAST, type=0x88B5) / Raw(bytes(50))))
    assert sorted(p for p, _ in switch.received(3)) == ["p2", "p3", "wire"]
    assert ports == [2, 3]


def test_packets_count_for_the_flows_that_they_match(switch: Bed) -> None:
    frame = bytes(Ether(src=mac(2), dst=mac(3), type=0x88B5) / Raw(bytes(50)))
    before = Counters("ovn_flows", switch.plane.maps["ovn_flows"]).used()
    for _ in range(3):
        switch.send("p2", frame)
    switch.received(3)
    after = Counters("ovn_flows", switch.plane.maps["ovn_flows"]).used()
    assert before == {}
    compiler = switch.compiler
    flows = [compiler.flow(compiler.flow_ids.uuid(number) or "") for number in after]
    assert {f.match for f in flows if f} == {"1", f"eth.dst == {mac(3)}"}
    assert {(c.packets, c.bytes) for c in after.values()} == {(3, 3 * len(frame))}
    assert len(after) == 3  # one of ingress table 0, one of table 1, one of egress


def test_drops_name_the_flow(switch: Bed) -> None:
    frame = bytes(Ether(src=mac(2), dst=mac(3), type=0x1234) / Raw(bytes(50)))
    switch.send("p2", frame)
    switch.send("p2", frame)
    found = DropCounters(switch.plane.maps["ovn_drop_flows"]).read()
    ((drop, count),) = found.items()
    flow = switch.compiler.flow(switch.compiler.flow_ids.uuid(drop.flow) or "")
    assert flow and flow.match == "eth.type == 0x1234"
    assert drop == Drop(reason("DROP_ACTION"), 1, drop.flow, 0)
    assert (count.packets, count.bytes) == (2, 2 * len(frame))


def test_drops_without_a_flow_name_the_table(switch: Bed) -> None:
    switch.send("p2", bytes(Ether(src=mac(2), dst=UNKNOWN, type=0x88B5) / Raw(bytes(50))))
    found = DropCounters(switch.plane.maps["ovn_drop_flows"]).read()
    assert [(d.reason, d.dp) for d in found] == [(reason("DROP_NO_FLOW"), 1)]


def test_numbers_of_other_flows_count_from_nothing(switch: Bed) -> None:
    maps = switch.plane.maps
    switch.send("p2", bytes(Ether(src=mac(2), dst=mac(3), type=0x1234) / Raw(bytes(50))))
    switch.send("p2", bytes(Ether(src=mac(2), dst=mac(3), type=0x88B5) / Raw(bytes(50))))
    switch.received(1)
    ((drop, _),) = DropCounters(maps["ovn_drop_flows"]).read().items()
    counted = set(Counters("ovn_flows", maps["ovn_flows"]).used())
    accounts.forget(maps, {drop.flow})
    assert not DropCounters(maps["ovn_drop_flows"]).read()
    assert set(Counters("ovn_flows", maps["ovn_flows"]).used()) == counted - {drop.flow}
    accounts.forget(maps)
    assert not Counters("ovn_flows", maps["ovn_flows"]).used()
