# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics over a unix socket and TCP, read as Prometheus reads them."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ovn_bpf_controller.sandbox import netns, process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS[:1]
REPO = Path(__file__).parents[2]
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""
Values = dict[tuple[str, str], float]
# Of ovn-kubernetes' exporter for ovn-controller.
KNOWN = {
    *("build_info", "southbound_database_connected", "encap_ip", "encap_type", "monitor_all"),
    *("remote_probe_interval_seconds", "sb_connection_method", "integration_bridge_patch_ports"),
    *("integration_bridge_geneve_ports", "lflow_run", "flow_generation_total_samples"),
    *("flow_installation_95th_percentile", "if_status_mgr_run_maximum", "bfd_run_minimum"),
    *("ofctrl_seqno_run_short_term_avg", "patch_run_long_term_avg", "ct_zone_commit_maximum"),
}


def wait_until(condition: Callable[[], bool]) -> None:
    process.wait_until(condition, 30, "the metrics to come or go")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self._path))


def values(connection: http.client.HTTPConnection) -> Values:
    """Samples by name and port, or the first label."""
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    assert answer.status == 200
    text = answer.read().decode()
    connection.close()
    return {
        (sample.name, sample.labels.get("port") or next(iter(sample.labels.values()), "")): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def path(bed: Sandbox) -> Iterator[Path]:
    hv1 = bed.chassis["hv1"]
    found = hv1.root / "metrics.sock"
    hv1.vsctl("set", "open", ".", f"external_ids:ovn-bpf-metrics=unix:{found}")
    wait_until(found.exists)
    yield found
    hv1.vsctl("remove", "open", ".", "external_ids", "ovn-bpf-metrics")
    wait_until(lambda: not found.exists())


def test_names_of_ovn_controllers_exporters_are_there(bed: Sandbox, path: Path) -> None:
    bed.sync()
    found = values(UnixConnection(path))
    names = {name.removesuffix("_total") for name, _ in found}
    assert not {f"ovn_controller_{name}" for name in KNOWN} - names
    assert found["ovn_controller_southbound_database_connected", ""] == 1
    assert found["ovn_controller_integration_bridge_geneve_ports", ""] == 1
    assert found["ovn_bpf_complete", ""] == 1


def test_ports_and_drops_are_counted(bed: Sandbox, path: Path) -> None:
    before = values(UnixConnection(path))
    for _ in range(3):
        assert traffic.answers(bed, "vm1", "vm2")
    # To a protocol that no flow of port security takes: a source that is not vm1's.
    guest = bed.ports["vm1"]
    with netns.entered(guest.netns):
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        raw.bind(("eth0", 0))
    with raw:
        raw.send(b"\xff" * 6 + bytes.fromhex("0a00000000ee0800") + bytes(60))
    key = ("ovn_bpf_port_sent_packets_total", "vm1")
    after = values(UnixConnection(path))
    assert after[key] >= before[key] + 4
    dropped = "ovn_bpf_dropped_packets_total"
    assert sum(v for (n, _), v in after.items() if n == dropped) > sum(
        v for (n, _), v in before.items() if n == dropped
    )
    shown = json.loads(bed.chassis["hv1"].appctl("ovn-bpf/drops", "--json"))
    assert {row["reason"] for row in shown} == {label for name, label in after if name == dropped}


def test_answers_of_the_kernel_are_counted(bed: Sandbox, path: Path) -> None:
    row = bed.nbctl("create", "DNS", 'records={"vm.ovn.org"="10.0.0.4"}')
    bed.nbctl("set", "logical_switch", "sw0", f"dns_records={row}")
    bed.nbctl("--wait=hv", "sync")
    server = bed.ports["vm2"].guest.address(4)
    dig = ["dig", f"@{server}", "+short", "+tries=5", "vm.ovn.org"]
    inside = ["ip", "netns", "exec", bed.ports["vm1"].netns]
    assert netns.run([*inside, *dig]).split() == ["10.0.0.4"]
    found = values(UnixConnection(path))
    assert found["ovn_bpf_kernel_answered_packets_total", "DNS"] >= 1
    assert found["ovn_bpf_kernel_passed_packets_total", "DNS"] == 0


def test_a_tcp_address_serves_as_well(bed: Sandbox) -> None:
    hv2 = bed.chassis["hv2"]
    hv2.vsctl("set", "open", ".", "external_ids:ovn-bpf-metrics=127.0.0.1:9478")

    def reached() -> bool:
        with netns.entered(hv2.netns):
            probe = socket.socket()
        with probe:
            return probe.connect_ex(("127.0.0.1", 9478)) == 0

    wait_until(reached)
    with netns.entered(hv2.netns):
        connection = http.client.HTTPConnection("127.0.0.1", 9478, timeout=30)
        connection.connect()
    assert values(connection)["ovn_bpf_local_datapaths", ""] == 1


def test_a_wrong_address_costs_only_the_metrics(bed: Sandbox) -> None:
    hv2 = bed.chassis["hv2"]
    hv2.vsctl("set", "open", ".", "external_ids:ovn-bpf-metrics=nonsense")
    log = hv2.root / "ovn-controller.log"
    wait_until(lambda: "no metrics at nonsense" in log.read_text())
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm2")


def test_the_dashboard_asks_for_metrics_that_there_are(bed: Sandbox, path: Path) -> None:
    board = json.loads((REPO / "packaging/grafana/ovn-bpf-controller.json").read_text())
    asked = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            asked |= set(re.findall(r"ovn_(?:bpf|controller)_\w+", target["expr"]))
    assert len(asked) > 10
    connection = UnixConnection(path)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    families = set(re.findall(r"^# TYPE (\w+) ", text, re.M))
    assert not asked - families
