# SPDX-License-Identifier: Apache-2.0
"""What routers need besides: choices by weight, queues, gateway ports, floods."""

from __future__ import annotations

from collections import Counter

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.model import Port, PortKind
from tests.support.dataplane import Bed, mac

FLOWS = 2000


def choosing(bed: Bed, select: str, *ports: int) -> None:
    """What comes in by vm1 leaves by the port that `select` puts into reg8[16..31]."""
    bed.plug(1, *ports)
    bed.flow(0, 0, 0, "1", f"reg8[16..31] = {select};")
    for port in ports:
        bed.flow(0, 1, 0, f"reg8[16..31] == {port}", f'outport = "vm{port}"; output;')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()


def spread(bed: Bed, frames: list[bytes]) -> Counter[str]:
    found: Counter[str] = Counter()
    for at in range(0, len(frames), 50):
        for frame in frames[at : at + 50]:
            bed.send("p1", frame)
        found.update(name for name, _ in bed.received(len(frames[at : at + 50])))
    return found


def many(v6: bool) -> list[bytes]:
    ip = IPv6(src="fd00::1", dst="fd00::9") if v6 else IP(src="10.0.0.1", dst="10.0.0.9")
    base = Ether(src=mac(1), dst=mac(9)) / ip
    return [bytes(base / UDP(sport=1000 + n, dport=53)) for n in range(FLOWS)]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize(
    ("select", "weights"),
    [
        ("select(2, 3)", {2: 1, 3: 1}),
        ("select(2=1, 3=2, 4=5)", {2: 1, 3: 2, 4: 5}),
        ("select(2=90, 3=10)", {2: 9, 3: 1}),
    ],
)
def test_connections_spread_by_weight(
    bed: Bed, v6: bool, select: str, weights: dict[int, int]
) -> None:
    choosing(bed, select, *weights)
    found = spread(bed, many(v6))
    whole = sum(weights.values())
    for port, weight in weights.items():
        share = FLOWS * weight / whole
        assert abs(found[f"p{port}"] - share) < max(share * 0.1, 4 * share**0.5), found


def test_a_connection_keeps_its_way(bed: Bed) -> None:
    choosing(bed, "select(2, 3, 4, 5)", 2, 3, 4, 5)
    for sport in (1, 2, 3, 4, 5):
        base = Ether(src=mac(1), dst=mac(9)) / IP(src="10.0.0.1", dst="10.0.0.9", id=sport)
        ways = set()
        for seq in range(20):
            bed.send("p1", bytes(base / TCP(sport=sport, dport=80, seq=seq, flags="A")))
            ((where, _),) = bed.received(1)
            ways.add(where)
        assert len(ways) == 1


def test_fragments_of_a_packet_go_one_way(bed: Bed) -> None:
    choosing(bed, "select(2, 3, 4, 5)", 2, 3, 4, 5)
    for host in range(1, 20):
        ether = Ether(src=mac(1), dst=mac(9))
        ip = IP(src=f"10.0.0.{host}", dst="10.0.1.1", proto=17)
        first = ether / ip.copy() / UDP(sport=host, dport=53) / Raw(b"x" * 8)
        first[IP].flags = "MF"
        later = ether / ip.copy() / Raw(b"y" * 16)
        later[IP].frag = 2
        bed.send("p1", bytes(first))
        bed.send("p1", bytes(later))
        ways = {where for where, _ in bed.received(2)}
        assert len(ways) == 1


def test_hash_fields_say_what_counts(bed: Bed) -> None:
    choosing(bed, 'select(values=(2, 3, 4, 5); hash_fields="ip_src,ip_dst")', 2, 3, 4, 5)
    assert len(spread(bed, many(False)[:200])) == 1


def test_a_forwarding_group_sends_to_one_of_its_ports(bed: Bed) -> None:
    bed.plug(1, 2, 3)
    bed.flow(0, 0, 0, "1", 'fwd_group(childports="vm2", "vm3");')
    bed.flow(1, 0, 0, "1", "output;")
    bed.flows_live()
    found = spread(bed, many(False)[:400])
    assert set(found) == {"p2", "p3"} and min(found.values()) > 100


def test_a_forwarding_group_with_liveness_needs_tunnels_to_all_its_ports(bed: Bed) -> None:
    bed.plug(1, 2, 3)
    bed.flow(0, 0, 0, "1", 'fwd_group(liveness="true", childports="vm2", "vm3");')
    bed.flow(1, 0, 0, "1", "output;")
    frame, redirected = many(False)[0], 7
    for tunnelled in ((2,), (2, 3), (3,)):
        bed.world.tunnelled = {(1, f"vm{n}") for n in tunnelled}
        bed.compiler.tunnels_changed()
        bed.flows_live()
        verdict = bed.run("ovn_vif", frame, bed.devices["v1"]).verdict
        assert (verdict == redirected) == (tunnelled == (2, 3))


# --- ports without a device -------------------------------------------------------


def test_a_chassisredirect_port_that_is_here_means_its_distributed_port(bed: Bed) -> None:
    bed.plug(1, 2)
    bed.apply(ports_added=[Port(1, 9, PortKind.ALIAS, peer_dp=1, peer_port=2)])
    bed.world.ports[1, "cr-vm2"] = 9
    bed.flow(0, 0, 0, "1", 'outport = "cr-vm2"; output;')
    bed.flow(1, 0, 10, 'outport == "vm2"', "ip.ttl--; output;")
    bed.flow(1, 0, 0, "1", "drop;")
    bed.flows_live()
    bed.send("p1", bytes(Ether(src=mac(1), dst=mac(2)) / IP(ttl=9) / UDP()))
    ((where, data),) = bed.received(1)
    assert (where, Ether(data)[IP].ttl) == ("p2", 8)


def test_an_alias_of_nothing_is_no_port(bed: Bed) -> None:
    bed.plug(1)
    bed.apply(ports_added=[Port(1, 9, PortKind.ALIAS, peer_dp=1, peer_port=77)])
    bed.world.ports[1, "cr"] = 9
    bed.flow(0, 0, 0, "1", 'outport = "cr"; output;')
    bed.flows_live()
    bed.send("p1", bytes(Ether(src=mac(1), dst=mac(2)) / IP() / UDP()))
    assert bed.nothing_received()
    assert bed.dropped(lib.DROP_NO_OUTPORT) == 1 == bed.all_dropped()
