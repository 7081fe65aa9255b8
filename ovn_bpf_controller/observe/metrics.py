# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics of the chassis: ovn_controller_* as exporters publish them, and ours.

families() reads the agent, so it runs in the main loop; observe.metrics_server serves
what it returns.  Names of the first kind are those of ovn-kubernetes' exporter, so
that dashboards and alerts for ovn-controller go on working; ovn_bpf_* are ours.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ovn_bpf_controller import __version__
from ovn_bpf_controller.datapath.counters import Counters
from ovn_bpf_controller.datapath.reasons import reason_text
from ovn_bpf_controller.model import PortKind
from ovn_bpf_controller.observe import inventory
from ovn_bpf_controller.observe.chassis import Chassis, unsupported_flows
from ovn_bpf_controller.process import coverage, stopwatch
from ovn_bpf_controller.process.version import program_version

_OVN: Final = "ovn_controller_"
_OURS: Final = "ovn_bpf_"
_NO_NAME: Final = re.compile(r"\W")


def families(chassis: Chassis) -> list[Metric]:
    """Everything, as of now.  Raises DataPlaneError when a map cannot be read."""
    return [
        *_build(),
        *_configuration(chassis),
        *_statistics(),
        *_data_plane(chassis),
        *_ports(chassis),
        *_drops(chassis),
        *_duties(chassis),
    ]


def _build() -> Iterator[Metric]:
    info = GaugeMetricFamily(
        f"{_OVN}build_info", "Versions, as labels.", labels=["version", "ovn_bpf_version"]
    )
    words = program_version().split()
    info.add_metric([words[1] if len(words) > 1 else "", __version__], 1)
    yield info
    usage = resource.getrusage(resource.RUSAGE_SELF)
    yield CounterMetricFamily(
        f"{_OURS}cpu_seconds", "CPU time of the agent.", usage.ru_utime + usage.ru_stime
    )


def _configuration(chassis: Chassis) -> Iterator[Metric]:
    config = chassis.binding.config

    def gauge(name: str, text: str, value: float) -> Metric:
        return GaugeMetricFamily(_OVN + name, text, value)

    def words(name: str, text: str, label: str, values: list[str]) -> Metric:
        family = GaugeMetricFamily(_OVN + name, text, labels=[label])
        for value in values:
            family.add_metric([value], 1)
        return family

    connected = chassis.southbound.connected
    yield gauge("southbound_database_connected", "1 while connected.", connected)
    yield gauge("monitor_all", "1 if all of the Southbound is read.", config.monitor_all)
    yield gauge(
        "remote_probe_interval_seconds", "Of the Southbound connection.", config.probe_ms / 1000
    )
    method = [chassis.southbound.remote] if chassis.southbound.remote else []
    yield words("sb_connection_method", "The Southbound's remote.", "connection_method", method)
    yield words("encap_ip", "Tunnel addresses.", "ipadd", list(config.encap_ips))
    yield words("encap_type", "Encapsulations.", "type", list(config.encap_types))
    mappings = dict(config.echoed).get("ovn-bridge-mappings", "")
    yield words("bridge_mappings", "Physical networks.", "mapping", [mappings] if mappings else [])
    tunnels = len(chassis.desired.tunnels)
    yield gauge("integration_bridge_geneve_ports", "Tunnels to other chassis.", tunnels)
    patches = sum(port.kind is PortKind.PATCH for port in chassis.desired.ports().values())
    yield gauge("integration_bridge_patch_ports", "Ports between datapaths.", patches)


def _statistics() -> Iterator[Metric]:
    """What coverage/show and stopwatch/show tell, by the names of exporters."""
    for name, total in coverage.totals().items():
        yield CounterMetricFamily(_OVN + _NO_NAME.sub("_", name), "Events of coverage/show.", total)
    for name, values in stopwatch.values().items():
        base = _OVN + _NO_NAME.sub("_", name)
        for what, value in values.items():
            text = "Of stopwatch/show, milliseconds but for total_samples."
            yield GaugeMetricFamily(f"{base}_{what}", text, value)


def _data_plane(chassis: Chassis) -> Iterator[Metric]:
    def gauge(name: str, text: str, value: float) -> Metric:
        return GaugeMetricFamily(_OURS + name, text, value)

    yield gauge("generation", "Of the tables that packets obey.", chassis.tables.generation)
    yield gauge("complete", "1 when all that is local is known.", chassis.desired.complete)
    yield gauge("local_datapaths", "Switches and routers here.", len(chassis.desired.datapaths))
    flows = {flow.uuid for flow in unsupported_flows(chassis)}
    yield gauge("unsupported_flows", "Logical flows not carried out as written.", len(flows))
    yield gauge("southbound_rows", "Rows in memory.", chassis.southbound.row_count)
    entries = GaugeMetricFamily(f"{_OURS}map_entries", "Elements in use.", labels=["map"])
    room = GaugeMetricFamily(f"{_OURS}map_max_entries", "Elements there are.", labels=["map"])
    for name, (used, most) in chassis.tables.use().items():
        entries.add_metric([name], used)
        room.add_metric([name], most)
    yield from (entries, room)
    tracked = GaugeMetricFamily(f"{_OURS}connections", "Tracked connections.", labels=["zone"])
    for zone, count in chassis.conntrack.zone_counts().items():
        tracked.add_metric([str(zone)], count)
    yield tracked
    yield gauge("connections_max", "Room for connections.", chassis.conntrack.capacity)


def _ports(chassis: Chassis) -> Iterator[Metric]:
    labels = ["port", "datapath"]
    found = {
        name: CounterMetricFamily(f"{_OURS}port_{name}", text, labels=labels)
        for name, text in (
            ("sent_packets", "From the guest."),
            ("sent_bytes", "From the guest."),
            ("got_packets", "To the guest."),
            ("got_bytes", "To the guest."),
        )
    }
    for row in inventory.ports(chassis, ""):
        if row["kind"] == "vif":
            for name, family in found.items():
                family.add_metric([row["port"], row["datapath"]], row[name])
    yield from found.values()


def _drops(chassis: Chassis) -> Iterator[Metric]:
    packets = CounterMetricFamily(f"{_OURS}dropped_packets", "By reason.", labels=["reason"])
    size = CounterMetricFamily(f"{_OURS}dropped_bytes", "By reason.", labels=["reason"])
    for reason, count in Counters("ovn_drops", chassis.plane.maps["ovn_drops"]).used().items():
        if reason:
            packets.add_metric([reason_text(reason)], count.packets)
            size.add_metric([reason_text(reason)], count.bytes)
    yield from (packets, size)


_SLOW_PATH_TIMES = {
    "worst": "Longest time for one packet.",
    "latency": "Longest time from a packet's arrival to its answer.",
    "late": "Longest time after something was due by the clock.",
}


def _duties(chassis: Chassis) -> Iterator[Metric]:
    said = chassis.answering.status
    starts = said.get("starts", 0)
    yield CounterMetricFamily(f"{_OURS}slowpath_starts", "Of the slow-path process.", starts)
    events = CounterMetricFamily(
        f"{_OURS}slowpath_events", "Packets and rejections by reason.", labels=["what"]
    )
    for what, count in said.get("counts", {}).items():
        events.add_metric([what], count)
    yield events
    for name, what in _SLOW_PATH_TIMES.items():
        times = GaugeMetricFamily(f"{_OURS}slowpath_{name}_seconds", what, labels=["duty"])
        for duty, milliseconds in said.get(f"{name}_ms", {}).items():
            times.add_metric([duty], milliseconds / 1000)
        yield times
    yield from _kernel_answers(chassis)


def _kernel_answers(chassis: Chassis) -> Iterator[Metric]:
    answered = CounterMetricFamily(
        f"{_OURS}kernel_answered_packets", "Answered without the slow path.", labels=["what"]
    )
    passed = CounterMetricFamily(
        f"{_OURS}kernel_passed_packets",
        "Passed on without the slow path, as there is no answer.",
        labels=["what"],
    )
    for name, served in chassis.serving.counts().items():
        answered.add_metric([name], served.answered.packets)
        passed.add_metric([name], served.passed.packets)
    yield from (answered, passed)
