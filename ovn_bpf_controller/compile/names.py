# SPDX-License-Identifier: Apache-2.0
"""An Env seen from one datapath, that notes what it is asked.

compile.flow asks it for every name in a flow.  compile.compiler keeps one for each
datapath, and none after a change of whatever an Env says: answers are remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ovn_bpf_controller.compile.env import Env, Kind, Ref
from ovn_bpf_controller.compile.lists import Traits
from ovn_bpf_controller.compile.sets import SetBook
from ovn_bpf_controller.lang.releases import earlier
from ovn_bpf_controller.lang.templates import substitute_templates, template_names

# Verbs whose instructions depend on the kind of datapath (compile.ct_actions).
STATEFUL: Final = re.compile(r"\bct_(?!clear)|\bcommit_lb_aff\b")
_NO_TRAITS: Final = Traits()
_TRAITS: Final = Ref(Kind.TRAITS, "")
_TUNNELS: Final = Ref(Kind.TUNNEL, "")


class Names:
    """See the module; lang's MatchEnv.  refs: what was asked for since begin()."""

    def __init__(self, env: Env, dp: int, sets: SetBook) -> None:
        self._env = env
        self._dp = dp
        self._sets = sets
        self._keys: dict[str, tuple[Ref, int | None]] = {}  # of ports
        self._groups: dict[str, tuple[Ref, int]] = {}
        self.refs: set[Ref] = set()

    def begin(self) -> None:
        """What is noted from now on is another flow's."""
        if self.refs:
            self.refs = set()

    def address_set(self, name: str) -> Sequence[str] | None:
        self.refs.add(Ref(Kind.ADDRESS_SET, name))
        return self._env.address_set(name)

    def port_group(self, name: str) -> Sequence[str] | None:
        self.refs.add(Ref(Kind.PORT_GROUP, name))
        return self._env.port_group(self._dp, name)

    def port_key(self, lport: str) -> int | None:
        known = self._keys.get(lport)
        if known is None:
            if lport == "none":  # OVN's way to say "no port" in matches and actions
                return 0
            known = self._keys[lport] = (Ref(Kind.PORT, lport), self._env.port_key(self._dp, lport))
        self.refs.add(known[0])
        return known[1]

    def is_resident(self, lport: str) -> bool:
        self.refs.add(Ref(Kind.RESIDENT, lport))
        return self._env.is_resident(lport)

    def set_number(self, name: str, width: int) -> int | None:
        number = self._sets.number(name, width, 0)
        if number is not None:  # otherwise the members are asked for
            self.refs.add(Ref(Kind.SET_NUMBER, name, width))
        return number

    def group_number(self, name: str) -> int | None:
        known = self._groups.get(name)
        if known is None:
            number = self._sets.number(name, 0, self._dp)
            if number is None:
                return None
            known = self._groups[name] = Ref(Kind.GROUP_NUMBER, name, self._dp), number
        self.refs.add(known[0])
        return known[1]

    def traits(self, actions: str) -> Traits:
        """Of the datapath, as far as they can matter to the actions."""
        # The plain searches spare nearly all flows the dear one.
        if "ct_" not in actions and "commit_lb_aff" not in actions:
            return _NO_TRAITS
        if not STATEFUL.search(actions):
            return _NO_TRAITS
        self.refs.add(_TRAITS)
        return self._env.traits(self._dp)

    def has_collector(self, number: int) -> bool:
        self.refs.add(Ref(Kind.COLLECTOR, str(number)))
        return self._env.has_collector(number)

    def has_tunnel(self, lport: str) -> bool:
        self.refs.add(_TUNNELS)
        return self._env.has_tunnel(self._dp, lport)

    def port_key_or_0(self, lport: str) -> int:
        """OVN stores 0 for a port that the datapath does not have."""
        return self.port_key(lport) or 0

    def of_its_time(self, match: str) -> str:
        """The match as the central's release means it."""
        self.refs.add(_TRAITS)
        return match if self._env.groups_alone() else earlier(match)

    def expand(self, text: str) -> str:
        """The text with its template variables replaced."""
        self.refs.update(Ref(Kind.TEMPLATE, name) for name in template_names(text))
        return substitute_templates(text, self._env.template_vars())
