# SPDX-License-Identifier: Apache-2.0
"""`ovn-bpf-ctl samples`: packets that sample() chose, a line of JSON for each.

It reads the data plane's ring buffer itself, so it needs no agent, and whoever reads
gets the samples: one reader at a time.  What is told while nobody reads is kept as far
as there is room, which is for about 3,000, and else counted.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath import locks, probe
from ovn_bpf_controller.datapath.events import SAMPLES, Event, Events
from ovn_bpf_controller.datapath.loader import pinned_map
from ovn_bpf_controller.datapath.maps import pinned
from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.observe import microflow

_BATCH = 256


def run(instance: str, number: int, bpffs: Path = probe.BPFFS) -> None:
    """Prints samples until `number` were, or for ever if it is 0.

    instance: as Plane has it.  Raises StartupError when there is no data plane, or
    somebody else reads.
    """
    path = pinned_map(instance, SAMPLES, bpffs)
    if path is None:
        raise StartupError("there is no data plane to read samples of")
    fd = pinned(path)
    lock = locks.taken(path.parent.parent, locks.SAMPLES)
    try:
        if lock is None:
            raise StartupError("another ovn-bpf-ctl reads the samples")
        with closing(Events(SAMPLES, fd)) as events:
            _print(events, number)
    finally:
        if lock is not None:
            os.close(lock)
        os.close(fd)


def _print(events: Events, number: int) -> None:
    poller = select.poll()
    poller.register(events.fd, select.POLLIN)
    left = number
    while True:
        found = list(events.read(min(left, _BATCH) if number else _BATCH))
        for event in found:
            sys.stdout.write(json.dumps(told(event)) + "\n")
        left -= len(found)
        if found:
            sys.stdout.flush()
        elif not number or left:
            poller.poll()
        if number and left <= 0:
            return


def told(event: Event) -> dict[str, object]:
    """A sample in words; ports and datapath by their tunnel keys."""
    words = event.words
    late = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - event.at
    seen = (time.time_ns() - late) / 1e9
    headers = [*[0] * lib.OW_HEADERS, *words[lib.OW_HEADERS :]]
    return {
        "time": datetime.fromtimestamp(seen, UTC).isoformat(timespec="milliseconds"),
        "collector_set": event.arg,
        "obs_domain_id": event.domain,
        "obs_point_id": event.point,
        "datapath": words[lib.OW_DP],
        "pipeline": "egress" if event.egress else "ingress",
        "inport": words[lib.OW_INPORT],
        "outport": words[lib.OW_OUTPORT],
        "bytes": event.length,
        "packet": microflow.header(headers),
    }
