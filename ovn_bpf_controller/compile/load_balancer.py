# SPDX-License-Identifier: Apache-2.0
"""Load_Balancer rows as rules of three side tables, for hairpinned connections.

A backend that talks to its own VIP may get itself as the backend.  chk_lb_hairpin
asks OVN_TABLE_LB_HAIRPIN whether that happened, which remembers it; ct_snat_to_vip
(OVN_TABLE_SNAT_HAIRPIN) makes the VIP the source, so that answers come back;
chk_lb_hairpin_reply knows those by what was remembered, as long as there is such
a balancer.  Matches and priorities are those of ovn-controller's lflow.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.ct_actions import FOUND_BIT, NATTED, address, arguments
from ovn_bpf_controller.compile.insns import Insn, program
from ovn_bpf_controller.compile.layout import Conj
from ovn_bpf_controller.compile.lists import SideRule
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.templates import substitute_templates
from ovn_bpf_controller.plaindata import NamedTuple, dataclass, field

_FAMILIES: Final = {4: AF_INET, 6: AF_INET6}
_FULL: Final = {4: 0xFFFFFFFF, 6: (1 << 128) - 1}
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}
_TCP: Final = 6
_DNATTED: Final = lib.OVN_CS_TRK | lib.OVN_CS_DNAT
_FOUND: Final = Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_FOUND, b=lib.OVN_RES_FOUND)
_NOT_FOUND: Final = Insn(lib.OP_SET, dst=lib.OW_RESULT, a=lib.OVN_RES_FOUND)


class Central(NamedTuple):
    """How northd lets the original destination of a connection be known.

    consolidated: see compile.lists.Traits.  ct_mark: "natted" is a bit of ct_mark,
    else of ct_label (SB_Global options:lb_hairpin_use_ct_mark).  groups_alone: see
    lang.releases.
    """

    consolidated: bool = False
    ct_mark: bool = True
    groups_alone: bool = True


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A row of Load_Balancer: vips as there, "address[:port]" -> "address[:port],…"."""

    vips: Mapping[str, str]
    protocol: str = "tcp"
    options: Mapping[str, str] = field(default_factory=dict)


class Endpoint(NamedTuple):
    """port: 0 when none was written."""

    ip: int
    family: int
    port: int


class _Vip(NamedTuple):
    """snat: what the source of a hairpinned connection becomes."""

    at: Endpoint
    backends: tuple[Endpoint, ...]
    snat: int
    proto: int
    own_snat: bool
    in_registers: bool


def default_rules() -> list[SideRule]:
    """For every datapath: nothing is hairpinned, no backend known."""
    no, nothing = program([_NOT_FOUND]), program([])
    return [
        SideRule(lib.OVN_TABLE_LB_HAIRPIN, 0, (), no),
        SideRule(lib.OVN_TABLE_LB_HAIRPIN_REPLY, 0, (), no),
        SideRule(lib.OVN_TABLE_SNAT_HAIRPIN, 0, (), nothing),
        SideRule(lib.OVN_TABLE_LB_AFF, 0, (), no),
    ]


def expand(
    row: LoadBalancer, variables: Mapping[str, str], central: Central
) -> tuple[list[SideRule], list[LangError]]:
    """The rules of one row, for each of its switches; a VIP with an error has none.

    variables: of templates, for this chassis.
    """
    rules: list[SideRule] = []
    errors: list[LangError] = []
    snat: dict[int, int] = {}
    try:
        snat = _snat_addresses(row.options.get("hairpin_snat_ip", ""))
    except LangError as error:
        errors.append(error)
    for key, value in row.vips.items():
        try:
            vip = _vip(key, value, row, variables, snat, central)
        except LangError as error:
            errors.append(error)
            continue
        learn = program([_FOUND, *_learn(vip, bool(vip.at.port))])
        for backend in vip.backends:
            rules += _hairpin(vip, backend, central, learn)
        rules.append(_snat_to_vip(vip, central))
    return rules, errors


# --- what a row says -----------------------------------------------------------


def endpoint(text: str) -> Endpoint:
    """10.0.0.1, 10.0.0.1:80, fd00::1 or [fd00::1]:80.  Raises LangError."""
    host, port = text.strip(), ""
    if host.startswith("["):
        host, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise LangError("no address and port", text, 0)
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    family = 6 if ":" in host else 4
    try:
        ip = int.from_bytes(inet_pton(_FAMILIES[family], host), "big")
    except (OSError, ValueError) as error:
        raise LangError("no IP address", text, 0) from error
    if port and not (port.isascii() and port.isdigit() and int(port) <= 0xFFFF):
        raise LangError("no port", text, 0)
    return Endpoint(ip, family, int(port or 0))


def _vip(
    key: str,
    value: str,
    row: LoadBalancer,
    variables: Mapping[str, str],
    snat: Mapping[int, int],
    central: Central,
) -> _Vip:
    """As OVN reads it: one backend that does not fit spoils the VIP."""
    at = endpoint(substitute_templates(key, variables))
    texts = substitute_templates(value, variables).split(",")
    backends = tuple([endpoint(text) for text in texts if text.strip()])
    for text, backend in zip([t for t in texts if t.strip()], backends, strict=True):
        if backend.family != at.family or bool(backend.port) != bool(at.port):
            raise LangError(f"does not fit VIP {key}", text, 0)
    said = row.options.get("hairpin_orig_tuple", "").lower() == "true"
    return _Vip(
        at,
        backends,
        snat.get(at.family, at.ip),
        _PROTOCOLS.get(row.protocol, _TCP),
        at.family in snat,
        said or central.consolidated,
    )


def _snat_addresses(text: str) -> dict[int, int]:
    """options:hairpin_snat_ip: at most one address of each family counts."""
    found: dict[int, int] = {}
    for word in text.split():
        at = endpoint(word)
        found.setdefault(at.family, at.ip)
    return found


# --- rules -----------------------------------------------------------------------


def _ethernet(vip: _Vip) -> Conj:
    return (("eth.type", 0x0800 if vip.at.family == 4 else 0x86DD, 0xFFFF),)


def _original(vip: _Vip, central: Central, with_port: bool) -> Conj:
    """That the connection was to the VIP."""
    family, port, proto = vip.at.family, vip.at.port if with_port else 0, vip.proto
    if vip.in_registers:
        ip4 = "reg4" if central.consolidated else "reg1"
        found: Conj = ((ip4 if family == 4 else "xxreg1", vip.at.ip, _FULL[family]),)
        return (*found, ("reg2", port, 0xFFFF)) if port else found
    found = (
        ("ct_state", _DNATTED, _DNATTED),
        ("ct.dst4" if family == 4 else "ct.dst6", vip.at.ip, _FULL[family]),
    )
    if not port:
        return found
    return (*found, ("ct_proto", proto, 0xFF), ("ct_tp_dst", port, 0xFFFF))


def _addresses(family: int, src: int, dst: int) -> Conj:
    return ((f"ip{family}.src", src, _FULL[family]), (f"ip{family}.dst", dst, _FULL[family]))


def _hairpin(vip: _Vip, backend: Endpoint, central: Central, learn: bytes) -> list[SideRule]:
    """The connection from a backend to itself, for which it does `learn`, and its answers."""
    family, port = backend.family, backend.port
    conj = (
        *_ethernet(vip),
        *_addresses(family, backend.ip, backend.ip),
        *_original(vip, central, bool(port)),
        ("ct_mark" if central.ct_mark else "ct_label", NATTED, NATTED),
    )
    answer = (*_ethernet(vip), *_addresses(family, backend.ip, vip.snat))
    if port:
        conj += (("ip.proto", vip.proto, 0xFF), ("tcp.dst", port, 0xFFFF))
        answer += (("ip.proto", vip.proto, 0xFF), ("tcp.src", port, 0xFFFF))
    # The more exact rule asks about answers from any port as well.
    priority = 100 if port else 90
    return [
        SideRule(lib.OVN_TABLE_LB_HAIRPIN, 100, conj, learn),
        SideRule(lib.OVN_TABLE_LB_HAIRPIN_REPLY, priority, answer, _ask(bool(port))),
    ]


@lru_cache(maxsize=2)
def _ask(by_port: bool) -> bytes:
    return program(
        [Insn(lib.OP_LEARNT, dst=lib.OW_RESULT, a=FOUND_BIT, b=lib.OVN_LEARNT_HAIRPIN, c=by_port)]
    )


def _learn(vip: _Vip, by_port: bool) -> list[Insn]:
    words = address(vip.snat, vip.at.family)
    if vip.at.family == 4:
        data = [Insn(lib.OP_DATA, a=words[3])]
    else:
        data = [Insn(lib.OP_DATA, a=words[0], b=words[1], c=words[2])]
        data.append(Insn(lib.OP_DATA, a=words[3]))
    return [Insn(lib.OP_LEARN, a=lib.OVN_LEARNT_HAIRPIN, b=by_port, c=len(data)), *data]


def _snat_to_vip(vip: _Vip, central: Central) -> SideRule:
    priority = (200 if vip.own_snat else 100) - (0 if vip.at.port else 10)
    conj = (*_ethernet(vip), *_original(vip, central, True))
    if vip.at.port:
        conj += (("ip.proto", vip.proto, 0xFF),)
    does = lib.OVN_CT_COMMIT | lib.OVN_CT_NAT | lib.OVN_CT_SRC | lib.OVN_CT_KEEP
    insns = arguments(vip.snat, vip.at.family, None)
    insns.append(Insn(lib.OP_CT, src=lib.OW_SNAT_ZONE, a=does))
    return SideRule(lib.OVN_TABLE_SNAT_HAIRPIN, priority, conj, program(insns))
