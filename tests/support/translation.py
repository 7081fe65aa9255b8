# SPDX-License-Identifier: Apache-2.0
"""The least of a router that translates, for tests of frames."""

from __future__ import annotations

from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from ovn_bpf_controller.model import Datapath, Port, PortKind
from tests.support.dataplane import Bed, mac
from tests.support.sums import assert_right, pseudo_sum
from tests.support.taps import Tap

ZONE = 7
VERSIONS = (4, 6)
CLIENT = {4: "10.0.0.1", 6: "fd00::1"}
OTHER = {4: "10.0.0.2", 6: "fd00::2"}
SERVER = {4: "10.1.0.9", 6: "fd01::9"}
SHOWN = {4: "172.16.0.5", 6: "fd09::5"}  # whom the server sees


def translating(bed: Bed) -> None:
    """Datapath 2 translates sources from vm1 to vm2, which are yet to be plugged.

    Table 1 has what is not invalid on its way out, table 2 sends.
    """
    bed.apply(datapaths_added=[Datapath(2, dnat_zone=ZONE, snat_zone=ZONE)])
    bed.world.ports |= {(2, "vm1"): 1, (2, "vm2"): 2}
    for version in VERSIONS:
        out = f'ip{version} && inport == "vm1"'
        bed.flow(0, 0, 10, out, f"ct_snat({SHOWN[version]});", dp=2)
    bed.flow(0, 0, 10, 'ip && inport == "vm2"', "ct_snat;", dp=2)
    bed.flow(0, 1, 20, "ct.inv || !ct.trk", "drop;", dp=2)
    bed.flow(0, 1, 0, "1", "next;", dp=2)
    bed.flow(0, 2, 10, 'inport == "vm1"', 'outport = "vm2"; output;', dp=2)
    bed.flow(0, 2, 10, 'inport == "vm2"', 'outport = "vm1"; output;', dp=2)
    bed.flow(1, 0, 0, "1", "output;", dp=2)
    bed.flows_live()


def ip(version: int, src: str, dst: str, **fields: object) -> Packet:
    """A frame with an IP header."""
    made = IP(src=src, dst=dst, **fields) if version == 4 else IPv6(src=src, dst=dst, **fields)
    return Ether(src=mac(1), dst=mac(2)) / made


def offloaded(packet: Packet) -> tuple[bytes, int]:
    """A frame with a partial checksum, and where its transport header is."""
    frame = bytearray(bytes(packet))
    at = 34 if IP in packet else 54
    proto = 6 if TCP in packet else 17
    where = at + (16 if proto == 6 else 6)
    frame[where : where + 2] = pseudo_sum(bytes(frame[14:]), proto, len(frame) - at)
    return bytes(frame), at


class Router:
    """vm1 on tap1; vm2 on tap2, or on another chassis behind the underlay's tap."""

    def __init__(self, bed: Bed, *, remote: bool) -> None:
        self.bed = bed
        self.remote = remote
        self.client = Tap("tap1")
        self.server = Tap("tap2")
        translating(bed)
        bed.attach("tap1", self.client.ifindex, "ovn_vif")
        bed.apply(ports_added=[Port(2, 1, PortKind.VIF, ifindex=self.client.ifindex)])
        if not remote:
            bed.attach("tap2", self.server.ifindex, "ovn_vif")
            bed.apply(ports_added=[Port(2, 2, PortKind.VIF, ifindex=self.server.ifindex)])
            return
        bed.attach("tap2", self.server.ifindex, "ovn_underlay")
        bed.tunnel("hv2", self.server.ifindex)
        bed.apply(ports_added=[Port(2, 2, PortKind.REMOTE, chassis="hv2")])
        # What comes from the other chassis has been through its ingress pipeline.
        bed.flow(1, 0, 10, 'ip && inport == "vm2"', "ct_snat;", dp=2)
        bed.flow(1, 1, 0, "1", "output;", dp=2)
        bed.flows_live()

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def seen(self, count: int = 1) -> list[bytes]:
        """What the server gets; checksums are right."""
        frames = self.server.received(count)
        if self.remote:
            frames = [bytes(Ether(each)[GENEVE].payload) for each in frames]
        for each in frames:
            assert_right(each)
        return frames

    def answer(
        self, frame: bytes, l4: int, *, gso: int = 0, proto: int = 6, left: bool = True
    ) -> None:
        """From the server; left: its checksum to the device."""
        if self.remote:
            ports = GeneveOptions(classid=0x102, type=0x80, data=bytes([0, 2, 0, 1]))
            outer = (
                Ether(src="0a:00:00:00:00:02", dst="0a:00:00:00:00:01")
                / IP(src="192.0.2.2", dst="192.0.2.1")
                / UDP(sport=40000, dport=6081, chksum=0)
                / GENEVE(proto=0x6558, vni=2, options=[ports])
            )
            frame = bytes(outer / Raw(frame))
            l4 += len(outer)
        if left:
            self.server.send_offloaded(frame, l4, gso=gso, proto=proto)
        else:
            self.server.send(frame)
