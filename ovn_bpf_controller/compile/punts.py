# SPDX-License-Identifier: Apache-2.0
"""Verbs for the slow path: numbers for them, for their arguments and their lists.

compile.actions makes an OP_PUNT of such a verb.  Numbers are digests of what they
stand for, so they are the same after a restart, when old packets may still be on
their way and the slow path may be older than the agent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.insns import Insn, encode
from ovn_bpf_controller.digests import digest
from ovn_bpf_controller.lang import nodes

# What a trace assumes of the answer, as ovn-trace does.
_ANSWERS: Final[dict[type[nodes.Action], int]] = {
    nodes.PutDhcpOpts: lib.OVN_PUNT_ANSWERS | lib.OVN_PUNT_TRACED,
    nodes.PutDhcpv6Opts: lib.OVN_PUNT_ANSWERS | lib.OVN_PUNT_TRACED,
    nodes.PutNdRaOpts: lib.OVN_PUNT_ANSWERS | lib.OVN_PUNT_TRACED,
    nodes.DnsLookup: lib.OVN_PUNT_ANSWERS,
    nodes.DhcpRelayReqChk: lib.OVN_PUNT_ANSWERS | lib.OVN_PUNT_TRACED,
    nodes.DhcpRelayRespChk: lib.OVN_PUNT_ANSWERS | lib.OVN_PUNT_TRACED,
}
VERBS: Final[dict[type[nodes.Action], int]] = {
    nodes.PutDhcpOpts: lib.OVN_PUNT_DHCP,
    nodes.PutDhcpv6Opts: lib.OVN_PUNT_DHCPV6,
    nodes.PutNdRaOpts: lib.OVN_PUNT_RA,
    nodes.DnsLookup: lib.OVN_PUNT_DNS,
    nodes.Arp: lib.OVN_PUNT_ARP,
    nodes.NdNs: lib.OVN_PUNT_ND_NS,
    nodes.Igmp: lib.OVN_PUNT_IGMP,
    nodes.HandleSvcCheck: lib.OVN_PUNT_SVC_CHECK,
    nodes.HandleBfdMsg: lib.OVN_PUNT_BFD,
    nodes.HandleDhcpv6Reply: lib.OVN_PUNT_DHCPV6_REPLY,
    nodes.TriggerEvent: lib.OVN_PUNT_EVENT,
    nodes.DhcpRelayReqChk: lib.OVN_PUNT_RELAY_REQ,
    nodes.DhcpRelayRespChk: lib.OVN_PUNT_RELAY_RESP,
}


def number_of(text: str | bytes) -> int:
    """What stands for it in the instructions."""
    data = text.encode() if isinstance(text, str) else text
    return int.from_bytes(digest(data, 4), "big")


def argument(action: nodes.Action) -> tuple[int, str]:
    """The number of what an action says beside its verb, and that as JSON."""
    said = _said(action)
    if type(action) in _ANSWERS:
        said["verb"] = VERBS[type(action)]  # the kernel may have the answer: serving.py
    text = json.dumps(said, sort_keys=True)
    return number_of(text), text


def _said(action: nodes.Action) -> dict[str, Any]:
    if isinstance(action, nodes.PutOpts):
        return {
            "options": [
                [option.name, [[const.format.name, const.value, const.mask] for const in values]]
                for option in action.options
                for values in (option.values,)
            ]
        }
    if isinstance(action, nodes.DhcpRelay):
        return {"relay": action.relay_ip, "server": action.server_ip}
    if isinstance(action, nodes.Log):
        return {
            "verdict": action.verdict,
            "name": action.name,
            "severity": action.severity,
            "meter": action.meter,
        }
    if isinstance(action, nodes.TriggerEvent):
        info = {
            option.name: str(const.value) for option in action.options for const in option.values
        }
        return {"event": action.event, "info": info}
    return {}


def punt(action: nodes.Action, word: int = 0, bit: int = 0) -> tuple[Insn, tuple[int, str]]:
    """The instruction, whose list is not marked yet, and its argument.

    word, bit: where an answer goes.
    """
    number, text = argument(action)
    flags = _ANSWERS.get(type(action), 0)
    verb = VERBS[type(action)]
    return Insn(lib.OP_PUNT, dst=word, src=flags, aux=bit, a=verb, b=number), (number, text)


def marked(insns: Sequence[Insn]) -> list[Insn]:
    """The list with its number in every OP_PUNT: nothing else must go on behind one."""
    if all(insn.op != lib.OP_PUNT for insn in insns):
        return list(insns)
    number = number_of(encode(insns))
    return [insn._replace(c=number) if insn.op == lib.OP_PUNT else insn for insn in insns]
