# SPDX-License-Identifier: Apache-2.0
"""What the program answers without the slow path: DHCPv4, router solicitations, DNS.

agent.Agent runs it when flows are live, before that is acknowledged: a template that
is not there yet only means that the slow path answers, and one of a flow that is still
live is not taken away.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.askers import Askers
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.compile.compiler import FlowCompiler
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.served import Answers, Served, TemplateKey
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("serving")
_rate = RateLimit(5, 5)

VERBS: Final[Mapping[int, str]] = {
    lib.OVN_PUNT_DHCP: "DHCPv4",
    lib.OVN_PUNT_RA: "router advertisements",
    lib.OVN_PUNT_DNS: "DNS",
}
_PROGRAM: Final = "ovn_serve"


class Serving:
    """The answers of one chassis."""

    def __init__(self, plane: Plane) -> None:
        """Adopts what an earlier agent left.  Raises DataPlaneError."""
        self._plane = plane
        self._answers = Answers(plane.maps)
        if plane.adopted:
            self._answers.adopt()
        self._askers = Askers()
        self._asked = False
        self._begin()

    def _begin(self) -> None:
        """What the maps hold is of we do not know what."""
        self._unknown = self._answers.templates()
        self._numbers: frozenset[str] = frozenset()
        self._options: Mapping[str, Any] = {}
        self._made: dict[str, tuple[TemplateKey, ...]] = {}  # by argument
        self._names: Mapping[str, Any] | None = None if self._answers.names() else {}

    def run(self, told: Mapping[str, Any], compiler: FlowCompiler, desired: Desired) -> None:
        """told: what the slow path is told, for flows that are live."""
        numbers = self._askers.numbers(compiler, desired)
        try:
            self._follow_templates(numbers, told)
            self._follow_names(told.get("dns", {}))
            if not self._asked and (self._names or any(self._made.values())):
                self._asked = True
                self._plane.programs.make_callable(_PROGRAM)
        except DataPlaneError as error:
            _rate.warn(_log, f"the slow path answers what the kernel could: {error}")
            self._begin()

    def moved(self) -> None:
        """The plane has other programs, to which nobody has told ours yet."""
        self._asked = False

    def counts(self) -> dict[str, Served]:
        """Packets that the program answered, by what they asked for."""
        return {VERBS[verb]: found for verb, found in self._answers.counts().items()}

    def status(self) -> dict[str, str]:
        """The same in words."""
        return {
            name: f"{found.answered.packets} answered, {found.passed.packets} passed on"
            for name, found in self.counts().items()
        }

    def _follow_templates(self, numbers: frozenset[str], told: Mapping[str, Any]) -> None:
        options = told.get("dhcp_options", {})
        if numbers is self._numbers and not self._unknown and options == self._options:
            return
        new = numbers if options != self._options else numbers - self._made.keys()
        gone, self._unknown = self._unknown, set()
        for number in self._made.keys() - numbers:
            gone.update(self._made.pop(number))
        self._numbers, self._options = numbers, options
        if new or gone:
            self._make(new, told.get("arguments", {}), gone)

    def _make(
        self, numbers: Iterable[str], arguments: Mapping[str, str], gone: set[TemplateKey]
    ) -> None:
        from ovn_bpf_controller.slowpath import templates  # most chassis start without

        known = {name: (int(code), str(kind)) for name, (code, kind) in self._options.items()}
        put = {}
        for number in numbers:
            found = templates.templates(int(number), json.loads(arguments[number]), known)
            gone.update(self._made.get(number, ()))
            self._made[number] = tuple(found)
            put.update(found)
        lost = self._answers.change_templates(gone - put.keys(), put)
        if lost:
            _rate.warn(_log, f"{lost} answers find no room in the kernel")

    def _follow_names(self, told: Mapping[str, Any]) -> None:
        if told is self._names or told == self._names:
            return
        from ovn_bpf_controller.slowpath import templates

        dns = {int(dp): {n: (v, o) for n, (v, o) in names.items()} for dp, names in told.items()}
        lost = self._answers.set_names(templates.names(dns))
        if lost:
            _rate.warn(_log, f"{lost} names find no room in the kernel")
        self._names = told
