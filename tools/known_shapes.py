# SPDX-License-Identifier: Apache-2.0
"""Learns the shapes of flows that ovn-northd writes, for the package to begin with.

build.py runs it on the package that it has just built: `python known_shapes.py FLOWS`.
FLOWS has a flow a line: pipeline, table, kind of datapath (compile.lists.Traits), match,
actions, with tabs between.  tests/support/northd_flows.py collects them.
"""

from __future__ import annotations

import itertools
import marshal
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ovn_bpf_controller.compile import flow, known
from ovn_bpf_controller.compile.action_plans import plain_lowered
from ovn_bpf_controller.compile.lists import Traits
from ovn_bpf_controller.compile.literals import shape_of
from ovn_bpf_controller.compile.names import Names
from ovn_bpf_controller.compile.prereqs import Prereqs
from ovn_bpf_controller.compile.sets import SetBook
from ovn_bpf_controller.compile.telling import NOTHING
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.lang.releases import earlier

Line = tuple[int, int, Traits, str, str]  # pipeline, table, traits, match, actions


_LITERALS: Final = 2  # in a constant that is worth keeping
_PLANS: Final = 8  # of one shape that size() counts


class _UnsureError(OvnBpfError):
    """What a flow becomes depends on what is in a set."""


class _World:
    """Every name is known; flow.Env as far as it is asked, and SetBook's number()."""

    def __init__(self) -> None:
        self.kind = Traits()
        self.resident = True
        self._numbers: dict[tuple[object, ...], int] = {}

    def _number(self, *name: object) -> int:
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def port_key(self, dp: int, name: str) -> int:
        return self._number(dp, name)

    def number(self, name: str, width: int, dp: int) -> int:
        return self._number(dp, name, width)

    def is_resident(self, lport: str) -> bool:
        return self.resident

    def traits(self, dp: int) -> Traits:
        return self.kind

    def template_vars(self) -> Mapping[str, str]:
        return {}

    def groups_alone(self) -> bool:
        return True

    def has_collector(self, number: int) -> bool:
        raise _UnsureError(str(number))

    def has_tunnel(self, dp: int, lport: str) -> bool:
        raise _UnsureError(lport)

    def address_set(self, name: str) -> Sequence[str]:
        raise _UnsureError(name)

    def port_group(self, dp: int, name: str) -> Sequence[str]:
        raise _UnsureError(name)


class Learner:
    """Learns with the templates of compile.flow, of which there is one set a process."""

    def __init__(self) -> None:
        self._world = _World()
        self._constants: dict[object, bytes] = {}
        self._prereqs: dict[str, str] = {}

    def learn(self, line: Line) -> None:
        """What a flow becomes, wherever its ports are."""
        pipeline, table, traits, match, actions = line
        if "^" in match + actions or flow._OF_ITS_OWN.search(actions):
            return
        self._world.kind = traits
        for self._world.resident in (True, False):
            names = Names(self._world, 1, _book(self._world))
            try:
                _, required = flow._lower(actions, pipeline, table, names, None)
                self._prereqs.setdefault(required.name, actions)
                self._keep_actions(actions, pipeline, table, names, names.traits(actions))
                for text in dict.fromkeys((match, earlier(match))):
                    flow._keys(text, required, names)
                    self._keep_keys(text, required, names)
            except OvnBpfError:
                continue  # the agent will tell

    def _keep_actions(
        self, text: str, pipeline: int, table: int, names: Names, traits: Traits
    ) -> None:
        """Of a list that is no template's, if many flows say just that."""
        if (
            not _is_short(text)
            or flow._ACTIONS.lower(text, pipeline, table, names, traits) is not None
        ):
            return
        found = flow._lower_constant(text, pipeline, table, traits)
        if found is not None and found[0].told is NOTHING:
            kept = plain_lowered(found[0]), found[1].name
            self._constants[text, pipeline, table, *traits] = marshal.dumps(kept)

    def _keep_keys(self, match: str, required: Prereqs, names: Names) -> None:
        """Of a match that is no template's, if many flows say just that."""
        if flow._MATCHES.keys(match, required, names) is not None or not _is_short(match):
            return
        found = flow._keys_constant(match, required)
        if found is not None:
            self._constants[match, required.name] = marshal.dumps(known.plain(found))

    @property
    def size(self) -> int:
        """Grows with what is worth keeping: of a shape not each number that it has once."""
        plans = [shape.plans for shape in flow._MATCHES.shapes()]
        plans += [shape.plans for shape in flow._ACTIONS.shapes()]
        return len(plans) + len(self._constants) + sum(min(n, _PLANS) for n in plans)

    def learnt(self) -> known.Known:
        """All of it."""
        matches, actions = flow._MATCHES.kept(), flow._ACTIONS.kept()
        return known.Known(matches, actions, self._constants, self._prereqs)


def _is_short(text: str) -> bool:
    """Whether it has few literals: numbers of protocols, bits of registers."""
    found = shape_of(text)
    return found is not None and len(found[1]) <= _LITERALS


def _book(world: _World) -> SetBook:
    return world  # type: ignore[return-value]  # number() is all that is asked


def read(path: Path) -> Iterable[Line]:
    """The flows of a file."""
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            pipeline, table, traits, match, actions = line.split("\t")
            kind = Traits(*(letter == "1" for letter in traits))
            yield int(pipeline), int(table), kind, match, actions


def write(line: Line) -> str:
    """A line of such a file."""
    pipeline, table, traits, match, actions = line
    kind = "".join(str(int(each)) for each in traits)
    return "\t".join((str(pipeline), str(table), kind, match, actions))


def main() -> None:
    """The command line.  A file that is up to date is left as it is."""
    sources = [__file__, *sys.argv[1:]]
    if known.known().matches and known.PATH.stat().st_mtime > max(map(os.path.getmtime, sources)):
        return
    known.PATH.unlink(missing_ok=True)
    known.known.cache_clear()
    learner = Learner()
    for line in itertools.chain.from_iterable(read(Path(name)) for name in sys.argv[1:]):
        learner.learn(line)
    known.save(learner.learnt(), known.PATH)


if __name__ == "__main__":
    main()
