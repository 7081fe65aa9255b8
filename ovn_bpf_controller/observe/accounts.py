# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf/flows, ovn-bpf/drops and ovn-bpf/meters: what was counted, with the flows' names.

The program counts by the flow's number (csrc/bpf/drop.h, interp.h); a packet counts
for every flow that it matches, clones and members of groups included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.counters import Counters, DropCounters
from ovn_bpf_controller.datapath.reasons import reason_text
from ovn_bpf_controller.observe.chassis import Chassis, Rows, datapath_keys, datapath_names


def forget(maps: Mapping[str, int], numbers: Collection[int] | None = None) -> None:
    """Begins anew for numbers that mean other flows now; None: for all.

    maps: fds by name.  Raises DataPlaneError.
    """
    counters = Counters("ovn_flows", maps["ovn_flows"])
    counters.clear(counters.used() if numbers is None else numbers)
    drops = DropCounters(maps["ovn_drop_flows"])
    drops.forget([d for d in drops.read() if numbers is None or d.flow in numbers])


def flows(chassis: Chassis, which: str) -> Iterator[dict[str, Any]]:
    """Logical flows that are in the data plane, one row for each rule.

    Rows are made as they are asked for: there may be a hundred thousand.
    """
    compiler = chassis.flows.compiler
    counters = Counters("ovn_flows", chassis.plane.maps["ovn_flows"])
    counts, keys = counters.used(), datapath_keys(chassis, which)
    # Not by datapath: each time all stages would be gone through.
    for rule in compiler.rules(next(iter(keys)) if len(keys) == 1 else None):
        if rule.dp not in keys:
            continue
        count = counts.get(rule.flow) if rule.flow else None
        uuid = compiler.flow_ids.uuid(rule.flow) or "" if rule.flow else ""
        yield {
            "datapath": rule.dp,
            "packets": f"n_packets={count.packets if count else 0}",
            "bytes": f"n_bytes={count.bytes if count else 0}",
            "uuid": f"uuid=0x{uuid[:8]}" if uuid else "uuid=-",
            "rule": compiler.line(rule),
        }


def drops(chassis: Chassis, _which: str) -> Rows:
    """Dropped packets and bytes by reason, datapath and flow."""
    names = datapath_names(chassis)
    ids = chassis.flows.compiler.flow_ids
    found: Rows = []
    told: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    dropped = DropCounters(chassis.plane.maps["ovn_drop_flows"]).read()
    for drop, count in sorted(dropped.items()):
        told[drop.reason] += count.packets
        sizes[drop.reason] += count.bytes
        half = "egress" if drop.table >= lib.OVN_EGRESS_BASE else "ingress"
        uuid = ids.uuid(drop.flow) if drop.flow else None
        found.append(
            {
                "reason": reason_text(drop.reason),
                "packets": count.packets,
                "bytes": count.bytes,
                "datapath": names.get(drop.dp, str(drop.dp)),
                "table": f"{half} {drop.table % lib.OVN_EGRESS_BASE}",
                "flow": uuid or "-",
            }
        )
    # Before the first table, or older than the LRU map remembers.
    counters = Counters("ovn_drops", chassis.plane.maps["ovn_drops"])
    for reason, count in counters.used().items():
        packets = count.packets - told[reason]
        if reason != lib.DROP_NONE and packets > 0:
            found.append(
                {
                    "reason": reason_text(reason),
                    "packets": packets,
                    "bytes": max(0, count.bytes - sizes[reason]),
                    "datapath": "-",
                    "table": "-",
                    "flow": "-",
                }
            )
    return found


def meters(chassis: Chassis, _which: str) -> Rows:
    """Meters that flows name, and what each let pass."""
    found: Rows = []
    for meter in chassis.metering.shown():
        unit = "" if meter.said is None else "pktps" if meter.said.packets else "kbps"
        bands = meter.said.bands if meter.said else ()
        use = meter.use
        found.append(
            {
                "name": meter.name,
                "unit": unit or "(not defined)",
                "bands": " ".join(f"rate={rate},burst={burst or rate}" for rate, burst in bands),
                "passed": f"n_packets={use.passed.packets if use else 0}",
                "passed_bytes": f"n_bytes={use.passed.bytes if use else 0}",
                "dropped": f"dropped_packets={use.dropped.packets if use else 0}",
                "dropped_bytes": f"dropped_bytes={use.dropped.bytes if use else 0}",
            }
        )
    return found
