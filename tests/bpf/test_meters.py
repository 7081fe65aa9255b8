# SPDX-License-Identifier: Apache-2.0
"""Meters let pass what they say, to the packet, and count the rest, on both CPUs."""

from __future__ import annotations

import os
import threading
import time

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller.compile.telling import meter_key
from ovn_bpf_controller.datapath.counters import Count
from ovn_bpf_controller.datapath.meters import Meters, Use
from ovn_bpf_controller.model import Meter
from tests.support.dataplane import Bed, mac, reason

KEY = meter_key("m")
SLOW = 1  # packet a second: none more comes within a test that takes less


def frame(length: int = 20) -> bytes:
    packet = Ether(src=mac(1), dst=mac(2)) / IP(src="10.0.0.1", dst="10.0.0.2")
    return bytes(packet / UDP(sport=1, dport=2) / Raw(b"q" * length))


@pytest.fixture
def meters(bed: Bed) -> Meters:
    return Meters(bed.plane.maps)


def pktps(rate: int, burst: int = 0) -> Meter:
    return Meter(True, ((rate, burst),))


def answering(bed: Bed, meter: str = "m") -> None:
    """A switch of one port that answers every packet, as far as the meter allows."""
    bed.plug(1)
    bed.flow(0, 0, 10, "ip4", "reject { outport <-> inport; output; };", meter=meter)
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()


def metered(bed: Bed, meters: Meters, count: int, data: bytes) -> Use:
    """What becomes of the next packets."""
    before = meters.read()[KEY]
    for _ in range(count):
        bed.send("p1", data)
    after = meters.read()[KEY]
    return Use(
        Count(*(a - b for a, b in zip(after.passed, before.passed, strict=True))),
        Count(*(a - b for a, b in zip(after.dropped, before.dropped, strict=True))),
    )


def test_a_burst_passes_to_the_packet_and_the_rest_is_counted(bed: Bed, meters: Meters) -> None:
    answering(bed)
    meters.put(KEY, pktps(SLOW, 10))
    start = time.monotonic()
    use = metered(bed, meters, 40, frame())
    late = int(time.monotonic() - start)  # a machine may be slow
    size = len(frame())
    assert 10 <= use.passed.packets <= 10 + late
    assert use.passed.packets + use.dropped.packets == 40
    assert use.passed.bytes == use.passed.packets * size
    assert use.dropped.bytes == use.dropped.packets * size
    assert len(bed.received(use.passed.packets)) == use.passed.packets
    assert bed.nothing_received()
    assert bed.drops()["above the rate of the logical flow's controller_meter"] == (
        use.dropped.packets
    )


def test_a_burst_of_0_is_as_much_as_the_rate(bed: Bed, meters: Meters) -> None:
    answering(bed)
    meters.put(KEY, pktps(SLOW))
    start = time.monotonic()
    use = metered(bed, meters, 20, frame())
    assert 1 <= use.passed.packets <= 1 + int(time.monotonic() - start)


def test_another_rate_counts_at_once_with_a_full_bucket(bed: Bed, meters: Meters) -> None:
    """As ovn-controller's change of a meter (OVN's system test "CoPP")."""
    answering(bed)
    meters.put(KEY, pktps(SLOW))
    first = metered(bed, meters, 20, frame())
    start = time.monotonic()
    meters.put(KEY, pktps(10))
    use = metered(bed, meters, 40, frame())
    assert 10 <= use.passed.packets <= 10 + int(10 * (time.monotonic() - start))
    whole = meters.read()[KEY]
    assert whole.passed.packets == first.passed.packets + use.passed.packets
    assert whole.passed.packets + whole.dropped.packets == 60


def test_the_next_agent_takes_counts_and_buckets_over(bed: Bed, meters: Meters) -> None:
    answering(bed)
    meters.put(KEY, pktps(SLOW, 5))
    start = time.monotonic()
    first = metered(bed, meters, 20, frame())
    later = Meters(bed.plane.maps)
    assert later.keys() == {KEY}
    later.put(KEY, pktps(SLOW, 5))
    use = metered(bed, later, 20, frame())
    assert first.passed.packets + use.passed.packets <= 5 + int(time.monotonic() - start)
    whole = later.read()[KEY]
    assert whole.passed.packets + whole.dropped.packets == 40


def test_kilobits_a_second(bed: Bed, meters: Meters) -> None:
    """1,000 kbit at once, of frames of 1,000 bytes: 125."""
    answering(bed)
    data = frame(1000 - len(frame(0)))
    assert len(data) == 1000
    meters.put(KEY, Meter(False, ((1, 1000),)))
    use = metered(bed, meters, 200, data)
    assert use == Use(Count(125, 125_000), Count(75, 75_000))


def test_all_bands_must_let_it_pass(bed: Bed, meters: Meters) -> None:
    answering(bed)
    meters.put(KEY, Meter(True, ((SLOW, 30), (2, 7), (3, 20))))
    start = time.monotonic()
    use = metered(bed, meters, 40, frame())
    assert 7 <= use.passed.packets <= 7 + int(2 * (time.monotonic() - start))


def test_over_time_a_meter_lets_pass_what_it_says(bed: Bed, meters: Meters) -> None:
    answering(bed)
    program, device = bed.plane.programs["ovn_vif"], bed.devices["v1"]
    assert program
    meters.put(KEY, pktps(1000))
    begun = time.monotonic()
    bed.send("p1", frame())
    first = last = time.monotonic()
    spilt = 0.0  # seconds, which the bucket could not take up: it was full
    while last < first + 1.5:
        bed.run("ovn_vif", frame(), device, repeat=20)
        now = time.monotonic()
        spilt += max(now - last - 0.9, 0.0)
        last = now
    bed.run("ovn_vif", frame(), device, repeat=2000)  # all that there is by now
    ended = time.monotonic()
    passed = meters.read()[KEY].passed.packets
    assert 1000 + 1000 * (last - first - spilt) - 2 <= passed
    assert passed <= 1000 + 1000 * (ended - begun) + 2


def test_counts_are_exact_on_all_cpus(bed: Bed, meters: Meters) -> None:
    """Two CPUs at once; and the agent reads and changes the meter meanwhile."""
    bed.plug(1)
    bed.flow(0, 0, 10, "ip4", "reject { drop; };", meter="m")
    bed.flows_live()
    meters.put(KEY, pktps(SLOW, 1000))
    each, errors = 40_000, list[BaseException]()

    def flood(cpu: int) -> None:
        try:
            os.sched_setaffinity(0, {cpu})
            bed.run("ovn_vif", frame(), bed.devices["v1"], repeat=each)
        except BaseException as error:
            errors.append(error)

    cpus = sorted(os.sched_getaffinity(0))[:2]
    threads = [threading.Thread(target=flood, args=(cpu,)) for cpu in cpus]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    changes = 0
    while any(thread.is_alive() for thread in threads):
        changes += 1
        meters.put(KEY, pktps(SLOW, 1000 + changes % 2))
        use = meters.read()[KEY]
        assert use.passed.bytes == use.passed.packets * len(frame())  # of one moment
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    use = meters.read()[KEY]
    assert use.passed.packets + use.dropped.packets == each * len(threads)
    most = 1001 * (changes + 1) + SLOW * (time.monotonic() - start)
    assert 1000 <= use.passed.packets <= most
    assert use.dropped.packets == bed.dropped(reason("DROP_COPP"))


def test_set_meter_drops_what_is_above_its_rate(bed: Bed, meters: Meters) -> None:
    bed.plug(1, 2)
    bed.flow(0, 0, 10, "1", 'set_meter(8, 80); outport = "vm2"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    [(name, said)] = bed.compiler.uses.meters().items()
    flow = 1  # the first of two
    assert name == f"__string: uuid {flow} kbps burst stats bands=type=drop rate=8 burst_size=80"
    assert said == Meter(False, ((8, 80),))
    meters.put(meter_key(name), said)
    data = frame(1000 - len(frame(0)))
    start = time.monotonic()
    for _ in range(30):
        bed.send("p1", data)
    most = 10 + int(time.monotonic() - start)
    passed = meters.read()[meter_key(name)].passed.packets
    assert 10 <= passed <= most
    assert len(bed.received(passed)) == passed
    assert bed.dropped(reason("DROP_METER")) == 30 - passed


def test_above_the_rate_nothing_is_learnt_but_the_packet_goes_on(bed: Bed, meters: Meters) -> None:
    """put_fdb under a controller_meter: OVN's data path goes on with the packet."""
    bed.plug(1, 2)
    bed.flow(0, 0, 10, "1", 'put_fdb(inport, eth.src); outport = "vm2"; output;', meter="m")
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    meters.put(KEY, pktps(SLOW))
    use = metered(bed, meters, 5, frame())
    assert use.dropped.packets >= 1
    assert len(bed.received(5)) == 5
    assert not bed.drops()


def test_a_meter_that_nothing_defines_lets_everything_pass(bed: Bed) -> None:
    answering(bed)
    for _ in range(20):
        bed.send("p1", frame())
    assert len(bed.received(20)) == 20
