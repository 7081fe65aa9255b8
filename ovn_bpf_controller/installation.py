# SPDX-License-Identifier: Apache-2.0
"""What is desired, and the compiler's rules -> the tables, a slice at a time.

The agent calls run() in each round.  A large load is compiled and written in slices,
so that control commands, the databases and answers to packets need not wait for it; it
becomes true by one flip.  Between the arrival of a change and that flip runs a
stopwatch, with the time that passed and with what of it this thread had a processor.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Final

from ovn_bpf_controller import wiring
from ovn_bpf_controller.binding.desired import Desired, diff
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.compile.store import RuleChanges
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.errors import DataPlaneError, MapFullError
from ovn_bpf_controller.observe import accounts
from ovn_bpf_controller.process import coverage, stopwatch
from ovn_bpf_controller.process.log import Logger, RateLimit

_log: Final = Logger("main")
_rate: Final = RateLimit(5, 5)

RETRY_SECONDS: Final = 1.0  # after the tables refused a change
FORGET: Final = 256  # numbers of flows that went, in one idle round
SLICE_SECONDS: Final = 0.02  # CPU, of compiling and of writing, before the loop goes round


class Installation:
    """The tables of one chassis.

    incomplete: they do not hold all that is desired, and are to be compared with it.
    lived: all that is desired has been live once.  retry_at: when to try again after a
    refusal, monotonic seconds.  crowded: the tables have no room, and larger ones can be
    had: see moved().
    """

    def __init__(self, plane: Plane, compiler: FlowCompiler) -> None:
        self._plane = plane
        self._compiler = compiler
        self.tables = Tables(plane.maps)
        if plane.adopted:
            self.tables.adopt()
            accounts.forget(plane.maps)  # the flows get other numbers
        self.incomplete = True
        self.lived = False
        self.retry_at = 0.0
        self.crowded = False
        self._live = Desired()  # what the tables say, if not incomplete
        self._target = Desired()  # what they will say after _applying
        self._applying: Generator[None, None, None] | None = None
        self._complete = False  # whether _applying makes the tables complete
        self._reading = False
        self._most = 0  # flows that were to be compiled at once
        self._woke = (0.0, 0.0)

    @property
    def busy(self) -> bool:
        """A change is being written, or what there is is being read."""
        return self._applying is not None or self._reading

    @property
    def doing(self) -> str:
        """For operators: what a load is at, "" if nothing."""
        left = self._compiler.pending
        self._most = max(self._most, left)
        if left:
            return f"{100 - 100 * left // self._most} % of the flows are compiled"
        return "writing rules" if self.busy else ""

    def woke(self) -> None:
        """What is read from now on has just arrived."""
        self._woke = (time.monotonic(), time.thread_time())

    def run(self, desired: Desired, rules: RuleChanges | None) -> tuple[Desired | None, bool]:
        """Carries what changed to the tables.

        rules: since the last time; None if they are not all compiled yet.  Returns what
        is live if nothing is under way, and whether this call made it so.
        """
        now = time.monotonic()
        try:
            if self._applying is None:
                if rules is None or self._reading:
                    return None, False
                change = self._change(desired, rules, now)
                if change is None:
                    return (None if self.incomplete else desired), False
                self._target, self._complete = desired, self.incomplete
                self._applying = self.tables.applying(change, complete=self.incomplete)
            end = time.thread_time() + SLICE_SECONDS
            for _ in self._applying:
                if time.thread_time() > end:
                    return None, False
        except DataPlaneError as error:
            self._applying = None
            self.incomplete = True
            self.crowded = isinstance(error, MapFullError) and self._plane.may_grow
            if self.crowded:
                _log.info(f"{error}: going on to larger maps")
            else:
                self.refused(error)
            return None, False
        self._applying, self._live = None, self._target
        self._went_live()
        return self._live, True

    def refused(self, error: DataPlaneError) -> None:
        """Something is tried again later."""
        _rate.err(_log, f"the data plane keeps its last state: {error}")
        self.retry_at = time.monotonic() + RETRY_SECONDS

    def moved(self) -> None:
        """The plane has other maps, which are empty: run() fills them."""
        self.tables.close()
        self.tables = Tables(self._plane.maps)
        self.incomplete = True
        self.crowded = False

    def _change(self, desired: Desired, rules: RuleChanges, now: float) -> TableChange | None:
        """What is to be written; None if nothing is, or not yet."""
        delta = diff(self._live, desired)
        if self.incomplete:
            if now < self.retry_at:
                return None
            compiler = self._compiler
            change = wiring.everything(desired, compiler.unsorted_rules(), compiler.members())
        elif delta or rules:
            change = wiring.difference(delta, rules)
        else:
            self._live = desired
            self._reclaim()
            return None
        reused = self._compiler.flow_ids.take_reused()
        if reused:
            accounts.forget(self._plane.maps, reused)
        return change

    def _went_live(self) -> None:
        coverage.hit("map_keys_written", sum(self.tables.written.values()))
        wall, cpu = self._woke
        stopwatch.add("change-live", time.monotonic() - wall)
        stopwatch.add("change-live-cpu", time.thread_time() - cpu)
        for thing, why in self.tables.rejected:
            _rate.warn(_log, f"left out of the data plane: {thing}: {why}")
        if self._complete:
            self.lived = True
            self.incomplete = False

    @property
    def just_completed(self) -> bool:
        """Whether the change that went live last made the tables complete."""
        return self._complete

    def rereading(self) -> Iterator[None]:
        """Reads the tables anew, in small steps.  No change is made from its begin on
        until repair(); nothing may be under way."""
        self._reading = True
        self.settle()
        fresh = Tables(self._plane.maps)
        try:
            yield from fresh.adopting()
        except BaseException:
            fresh.close()
            raise
        self.tables.close()
        self.tables = fresh

    def repair(self) -> None:
        """After rereading(), however it ended: run() writes what is not as it is desired."""
        self._reading = False
        self.incomplete = True

    def _reclaim(self) -> None:
        """What earlier changes replaced goes when no packet uses it, old peers above all."""
        try:
            self.tables.reclaim()
            self._forget()
        except DataPlaneError as error:
            _rate.warn(_log, f"the data plane keeps what is no longer used: {error}")

    def _forget(self) -> None:
        """Counts of flows that went, when no packet adds to them: the next change, which
        gives their numbers to others, need not see to it before it is live."""
        if not self.tables.settled:
            return
        gone = self._compiler.flow_ids.take_free(FORGET)
        if gone:
            accounts.forget(self._plane.maps, gone)

    def settle(self) -> None:
        """_reclaim(), waiting for the packets.  Nothing may be under way."""
        try:
            self.tables.settle()
        except DataPlaneError as error:
            _rate.warn(_log, f"the data plane keeps what is no longer used: {error}")

    def stop(self) -> None:
        """What is under way is given up."""
        if self._applying is not None:
            self._applying.close()
        self.settle()
