# SPDX-License-Identifier: Apache-2.0
"""The least of a router that translates, for tests of frames."""

from __future__ import annotations

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller.model import Datapath
from tests.support.dataplane import Bed, mac

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
