# SPDX-License-Identifier: Apache-2.0
"""Rejected packets from another chassis: the answer goes back through the tunnel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.support.dataplane import Bed
from tests.support.translation import CLIENT, SERVER, VERSIONS, Router, ip, offloaded

SIZES = (0, 1, 20, 300, 1300)


@pytest.fixture(name="router")
def _router(bed: Bed) -> Iterator[Router]:
    """What the other chassis sends with a TTL of 7 is rejected."""
    made = Router(bed, remote=True)
    answer = "reject { outport <-> inport; next(pipeline=ingress, table=5); };"
    bed.flow(1, 0, 30, 'inport == "vm2" && ip.ttl == 7', answer, dp=2)
    bed.flow(0, 5, 0, "1", "output;", dp=2)
    bed.flows_live()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("left", [False, True], ids=["summed", "left to the device"])
def test_a_segment_from_another_chassis_is_reset(router: Router, version: int, left: bool) -> None:
    ttl = {"ttl" if version == 4 else "hlim": 7}
    for size in SIZES:
        l4 = TCP(sport=80, dport=1234, seq=5, flags="S", options=[("MSS", 1400)]) / Raw(b"x" * size)
        packet = ip(version, SERVER[version], CLIENT[version], **ttl) / l4
        if left:
            router.answer(*offloaded(packet))
        else:
            router.answer(bytes(packet), 0, left=False)
        (got,) = router.seen()
        frame = Ether(got)
        layer = frame[IP] if version == 4 else frame[IPv6]
        assert (layer.src, layer.dst) == (CLIENT[version], SERVER[version])
        assert (frame[TCP].flags, frame[TCP].ack) == ("RA", 6 + size)
        assert len(frame[TCP]) == 20


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("left", [False, True], ids=["summed", "left to the device"])
def test_an_error_about_a_packet_from_another_chassis(
    router: Router, version: int, left: bool
) -> None:
    ttl = {"ttl" if version == 4 else "hlim": 7}
    for size in SIZES:
        l4 = UDP(sport=80, dport=1234) / Raw(b"x" * size)
        packet = ip(version, SERVER[version], CLIENT[version], **ttl) / l4
        if left:
            router.answer(*offloaded(packet), proto=17)
        else:
            router.answer(bytes(packet), 0, left=False)
        (got,) = router.seen()
        frame = Ether(got)
        layer = frame[IP] if version == 4 else frame[IPv6]
        assert (layer.src, layer.dst) == (CLIENT[version], SERVER[version])
        most = 548 if version == 4 else 1232
        quoted = got[14 + (28 if version == 4 else 48) :]
        if not left or len(packet) - 14 <= most:
            assert quoted == bytes(packet)[14:][:most]
