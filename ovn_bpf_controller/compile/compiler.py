# SPDX-License-Identifier: Apache-2.0
"""The flow compiler: logical flows and port security in, changes of rules out.

The agent tells it what rows and names changed and calls flush() when it wants the
rules for the data plane.  Only what a change refers to is compiled again, and what
flush() gave since the beginning, summed up, always equals a compile from scratch.
Several changes before one flush() cost one compilation of each flow concerned.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.dump import line
from ovn_bpf_controller.compile.env import Env, Kind, Ref
from ovn_bpf_controller.compile.flow import Compiled, LogicalFlow, compile_flow
from ovn_bpf_controller.compile.flow_ids import FlowIds
from ovn_bpf_controller.compile.lists import Traits
from ovn_bpf_controller.compile.names import Names
from ovn_bpf_controller.compile.problems import Problem, Problems, UnsupportedFlow
from ovn_bpf_controller.compile.punting import Arguments, Punting
from ovn_bpf_controller.compile.sets import Name, SetBook
from ovn_bpf_controller.compile.side_owners import SideOwners
from ovn_bpf_controller.compile.side_rules import default_rules, side_rules
from ovn_bpf_controller.compile.store import RuleChanges, RuleStore
from ovn_bpf_controller.compile.telling import NOTHING, Uses
from ovn_bpf_controller.compile.users import User, Users
from ovn_bpf_controller.model import Rule, SetMember
from ovn_bpf_controller.plaindata import dataclass

__all__ = [
    "Env",
    "FlowCompiler",
    "LogicalFlow",
    "Problem",
    "RuleChanges",
    "Traits",
    "UnsupportedFlow",
]

_BY_NUMBER: Final = frozenset({Kind.SET_NUMBER, Kind.GROUP_NUMBER})

_EGRESS: Final[int] = lib.OVN_EGRESS_BASE
_LOOK: Final = 8  # flows compiled between looks at the clock, which is a system call


@dataclass(slots=True)
class _Flow:
    """A flow with what came of it on each of its datapaths; None: not compiled yet."""

    row: LogicalFlow
    number: int
    compiled: dict[int, Compiled | None]


class FlowCompiler(SideOwners):
    """See the module.  env is asked during flush() only."""

    def __init__(self, env: Env) -> None:
        super().__init__(RuleStore(), Problems())
        self._env = env
        self._flows: dict[str, _Flow] = {}
        self._sets = SetBook(env)
        self._unused: set[Ref] = set()  # sets by number that perhaps nobody names now
        self._ids = FlowIds()
        self._names: dict[int, Names] = {}  # by datapath, until anything changes
        self._users = Users()
        self._dirty: dict[User, None] = {}
        self._dp_users: dict[int, int] = {}
        self._noted: set[User] = set()  # whoever has problems, arguments, meters or logs
        self._punting = Punting()
        self.uses = Uses()  # meters and logs of flows

    @property
    def flow_ids(self) -> FlowIds:
        """The numbers that rules carry."""
        return self._ids

    # --- what changed ------------------------------------------------------

    def set_flow(self, uuid: str, row: LogicalFlow, datapaths: Sequence[int]) -> None:
        """A flow is new, or its row or the datapaths that it applies to changed."""
        old = self._flows.get(uuid)
        if old is None:
            flow = _Flow(row, self._ids.add(uuid), dict.fromkeys(datapaths))
            self._flows[uuid] = flow
            for dp in flow.compiled:
                self._dirty[uuid, dp] = None
            self._count_datapaths(flow.compiled, ())
        elif old.row != row or old.compiled.keys() != set(datapaths):
            self._change_flow(uuid, old, row, datapaths)

    def _change_flow(
        self, uuid: str, old: _Flow, row: LogicalFlow, datapaths: Sequence[int]
    ) -> None:
        """set_flow() of one that is known."""
        keep = old.compiled if old.row == row else {}
        flow = _Flow(row, old.number, {dp: keep.get(dp) for dp in datapaths})
        self._flows[uuid] = flow
        for dp, compiled in flow.compiled.items():
            if compiled is None:
                self._dirty[uuid, dp] = None
        for dp, compiled in old.compiled.items():
            if dp not in flow.compiled:
                self._forget((uuid, dp), compiled)
            elif dp not in keep:
                self._unrefer((uuid, dp), compiled)
        self._count_datapaths(flow.compiled, old.compiled)

    def remove_flow(self, uuid: str) -> None:
        """The flow's row went; unknown flows are ignored."""
        flow = self._flows.pop(uuid, None)
        if flow is None:
            return
        self._ids.remove(uuid)
        for dp, compiled in flow.compiled.items():
            self._forget((uuid, dp), compiled)
        self._count_datapaths((), flow.compiled)

    def address_set_changed(self, name: str) -> None:
        """Members were added or removed, or the set came or went."""
        self._changed(Ref(Kind.ADDRESS_SET, name))
        self._sets.address_set_changed(name)

    def port_group_changed(self, name: str, dp: int | None = None) -> None:
        """Like address_set_changed, of a port group on datapath dp."""
        self._changed(Ref(Kind.PORT_GROUP, name), dp)
        self._sets.port_group_changed(name, dp)

    def port_changed(self, name: str, dp: int | None = None) -> None:
        """A port or multicast group got or lost its key.

        dp: where, for names that several datapaths have (multicast groups).
        """
        self._changed(Ref(Kind.PORT, name), dp)
        self._sets.port_changed(name, dp)

    def residency_changed(self, lport: str) -> None:
        """This chassis has the port now, or no more."""
        self._changed(Ref(Kind.RESIDENT, lport))

    def traits_changed(self, dp: int) -> None:
        """Env.traits() says something else about a datapath."""
        self._changed(Ref(Kind.TRAITS, ""), dp)

    def collector_changed(self, number: int) -> None:
        """A Flow_Sample_Collector_Set with this id came, or the last one went."""
        self._changed(Ref(Kind.COLLECTOR, str(number)))

    def tunnels_changed(self) -> None:
        """Env.has_tunnel() may say something else of any port."""
        self._changed(Ref(Kind.TUNNEL, ""))

    def template_changed(self, name: str) -> None:
        """A template variable of this chassis got another value, or none."""
        self._changed(Ref(Kind.TEMPLATE, name))

    # --- what came of it -----------------------------------------------------

    @property
    def pending(self) -> int:
        """How many flows are to be compiled, each on one datapath."""
        return len(self._dirty)

    def work(self, seconds: float) -> bool:
        """Compiles what is due for about so long (of CPU); True when nothing is left.

        For callers that have something else to do now and then: flush() does the rest.
        """
        end = time.thread_time() + seconds
        shared: dict[tuple[str, Traits], Compiled] = {}
        for name, dp in self._sets.follow():
            self._changed(_by_number(name, dp))
        done = []
        for each in self._dirty:
            done.append(each)
            self._compile(each, shared)
            if not len(done) % _LOOK and time.thread_time() > end:
                break
        for each in done:
            del self._dirty[each]
        if self._dirty:
            return False
        if done:  # a dict that held a load is as long as that to look through, even empty
            self._dirty = {}
        return True

    def _compile(self, user: User, shared: dict[tuple[str, Traits], Compiled]) -> None:
        """One flow on one datapath; shared: what was the same for all, in this round."""
        uuid, dp = user
        flow = self._flows[uuid]
        old = flow.compiled[dp]
        if len(flow.compiled) == 1:
            new = compile_flow(flow.row, self._names_of(dp))
        else:
            which = (uuid, self._env.traits(dp))
            found = shared.get(which)
            new = found or compile_flow(flow.row, self._names_of(dp))
            if found is None and new.same_everywhere:
                shared[which] = new
        flow.compiled[dp] = new
        if old is not None:
            self._unrefer(user, old)
        if new.refs:
            self._users.add(user, new.refs)
        if new.problems or new.arguments or new.told is not NOTHING or user in self._noted:
            self._note(user, new)
        self._store.put(user, _flow_rules(flow, dp, new))

    def _note(self, user: User, new: Compiled) -> None:
        """What comes of a flow besides rules, as far as anything does or did."""
        if new.problems or new.arguments or new.told is not NOTHING:
            self._noted.add(user)
        else:
            self._noted.discard(user)
        self._problems.put(user, user[0], self._flows[user[0]].row.stage, new.problems)
        self._punting.put(user, new.arguments)
        self.uses.put(user, new.told)

    def flush(self) -> RuleChanges:
        """Compiles what is due; returns how the rules differ from the last time."""
        self.work(math.inf)
        self._give_up_numbers()
        self._names.clear()
        changes = self._store.changes()
        changes.sets_removed, changes.sets_added = self._sets.changes()
        self._ids.settle()
        self._sets.settle()
        return changes

    def unsupported(self) -> Iterator[UnsupportedFlow]:
        """What is not carried out as written, as of the last flush()."""
        return self._problems.every()

    def take_news(self) -> list[UnsupportedFlow]:
        """Problems that are new since the last call, for the log."""
        return self._problems.take_news()

    def arguments(self) -> dict[int, str]:
        """What verbs of the slow path say, by number (compile.punts); the same object as
        long as that is the same."""
        return self._punting.arguments()

    def punting(self) -> Iterable[tuple[User, Arguments]]:
        """(uuid, datapath) of each flow that needs the slow path, and what it says."""
        return self._punting.items()

    def members(self) -> Iterator[SetMember]:
        """What is a member of the sets that rules name by number."""
        return self._sets.members()

    def set_name(self, number: int) -> Name | None:
        """Whose number a rule's key or a member has."""
        return self._sets.name(number)

    def rules(self, dp: int | None = None) -> Iterator[Rule]:
        """The rules that hold, by stage and falling priority."""
        return self._store.winners(dp)

    def unsorted_rules(self) -> list[Rule]:
        """All of them, in no order."""
        return self._store.unsorted()

    def flow(self, uuid: str) -> LogicalFlow | None:
        """The row that the compiler has under this uuid."""
        flow = self._flows.get(uuid)
        return None if flow is None else flow.row

    def dump(self, dp: int | None = None) -> Iterator[str]:
        """The rules as text, one a line, each with its flow."""
        return map(self.line, self.rules(dp))

    def line(self, rule: Rule) -> str:
        """One of them."""
        return line(rule, self._ids.uuid(rule.flow))

    # --- books -----------------------------------------------------------------

    def _names_of(self, dp: int) -> Names:
        names = self._names.get(dp)
        if names is None:
            names = self._names[dp] = Names(self._env, dp, self._sets)
        return names

    def _changed(self, ref: Ref, dp: int | None = None) -> None:
        self._names.clear()
        for user in self._users.of(ref):
            if dp is None or dp == user[1]:
                self._dirty[user] = None

    def _forget(self, user: User, compiled: Compiled | None) -> None:
        self._unrefer(user, compiled)
        self._dirty.pop(user, None)
        if user in self._noted:
            self._noted.remove(user)
            self._problems.drop(user)
            self._punting.drop(user)
            self.uses.drop(user)
        self._store.drop(user)

    def _unrefer(self, user: User, compiled: Compiled | None) -> None:
        if compiled is not None and compiled.refs:
            unused = self._users.remove(user, compiled.refs)
            self._unused.update(ref for ref in unused if ref.kind in _BY_NUMBER)

    def _give_up_numbers(self) -> None:
        for ref in self._unused:
            if self._users.of(ref):
                continue
            kind, name, where = ref
            if kind is Kind.SET_NUMBER:
                self._sets.drop((Name(name, where), 0))
            else:
                self._sets.drop((Name(name, 0), where))
        self._unused.clear()

    @property
    def flow_count(self) -> int:
        """Logical flows in hand."""
        return len(self._flows)

    def _count_datapaths(self, new: Iterable[int], old: Iterable[int]) -> None:
        """Each datapath with flows has the default rules of the side tables."""
        for dp in new:
            self._dp_users[dp] = self._dp_users.get(dp, 0) + 1
            if self._dp_users[dp] == 1:
                self._store.put(("", dp), default_rules(dp))
        for dp in old:
            self._dp_users[dp] -= 1
            if not self._dp_users[dp]:
                del self._dp_users[dp]
                self._store.drop(("", dp))


def _by_number(name: Name, dp: int) -> Ref:
    if name.width:
        return Ref(Kind.SET_NUMBER, name.name, name.width)
    return Ref(Kind.GROUP_NUMBER, name.name, dp)


def _flow_rules(flow: _Flow, dp: int, compiled: Compiled) -> list[Rule]:
    row, number, insns = flow.row, flow.number, compiled.insns
    table, priority = row.table + row.pipeline * _EGRESS, row.priority
    rules = [
        Rule(dp, table, priority, mask, values, insns, number) for mask, values in compiled.keys
    ]
    if compiled.side and rules:
        rules += side_rules(dp, compiled.side)
    return rules
