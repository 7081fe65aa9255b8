# SPDX-License-Identifier: Apache-2.0
"""What the program answers without the slow path: DHCPv4, router solicitations, DNS.

agent.Agent runs it when flows are live, before that is acknowledged: a template that
is not there yet only means that the slow path answers, and one of a flow that is still
live is not taken away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.served import Answers, Template, TemplateKey
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

_Made = dict[TemplateKey, Template]


class Serving:
    """The answers of one chassis."""

    def __init__(self, plane: Plane) -> None:
        """Adopts what an earlier agent left.  Raises DataPlaneError."""
        self._plane = plane
        self._answers = Answers(plane.maps)
        if plane.adopted:
            self._answers.adopt()
        self._arguments: Mapping[str, str] = {}
        self._options: Mapping[str, Any] = {}
        self._made: dict[int, _Made] = {}
        self._names: Mapping[str, Any] | None = None
        self._loaded = self._refused = False

    def run(self, told: Mapping[str, Any]) -> None:
        """told: what the slow path is told, for flows that are live."""
        try:
            self._follow_templates(told.get("arguments", {}), told.get("dhcp_options", {}))
            self._follow_names(told.get("dns", {}))
            if (self._made or self._names) and not self._loaded and not self._refused:
                self._load()
        except DataPlaneError as error:
            _rate.warn(_log, f"the slow path answers what the kernel could: {error}")

    def status(self) -> dict[str, str]:
        """How many packets the program answered, by verb, in words."""
        return {
            name: f"{found.answered.packets} answered, {found.passed.packets} passed on"
            for verb, found in self._answers.counts().items()
            if (name := VERBS.get(verb)) is not None
        }

    def _follow_templates(self, arguments: Mapping[str, str], options: Mapping[str, Any]) -> None:
        if arguments == self._arguments and options == self._options:
            return
        kept = self._made if options == self._options else {}
        from ovn_bpf_controller.slowpath import templates  # most chassis start without

        known = {name: (int(code), str(kind)) for name, (code, kind) in options.items()}
        made: dict[int, _Made] = {}
        for text_number, text in arguments.items():
            number = int(text_number)
            if number in kept:
                made[number] = kept[number]
            else:
                made[number] = templates.templates(number, json.loads(text), known)
        wanted = {key: each for found in made.values() for key, each in found.items()}
        lost = self._answers.set_templates(wanted)
        if lost:
            _rate.warn(_log, f"{lost} answers find no room in the kernel")
        self._arguments, self._options, self._made = dict(arguments), dict(options), made

    def _follow_names(self, told: Mapping[str, Any]) -> None:
        if told is self._names or told == self._names:
            return
        from ovn_bpf_controller.slowpath import templates

        dns = {int(dp): {n: (v, o) for n, (v, o) in names.items()} for dp, names in told.items()}
        lost = self._answers.set_names(templates.names(dns))
        if lost:
            _rate.warn(_log, f"{lost} names find no room in the kernel")
        self._names = told

    def _load(self) -> None:
        """The program is loaded when there is something to answer with."""
        self._refused = True
        self._plane.programs.make_callable(_PROGRAM)
        self._loaded, self._refused = True, False
