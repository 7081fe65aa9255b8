# SPDX-License-Identifier: Apache-2.0
"""The control command inject-pkt: a packet from nowhere enters by a logical port.

As ovn-controller's (ovn-controller(8)): MICROFLOW is an expression that means one
packet and names its inport, a port of this chassis.  It goes the way of what the slow
path sends.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt, Resume
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.model import PortKind
from ovn_bpf_controller.observe import microflow
from ovn_bpf_controller.observe.chassis import Chassis
from ovn_bpf_controller.observe.compose import frame
from ovn_bpf_controller.process.unixctl import CommandError, Commands, Request

_NOT_HERE: Final = "ingress port not found on hypervisor."
_PREFIX: Final = "error parsing flow: "


def register(commands: Commands, chassis: Chassis) -> None:
    """Adds the command."""
    commands.register("inject-pkt", "MICROFLOW", 1, 1, partial(_inject, chassis))


def _inject(chassis: Chassis, request: Request) -> str:
    try:
        packet = _packet(chassis, request.args[0])
        plane = chassis.plane
        resume = Resume(plane.maps, plane.programs["ovn_resume"], plane.directory)
        try:
            resume.send(packet)
        finally:
            resume.close()
    except microflow.MicroflowError as error:
        raise CommandError(str(error).removeprefix(_PREFIX)) from error
    except (DataPlaneError, OSError) as error:
        raise CommandError(str(error)) from error
    return ""


def _packet(chassis: Chassis, text: str) -> Punt:
    """Raises MicroflowError, and CommandError for a port that is elsewhere."""
    expr = microflow.parse(text, chassis.flows)
    try:
        name = microflow.inport(expr)
    except microflow.MicroflowError as error:
        raise CommandError(_NOT_HERE) from error
    for local in chassis.desired.datapaths.values():
        key = local.port_keys.get(name)
        port = chassis.desired.ports().get((local.key, key)) if key else None
        if port is not None and port.kind is PortKind.VIF and port.ifindex:
            break
    else:
        raise CommandError(_NOT_HERE)
    words = microflow.words(expr, local.key, chassis.flows)
    data = frame(words)
    words[lib.OW_HEADERS :] = [0] * (lib.OVN_WORDS - lib.OW_HEADERS)
    words[lib.OW_FLAGS] = lib.MLF_LOCALPORT if port.localport else 0
    words[lib.OW_CT_ZONE] = port.ct_zone
    words[lib.OW_DNAT_ZONE] = local.datapath.dnat_zone
    words[lib.OW_SNAT_ZONE] = local.datapath.snat_zone
    return Punt(data, tuple(words))
