# SPDX-License-Identifier: Apache-2.0
"""Rules that no logical flow is behind: of port security, MAC bindings and balancers.

compile.compiler's FlowCompiler is one; they are put into its store at once, as they
depend on nothing but what is told here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from ovn_bpf_controller.compile import mac_binding, port_security
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.compile.problems import Problem, Problems
from ovn_bpf_controller.compile.side_rules import on_datapath, packed, security_rules, side_rules
from ovn_bpf_controller.compile.store import Owner, RuleStore
from ovn_bpf_controller.errors import LangError


class SideOwners:
    """See the module."""

    def __init__(self, store: RuleStore, problems: Problems) -> None:
        self._store = store
        self._problems = problems
        self._side_owners: dict[str, set[int]] = {}

    def set_port_security(
        self, dp: int, port_key: int, lport: str, port_security_: Sequence[str]
    ) -> None:
        """What a local port may send and get; no strings: everything."""
        owner = _port_owner(dp, port_key)
        found, errors = port_security.expand(port_key, port_security_)
        self._store.put(owner, security_rules(dp, found))
        stage = f"port security of {lport}"
        self._problems.put(owner, "", stage, [(Problem.INVALID, str(e)) for e in errors])

    def remove_port_security(self, dp: int, port_key: int) -> None:
        """The port is not local any more."""
        self._store.drop(_port_owner(dp, port_key))
        self._problems.drop(_port_owner(dp, port_key))

    def set_mac_binding(
        self, uuid: str, dp: int, port_key: int, ip: str, mac: str, priority: int
    ) -> None:
        """A row of MAC_Binding or Static_MAC_Binding; priority: see mac_binding."""
        owner = _mac_binding_owner(uuid, dp)
        try:
            rules = mac_binding.expand(port_key, ip, mac, priority)
        except LangError as error:
            self._store.drop(owner)
            self._problems.put(owner, uuid, "MAC binding", [(Problem.INVALID, str(error))])
            return
        self._problems.drop(owner)
        self._store.put(owner, side_rules(dp, rules))

    def remove_mac_binding(self, uuid: str, dp: int) -> None:
        """The row went, or its port is not known here any more."""
        self._store.drop(_mac_binding_owner(uuid, dp))
        self._problems.drop(_mac_binding_owner(uuid, dp))

    def set_side_rules(
        self, name: str, rules: Sequence[SideRule], datapaths: Iterable[int]
    ) -> None:
        """Makes `rules` all that the owner `name` has in side tables, on each of these."""
        wanted = set(datapaths) if rules else set()
        self._leave(name, wanted)
        common = packed(rules) if wanted else ()
        for dp in wanted:
            self._store.put((name, dp), on_datapath(dp, common))

    def move_side_rules(self, name: str, datapaths: Iterable[int]) -> bool:
        """The owner's rules as they are, on these; False if it has none, and none to keep."""
        old, wanted = self._side_owners.get(name), set(datapaths)
        if not old:
            return False
        rules = self._store.owned((name, next(iter(old))))
        common = [(r.table, r.prio, r.mask, r.values, r.insns, r.flow) for r in rules]
        self._leave(name, wanted)
        for dp in wanted - old:
            self._store.put((name, dp), on_datapath(dp, common))
        return True

    def _leave(self, name: str, wanted: Set[int]) -> None:
        for dp in self._side_owners.pop(name, set()) - wanted:
            self._store.drop((name, dp))
        if wanted:
            self._side_owners[name] = set(wanted)


def _port_owner(dp: int, port_key: int) -> Owner:
    return (f"port security of {port_key}", dp)


def _mac_binding_owner(uuid: str, dp: int) -> Owner:
    return (f"MAC binding {uuid}", dp)
