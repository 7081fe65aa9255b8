# SPDX-License-Identifier: Apache-2.0
"""vlog's module vconn at DBG: a line for each packet that the slow path is asked about.

answering.Answering calls it.  ovn-controller's OpenFlow connection writes each packet
that it receives under this name, in Open vSwitch's words; operators, and OVN's system
test of CoPP, look for them.  What the program answers by itself does not come by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ovn_bpf_controller.observe import microflow
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.process.log_core import DBG

_log: Final = Logger("vconn", thread="ovn_pinctrl0")


def wanted() -> bool:
    """Whether the process is to tell of its packets."""
    return _log.is_enabled(DBG)


def write(seen: Iterable[Sequence[Any]]) -> None:
    """seen: slowpath.sightings.Sightings' own, of each packet."""
    for duty, length, context in seen:
        flow = microflow.header(microflow.extracted(context))
        _log.dbg(f"slow path: received for {duty}, {length} bytes: {flow}")
