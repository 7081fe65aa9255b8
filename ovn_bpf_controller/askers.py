# SPDX-License-Identifier: Apache-2.0
"""Which arguments of the slow path's verbs a packet of this chassis can ask for.

serving.Serving makes answers ready for those alone: each port of a switch has DHCP flows
of its own on every chassis that has one of its ports, but only the chassis where a port
is plugged ever sees its requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ovn_bpf_controller.binding.desired import Desired, LocalDatapath
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.model import PortKind

_INPORT: Final = re.compile(r'\binport == "([^"]+)"')

_Users = list[tuple[str, list[str]]]


class Askers:
    """Remembers what it found for datapaths that nothing touched."""

    def __init__(self) -> None:
        self._arguments: object = None
        self._datapaths: object = None
        self._users: dict[int, _Users] = {}  # by datapath: inport that a flow names, numbers
        self._found: dict[int, tuple[LocalDatapath, set[str]]] = {}
        self._numbers: frozenset[str] = frozenset()

    def numbers(self, compiler: FlowCompiler, desired: Desired) -> frozenset[str]:
        """The numbers of the arguments; the same object as long as they are the same."""
        changed = compiler.arguments() is not self._arguments
        if changed:
            self._arguments, self._found = compiler.arguments(), {}
            self._users = _by_datapath(compiler)
        if not changed and desired.datapaths is self._datapaths:
            return self._numbers
        self._datapaths = desired.datapaths
        local = {each.key: each for each in desired.datapaths.values() if each.key in self._users}
        for gone in self._found.keys() - local.keys():
            del self._found[gone]
            changed = True
        for key, datapath in local.items():
            if key not in self._found or self._found[key][0] is not datapath:
                self._found[key] = datapath, _asked(datapath, self._users[key])
                changed = True
        if changed:
            self._numbers = frozenset().union(*(numbers for _, numbers in self._found.values()))
        return self._numbers


def _by_datapath(compiler: FlowCompiler) -> dict[int, _Users]:
    found: dict[int, _Users] = {}
    for (uuid, dp), arguments in compiler.punting():
        row = compiler.flow(uuid)
        named = _INPORT.search(row.match) if row is not None else None
        numbers = [str(number) for number, _ in arguments]
        found.setdefault(dp, []).append((named[1] if named else "", numbers))
    return found


def _asked(datapath: LocalDatapath, users: Iterable[tuple[str, list[str]]]) -> set[str]:
    elsewhere = {key for key, port in datapath.ports.items() if port.kind is PortKind.REMOTE}
    return {
        number
        for name, numbers in users
        if datapath.port_keys.get(name) not in elsewhere
        for number in numbers
    }
