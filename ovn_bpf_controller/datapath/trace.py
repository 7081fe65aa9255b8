# SPDX-License-Identifier: Apache-2.0
"""One packet tried, not sent: program ovn_trace on the live maps.

observe.trace asks.  The program walks the same tables with the same code as a
packet would and writes down what it does (csrc/bpf/trace.h); nothing else of the
kernel's state changes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import ArrayMap
from ovn_bpf_controller.datapath.run import run_once
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.plaindata import NamedTuple

_HEAD: Final = ("kind", "table", "flow", "prio", "pc", "port", "chassis", "reason", "dp", "egress")


class TraceEvent(NamedTuple):
    """struct ovn_trace_event; words: the whole context at that moment."""

    kind: int
    table: int
    flow: int
    prio: int
    pc: int
    port: int
    chassis: int
    reason: int
    dp: int
    egress: int
    words: Sequence[int]


class Trace(NamedTuple):
    """What happened, in order; lost: events for which there was no room."""

    events: list[TraceEvent]
    lost: int


class Given(NamedTuple):
    """What the packet's words do not say.

    states: enum ovn_ct_state for one stateful action after the other; the tracker is
    asked where it is empty.  backend: that load balancers prefer: four words, IPv4 as
    ::ffff:a.b.c.d, and port.  select_id: of the target that select chooses where it
    has it; 0: by its hash.  length: of the frame, in bytes, for check_pkt_larger; 0:
    smaller than any.
    """

    states: Sequence[int] = ()
    backend: tuple[Sequence[int], int] | None = None
    select_id: int = 0
    length: int = 0


NOTHING_GIVEN: Final = Given()


class Tracer:
    """Runs traces one after the other.  fds stay the caller's.

    Raises DataPlaneError when the kernel refuses a map or a run.
    """

    def __init__(self, maps: Mapping[str, int], program: int) -> None:
        self._program = program
        self._lock = threading.Lock()  # there is one log
        self._control = ArrayMap("ovn_trace_ctl", maps["ovn_trace_ctl"])
        self._log = ArrayMap("ovn_trace_log", maps["ovn_trace_log"], grows=True)
        self._insns = ArrayMap("ovn_insns", maps["ovn_insns"], grows=True)

    def close(self) -> None:
        """Unmaps what was mapped."""
        for each in (self._control, self._log, self._insns):
            each.close()

    def run(
        self, words: Sequence[int], *, remote: bool = False, given: Given = NOTHING_GIVEN
    ) -> Trace:
        """Tries the packet with these words (include/ovn_bpf/words.h).

        remote: it comes out of a tunnel for words[OW_OUTPORT], else it enters at
        words[OW_INPORT].  Raises DataPlaneError also for too many states.
        """
        if len(given.states) > lib.OVN_TRACE_CTS:
            raise DataPlaneError(f"more than {lib.OVN_TRACE_CTS} connection states in a trace")
        control: Any = ffi.new("struct ovn_trace_ctl *")
        control.remote = int(remote)
        control.select_id, control.length = given.select_id, given.length
        control.n_ct = len(given.states)
        control.ct[0 : len(given.states)] = list(given.states)
        if given.backend is not None:
            control.lb = 1
            control.lb_ip, control.lb_port = given.backend
        for index, word in enumerate(words):
            control.w[index] = word
        with self._lock:
            self._control.put(0, bytes(ffi.buffer(control)))
            run_once(self._program, "the trace program cannot be run")
            count = self._control.words[0]
            room = self._log.capacity
            return Trace([self._event(n) for n in range(min(count, room))], max(0, count - room))

    def instruction(self, pc: int) -> bytes:
        """One struct ovn_insn as the program sees it."""
        return self._insns.get(pc)

    def _event(self, index: int) -> TraceEvent:
        data = ffi.from_buffer("struct ovn_trace_event[]", self._log.get(index))
        event: Any = data[0]
        return TraceEvent(**{name: getattr(event, name) for name in _HEAD}, words=list(event.w))
