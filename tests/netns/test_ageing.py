# SPDX-License-Identifier: Apache-2.0
"""Timestamps of rows that packets use are renewed, others are left to grow old.

The host's ovn-northd has no thresholds yet: once it has made the flows it is stopped,
and what later releases write is written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from string import Template

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.sandbox import bed as sandbox_bed
from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import beds, traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24, ipv6: "fd00::/64"}}
routers:
  r0:
    ports:
      r0-sw0: {switch: sw0, mac: "0e:00:00:00:00:01", networks: [10.0.0.1/24, "fd00::1/64"]}
ports:
  vm1: {switch: sw0, chassis: hv1}
"""
ROUTER = "0e:00:00:00:00:01"
BUSY, IDLE = "0e:aa:00:00:00:01", "0e:aa:00:00:00:02"
THRESHOLD = 4  # seconds
ARRIVES = 60.0


@pytest.fixture(scope="module")
def bed(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """With the column of FDB that OVN 23.09 brought."""
    host = json.loads(Path(sandbox_bed._SCHEMAS["sb"]).read_text())
    columns = host["tables"]["FDB"]["columns"]
    columns.setdefault("timestamp", {"type": {"key": "integer"}})
    schema = tmp_path_factory.mktemp("schema") / "ovn-sb.ovsschema"
    schema.write_text(json.dumps(host))
    text = Template(TOPOLOGY).substitute(agent=beds.AGENTS[kind])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sandbox_bed._SCHEMAS, "sb", str(schema))
        with Sandbox(parse(text)) as sandbox:
            yield sandbox


@pytest.fixture(scope="module", autouse=True)
def thresholds(bed: Sandbox) -> None:
    """As OVN 24.03 writes them."""
    bed.nbctl("--wait=hv", "lsp-set-addresses", "vm1", bed.ports["vm1"].mac, "unknown")
    pid = process.read_pid(bed.layout.root / "ovn-northd.pid")
    assert pid is not None
    process.stop(pid)
    find = ("--bare", "--columns=_uuid", "find")
    flow = bed.sbctl(*find, "logical_flow", "external_ids:stage-name=lr_in_learn_neighbor",
                     "priority=100").strip()  # fmt: skip
    bed.sbctl("set", "logical_flow", flow, 'actions="mac_cache_use; next;"')
    for name, key in (("r0", "mac_binding_age_threshold"), ("sw0", "fdb_age_threshold")):
        uuid = bed.sbctl(*find, "datapath_binding", f"external_ids:name={name}").strip()
        bed.sbctl("set", "datapath_binding", uuid, f"external_ids:{key}={THRESHOLD}")


def say(bed: Sandbox, mac: str, version: int) -> None:
    """A packet to the router."""
    last = mac[-1]
    ip = (
        IP(src=f"10.0.0.5{last}", dst="10.0.0.1")
        if version == 4
        else IPv6(src=f"fd00::5{last}", dst="fd00::1")
    )
    traffic.send_raw(bed, "vm1", bytes(Ether(src=mac, dst=ROUTER) / ip / UDP()))


def introduce(bed: Sandbox, mac: str) -> None:
    """By an ARP reply and an advertisement, to the router."""
    last = mac[-1]
    arp = ARP(op=2, hwsrc=mac, psrc=f"10.0.0.5{last}", hwdst=ROUTER, pdst="10.0.0.1")
    ip = IPv6(src=f"fd00::5{last}", dst="fd00::1", hlim=255)
    na = ip / ICMPv6ND_NA(tgt=f"fd00::5{last}", R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mac)
    for packet in (arp, na):
        traffic.send_raw(bed, "vm1", bytes(Ether(src=mac, dst=ROUTER) / packet))


def stamps(bed: Sandbox, table: str, mac: str) -> dict[str, int]:
    """Timestamps by uuid of the rows of an address; ovn-sbctl knows its own schema."""
    select = {"op": "select", "table": table, "where": [["mac", "==", mac]]}
    request = json.dumps(["OVN_Southbound", {**select, "columns": ["_uuid", "timestamp"]}])
    answer = netns.run(["ovsdb-client", "transact", bed.layout.sb, request])
    return {row["_uuid"][1]: row["timestamp"] for row in json.loads(answer)[0]["rows"]}


def test_what_is_used_stays_young(bed: Sandbox) -> None:
    for mac in (BUSY, IDLE):
        introduce(bed, mac)
        process.wait_until(
            lambda mac=mac: (
                len(stamps(bed, "MAC_Binding", mac)) == 2  # type: ignore[misc]
                and len(stamps(bed, "FDB", mac)) == 1
            ),
            ARRIVES,
            "the rows",
        )

    def written(mac: str) -> list[int]:
        found = [stamps(bed, table, mac) for table in ("MAC_Binding", "FDB")]
        return sorted(stamp for each in found for stamp in each.values())

    def renewed() -> bool:
        """The others are too old by then."""
        for version in (4, 6):
            say(bed, BUSY, version)
        busy = written(BUSY)
        assert len(busy) == 3
        return busy[0] > written(IDLE)[-1] + 1000 * THRESHOLD

    process.wait_until(renewed, ARRIVES, "rows that are used to outlive the others")
