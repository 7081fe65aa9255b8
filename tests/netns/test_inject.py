# SPDX-License-Identifier: Apache-2.0
"""inject-pkt: what enters is the frame that ovn-controller would make of the same words.

vm1 and vm3 are on our chassis, vm2 and vm4 on the real one; what is injected at the
former of each pair must come out at the latter, byte for byte the same.
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

ANNOUNCED = ()
KINDS = OURS
TOPOLOGY = """
chassis: {ours: $agent, real: {agent: ovn-controller}}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}, sw1: {ipv4: 10.1.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: ours, addresses: [unknown]}
  vm3: {switch: sw0, chassis: ours, addresses: [unknown]}
  vm2: {switch: sw1, chassis: real, addresses: [unknown]}
  vm4: {switch: sw1, chassis: real, addresses: [unknown]}
"""
SOURCE, TARGET = "02:00:00:00:bb:01", "02:00:00:00:bb:02"
PAIRS = {"ours": ("vm1", "vm3"), "real": ("vm2", "vm4")}
IP4 = "ip4.src == 10.0.0.77 && ip4.dst == 10.0.0.88 && ip.ttl == 64"
IP6 = "ip6.src == fd00::77 && ip6.dst == fd00::88 && ip.ttl == 9"
FLOWS = {
    "udp": f"{IP4} && udp.src == 53 && udp.dst == 4369",
    "tcp": f"{IP4} && tcp.src == 7 && tcp.dst == 8 && tcp.flags == 0x18",
    "syn": f"{IP4} && tcp.src == 7 && tcp.dst == 8 && tcp.flags == 2",
    "ping": f"{IP4} && icmp4.type == 8 && icmp4.code == 0",
    "unreachable": f"{IP4} && icmp4.type == 3 && icmp4.code == 1",
    "sctp": f"{IP4} && sctp.src == 7 && sctp.dst == 8",
    "other protocol": f"{IP4} && ip.proto == 47",
    "first fragment": f"{IP4} && ip.first_frag && udp.dst == 5",
    "later fragment": f"{IP4} && ip.later_frag",
    "arp": "arp.op == 1 && arp.sha == 02:00:00:00:bb:01 && arp.spa == 10.0.0.77 && "
    "arp.tha == 00:00:00:00:00:00 && arp.tpa == 10.0.0.88",
    "rarp": "eth.type == 0x8035",
    "udp6": f"{IP6} && ip6.label == 0x12345 && udp.src == 1 && udp.dst == 2",
    "tcp6": f"{IP6} && tcp.dst == 80",
    "ping6": f"{IP6} && icmp6.type == 128 && icmp6.code == 0",
}


def injected(bed: Sandbox, chassis: str, flow: str) -> bytes | None:
    """The frame that comes out where the pair's other guest is."""
    source, target = PAIRS[chassis]
    text = f'inport == "{source}" && eth.src == {SOURCE} && eth.dst == {TARGET} && {flow}'
    mac = bytes.fromhex(SOURCE.replace(":", ""))
    with traffic.Wire(bed.ports[target].netns, "eth0") as wire:
        for _ in range(1 if chassis == "ours" else 3):
            assert bed.chassis[chassis].appctl("inject-pkt", text) == ""
            if frame := wire.first(lambda frame: frame[6:12] == mac, traffic.ARRIVES):
                return frame
    return None


@pytest.mark.parametrize("name", FLOWS)
def test_the_same_frame_comes_out(bed: Sandbox, name: str) -> None:
    ours = injected(bed, "ours", FLOWS[name])
    assert ours is not None
    assert ours == injected(bed, "real", FLOWS[name])


def test_neighbour_messages(bed: Sandbox) -> None:
    """Without flows that answer: the pair's switch knows no addresses."""
    flow = "ip6.src == fd00::77 && ip6.dst == ff02::1:ff00:88 && nd_ns && nd.target == fd00::88"
    flow += f" && nd.sll == {SOURCE}"
    ours, real = (injected(bed, chassis, flow) for chassis in PAIRS)
    assert ours is not None and ours == real


def test_a_packet_goes_through_the_whole_pipeline(bed: Sandbox) -> None:
    """Ports of other chassis, too, and ACLs are obeyed."""
    bed.nbctl("--wait=hv", "acl-add", "sw0", "from-lport", "1000", "udp.dst == 666", "drop")
    text = f'inport == "vm1" && eth.src == {SOURCE} && eth.dst == {TARGET} && {IP4}'
    text += " && ip.dscp == 11 && ip.ecn == 2"
    with traffic.Wire(bed.ports["vm3"].netns, "eth0") as wire:
        for port in (666, 667):
            bed.chassis["ours"].appctl(
                "inject-pkt", f"{text} && ip.dscp == 11 && ip.ecn == 2 && udp.dst == {port}"
            )
        got = wire.first(lambda data: UDP in Ether(data), traffic.ARRIVES)
    assert got is not None
    packet = Ether(got)
    assert packet[UDP].dport == 667
    # Of this the real one makes 0.
    assert packet[IP].tos == 11 << 2 | 2
    del packet[IP].chksum, packet[UDP].chksum
    assert bytes(Ether(bytes(packet))) == got  # checksums were right


@pytest.mark.parametrize("chassis", PAIRS)
def test_what_cannot_be_injected_is_refused(bed: Sandbox, chassis: str) -> None:
    other = PAIRS["real" if chassis == "ours" else "ours"][0]
    for text, why in (
        (f'inport == "{other}" && ip4', "ingress port not found on hypervisor."),
        ("ip4", "ingress port not found on hypervisor."),
        (f'inport == "{PAIRS[chassis][0]}" && ip4 && ip6', "contradictory"),
        (f'inport == "{PAIRS[chassis][0]}" && udp.dst == {{1, 2}}', "ambiguous"),
        ("no.such == 1", "no.such"),
    ):
        with pytest.raises(SandboxError) as refused:
            bed.chassis[chassis].appctl("inject-pkt", text)
        assert why in str(refused.value)
