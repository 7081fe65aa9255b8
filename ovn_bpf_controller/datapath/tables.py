# SPDX-License-Identifier: Apache-2.0
"""The desired state, written to maps so that packets see each change whole.

The agent calls apply() with what changed.  New versions are written where no
packet looks, hash keys are pointed at them, and one store of the generation
makes all of it true; what it replaced is freed after an RCU grace period, by reclaim(),
while other changes go on.  A change that fails leaves the generation as it was.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.chassis import Chassis, encode
from ovn_bpf_controller.datapath.grace import Grace
from ovn_bpf_controller.datapath.interned import (
    Datapaths,
    Insns,
    Masks,
    MemberLists,
)
from ovn_bpf_controller.datapath.journal import Call, Journal, run
from ovn_bpf_controller.datapath.maps import ArrayMap, HashMap, grace_period
from ovn_bpf_controller.datapath.parts import in_parts
from ovn_bpf_controller.datapath.ports import Groups, Ports, port_key
from ovn_bpf_controller.datapath.records import record, word
from ovn_bpf_controller.datapath.rule_changes import stage_rules
from ovn_bpf_controller.datapath.rules import Rules
from ovn_bpf_controller.datapath.sets import Sets, set_key
from ovn_bpf_controller.datapath.stages import Stages
from ovn_bpf_controller.datapath.unplaced import FlowAt, Refusal, Unplaced
from ovn_bpf_controller.datapath.versioned import Index, VersionedTable
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import Rule, SetMember, Tunnel
from ovn_bpf_controller.plaindata import NamedTuple
from ovn_bpf_controller.process.crash import crash_point

CONTROL: Final = record("struct ovn_ctl")
_GENERATION: Final = word("struct ovn_ctl", "generation")
_TUNNEL_MODE: Final = word("struct ovn_ctl", "tunnel_mode")
_CLASSES: Final = "sml"

# Changes whose grace periods are not over: a packet follows OVN_MAX_VERSIONS of a key
# (csrc/bpf/bounds.h), one more than that.
_IN_FLIGHT: Final = 3


class _Replaced(NamedTuple):
    """What a ticket's end allows.  generation: whose change it is, 0 for no change."""

    ticket: int
    generation: int
    calls: list[Call]


class Tables:
    """Everything the agent writes, over maps by name.

    fds: file descriptors of the maps of the BPF object (their owner keeps them
    open).  A fresh set of maps needs nothing more; for maps that another agent
    has filled call adopt() first.
    rejected: things of the last change that cannot be said in maps, with why.
    written: keys that it touched, by name of the index map.
    """

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._fds = fds
        self._arrays: list[ArrayMap] = []
        self._indexes: list[Index] = []
        self._control = self._array("ovn_ctl")
        self._stages = Stages(self._array("ovn_stages"), self._array("ovn_tuples"))
        self._masks = Masks(self._array("ovn_masks"))
        self._insns = Insns(self._array("ovn_insns"))
        self._datapaths = Datapaths(self._array("ovn_datapaths"), self._stages.clear)
        self._chassis = Chassis(self._array("ovn_chassis"), self._index("ovn_peers"))
        self._rules = Rules(
            [(self._index(f"ovn_idx_{c}"), self._array(f"ovn_rules_{c}")) for c in _CLASSES],
            self._masks,
            self._insns,
            self._stages,
            self._datapaths,
        )
        self._ports = Ports(
            self._index("ovn_port_idx"),
            self._array("ovn_ports"),
            self._index("ovn_ifports"),
            self._datapaths,
            self._chassis,
        )
        self._sets = Sets(
            self._index("ovn_set_idx"), self._array("ovn_sets"), self._array("ovn_set_plens")
        )
        self._members = MemberLists(self._array("ovn_members"))
        self._groups = Groups(
            self._index("ovn_mc_idx"),
            self._array("ovn_mcgroups"),
            self._members,
            self._datapaths,
            self._chassis,
        )
        self._grace = Grace()
        self._replaced: deque[_Replaced] = deque()
        self.rejected: list[tuple[Rule | Tunnel | SetMember, str]] = []
        self.written: dict[str, int] = {}
        self._unplaced = Unplaced(TableChange(), {})
        self.generation = self._control.words[_GENERATION]
        if not self.generation:
            self._initialise()
        self.past = self.generation  # no packet obeys a generation before this one

    def _array(self, name: str) -> ArrayMap:
        self._arrays.append(ArrayMap(name, self._fd(name), grows=True))
        return self._arrays[-1]

    def _index(self, name: str) -> Index:
        self._indexes.append(Index(HashMap(name, self._fd(name))))
        return self._indexes[-1]

    def _fd(self, name: str) -> int:
        try:
            return self._fds[name]
        except KeyError:
            raise DataPlaneError(f"the BPF object has no map {name}") from None

    def _initialise(self) -> None:
        self._control.put(0, CONTROL.pack(0, lib.OVN_LAYOUT_VERSION, 0, 0, 0, 0, 0, 0))
        self.generation = 1
        self._control.publish(0, _GENERATION, 1)

    def close(self) -> None:
        """Unmaps the arrays.  Packets go on as they are."""
        self._grace.close()
        for each in self._arrays:
            each.close()

    # --- change ---------------------------------------------------------------

    def apply(self, change: TableChange, *, complete: bool = False) -> int:
        """Makes `change` true at once; returns the generation that has it.

        complete: the change tells everything there is to be, and what it does
        not name goes (after adopt(), or after a gap in what the agent knows).
        Raises DataPlaneError when a map is full or the kernel refuses: then
        nothing has changed.  Waits for grace periods of earlier changes only if it
        changes again what has room for two versions, or too many are not over.
        """
        for _ in self.applying(change, complete=complete):
            pass
        return self.generation

    def applying(
        self, change: TableChange, *, complete: bool = False
    ) -> Generator[None, None, None]:
        """apply() for callers that have something else to do now and then.

        The change is true when the iterator ends; nothing has changed if it is closed
        before.  One change at a time.
        """
        self.reclaim()
        while sum(1 for each in self._replaced if each.generation) >= _IN_FLIGHT:
            self._grace.wait(self._replaced[0].ticket)
            self.reclaim()
        unplaced = self._unplaced.following(change, complete)
        while not (yield from self._attempt(unplaced, complete)):
            pass
        self._unplaced = unplaced

    def _attempt(self, unplaced: Unplaced, complete: bool) -> Generator[None, None, bool]:
        """Makes the change true; False, and nothing has changed, if it must be made again
        since flows found no room."""
        change = unplaced.change
        generation = self.generation + 1
        journal = Journal(generation, self._ensure_past)
        self.rejected = []
        try:
            refused = yield from self._stage(change, generation, journal, complete)
            if any(each.rule.flow for each in refused):
                self._roll_back(journal)
                unplaced.refuse(refused, () if complete else self._rules.all())
                return False
            self.rejected += refused + unplaced.news
            self._stages.publish(generation, journal)
            for index in self._indexes:
                yield from index.flush()
        except BaseException:
            self._roll_back(journal)
            raise
        self.written = {index.name: index.changes for index in self._indexes if index.touched}
        if journal.empty and not any(index.touched for index in self._indexes):
            return True
        crash_point("change-staged")
        journal.flip()
        self._control.publish(0, _GENERATION, generation)
        crash_point("change-live")
        self.generation = generation
        for index in self._indexes:
            gone = index.commit(generation)
            if gone:
                journal.after_grace(index.finish, gone, generation)
        self._replaced.append(_Replaced(self._grace.ask(), generation, journal.after))
        return True

    def _stage(
        self, change: TableChange, generation: int, journal: Journal, complete: bool
    ) -> Generator[None, None, list[Refusal]]:
        """Writes everything aside; returns the rules that find no room.

        Tunnels come first: ports and groups name them.
        """
        for datapath in change.datapaths_added:
            self._datapaths.put(datapath, journal)
        tunnels = {t.name: t for t in change.tunnels_added if self._sound_tunnel(t)}
        for tunnel in tunnels.values():
            self._chassis.put(tunnel, journal)
        yield from self._stage_ports(change, generation, journal, complete)
        yield from self._stage_groups(change, generation, journal, complete)
        yield from self._stage_sets(change, generation, journal, complete)
        refused = yield from stage_rules(self._rules, change, generation, journal, complete)
        names = self._chassis.names() if complete else {t.name for t in change.tunnels_removed}
        for name in names - tunnels.keys():
            self._chassis.delete(name, journal)
        dps = self._datapaths.declared() if complete else {d.dp for d in change.datapaths_removed}
        for dp in dps - {d.dp for d in change.datapaths_added}:
            self._datapaths.delete(dp, journal)
        return refused

    def _stage_ports(
        self, change: TableChange, generation: int, journal: Journal, complete: bool
    ) -> Iterator[None]:
        added = {port_key(p.dp, p.port): p for p in change.ports_added}
        gone: Iterable[bytes] = (port_key(p.dp, p.port) for p in change.ports_removed)
        for keys in in_parts(list(self._ports.table.index.live) if complete else gone):
            for key in keys:
                if key not in added:
                    self._ports.delete(key, generation, journal)
            yield
        for ports in in_parts(added.values()):
            for port in ports:
                self._ports.put(port, generation, journal)
            yield
        self._ports.point_devices()

    def _stage_groups(
        self, change: TableChange, generation: int, journal: Journal, complete: bool
    ) -> Iterator[None]:
        added = {port_key(g.dp, g.key): g for g in change.groups_added}
        gone: Iterable[bytes] = (port_key(g.dp, g.key) for g in change.groups_removed)
        for key in list(self._groups.table.index.live) if complete else gone:
            if key not in added:
                self._groups.delete(key, generation, journal)
        for groups in in_parts(added.values()):
            for group in groups:
                self._groups.put(group, generation, journal)
            yield

    def _stage_sets(
        self, change: TableChange, generation: int, journal: Journal, complete: bool
    ) -> Iterator[None]:
        added = {set_key(member): member for member in change.sets_added}
        gone: Iterable[bytes] = map(set_key, change.sets_removed)
        for keys in in_parts(list(self._sets.table.index.live) if complete else gone):
            for key in keys:
                if key not in added:
                    self._sets.delete(key, generation, journal)
            yield
        for members in in_parts(added.values()):
            for member in members:
                if not self._sets.put(member, generation, journal):
                    self.rejected.append((member, "its sets have too many prefix lengths"))
            yield

    def _sound_tunnel(self, tunnel: Tunnel) -> bool:
        try:
            encode(tunnel)
        except DataPlaneError as error:
            self.rejected.append((tunnel, str(error)))
            return False
        return True

    def _roll_back(self, journal: Journal) -> None:
        journal.roll_back()
        self._stages.roll_back()
        self._ports.roll_back()
        for index in self._indexes:
            index.roll_back()

    def _ensure_past(self, generation: int) -> None:
        """Waits until no packet obeys a generation before this one."""
        if generation <= self.past:
            return
        ticket = next(e.ticket for e in self._replaced if e.generation >= generation)
        self._grace.wait(ticket)
        self._note_past()

    def _note_past(self) -> int:
        """Returns the ticket up to which that is known."""
        over = self._grace.over()
        past = (e.generation for e in self._replaced if e.ticket <= over)
        self.past = max(self.past, *past, 0)
        return over

    def reclaim(self) -> None:
        """Frees what earlier changes replaced and no packet uses any more.

        Never waits: fileno() tells when there is more to do.
        """
        self._grace.clear()
        over = self._note_past()  # what is over later is not looked at: it is not noted
        while self._replaced and self._replaced[0].ticket <= over:
            run(self._replaced.popleft().calls)
            self._retire()
        if self.settled:
            self._unplaced.settle()

    def _retire(self) -> None:
        """Slots whose keys are gone wait for packets that had found them before."""
        calls: list[Call] = []
        for table in self._versioned():
            calls += [(table.slots.release, (slot,)) for slot in table.take_leaving()]
        if calls:
            self._replaced.append(_Replaced(self._grace.ask(), 0, calls))

    @property
    def settled(self) -> bool:
        """Whether all is free that can be freed."""
        return not self._replaced

    def fileno(self) -> int:
        """Readable when reclaim() has something to do, for a poll loop."""
        return self._grace.fileno()

    def settle(self) -> None:
        """Frees all that can be freed: two grace periods at most."""
        while self._replaced:
            self._grace.wait(self._replaced[0].ticket)
            self.reclaim()

    def _versioned(self) -> list[VersionedTable]:
        return [*self._rules.tables, self._ports.table, self._groups.table, self._sets.table]

    # --- the control block ------------------------------------------------------

    def set_tunnel_mode(self, mode: int, ifindex: int, decap_flags: bool) -> None:
        """How tunnel packets are made: enum ovn_tunnel_mode, the collect-metadata
        device (0 when inline), and whether the kernel has the 6.3 decap flags."""
        values = mode, ifindex, int(decap_flags)
        base = _TUNNEL_MODE
        self._control.words[base : base + 3] = memoryview(array("I", values))

    # --- adoption -----------------------------------------------------------------

    def adopt(self) -> None:
        """adopting() to its end."""
        for _ in self.adopting():
            pass

    def adopting(self) -> Iterator[None]:
        """Takes over maps as another agent left them, killed at whatever point.

        In small steps; nobody may change the tables meanwhile.  What its live generation
        says stays as it is.  Follow with apply(…, complete=True) once all is known: only
        differences are written.
        """
        grace_period()
        generation = self.generation
        self._replaced.clear()
        self._unplaced = Unplaced(TableChange(), {})
        self.past = generation
        yield from self._stages.adopting(self._datapaths.adopt(), generation)
        named = self._ports.adopt(generation) | self._groups.adopt(generation)
        self._chassis.adopt(named)
        self._ports.report_holds()
        self._groups.report_holds()
        yield from self._sets.adopting(generation)
        yield from self._rules.adopting(generation)
        self._datapaths.drop_unused()
        # A late reader may still look at what was repaired.
        grace_period()

    # --- reading ---------------------------------------------------------------------

    def rules(self) -> Iterable[Rule]:
        """Every rule, in no order."""
        return self._rules.all()

    def unplaced(self) -> dict[FlowAt, str]:
        """Flows that their stage has no room for, by datapath and number, with why."""
        return dict(self._unplaced.why)

    def chassis_names(self) -> dict[int, str]:
        """Names of tunnels by their index in ovn_chassis."""
        return {index: name for name, index in self._chassis.shared.items()}

    def use(self) -> dict[str, tuple[int, int]]:
        """Elements in use and room, by map name, of the maps that can fill up."""
        use = {t.array.name: (t.slots.in_use, t.array.capacity - 1) for t in self._versioned()}
        return use
