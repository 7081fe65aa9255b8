# SPDX-License-Identifier: Apache-2.0
"""Which connections dpctl/flush-conntrack means: its arguments, as OVS reads them.

Syntax and messages are those of ofp_ct_match_parse in OVS's lib/ofp-ct.c, how much
must agree those of ct_dpif_entry_cmp in lib/ct-dpif.c: ports and addresses that are
not given, or are 0, match any.  So do an ICMP identifier, type and code that are not
given, where OVS takes them for 0 and finds nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from ovn_bpf_controller.datapath.conntrack import Connection, Tuple, mapped
from ovn_bpf_controller.errors import OvnBpfError
from ovn_bpf_controller.observe.ct_format import ICMP
from ovn_bpf_controller.plaindata import dataclass, field

_ICMP_KEYS = {"icmp_type": 0xFF, "icmp_code": 0xFF, "icmp_id": 0xFFFF}


class MatchError(OvnBpfError):
    """The arguments do not say which connections are meant."""


@dataclass(slots=True)
class Partial:
    """A tuple of which parts may be missing.  addresses: by "src" and "dst"."""

    addresses: dict[str, int] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    icmp: dict[str, int] = field(default_factory=dict)

    def meets(self, one: Tuple, proto: int) -> bool:
        """proto: that was asked for, 0 if none was."""
        found = {"src": one.src, "dst": one.dst}
        if any(value and found[key] != value for key, value in self.addresses.items()):
            return False
        if proto in ICMP:
            icmp = {
                "icmp_id": one.sport,
                "icmp_type": one.dport >> 8,
                "icmp_code": one.dport & 0xFF,
            }
            return all(icmp[key] == value for key, value in self.icmp.items())
        ports = {"src": one.sport, "dst": one.dport}
        return not any(value and ports[key] != value for key, value in self.ports.items())


@dataclass(slots=True)
class Match:
    """What flush-conntrack is to end; family and proto 0: any."""

    zone: int | None = None
    family: int = 0
    proto: int = 0
    orig: Partial = field(default_factory=Partial)
    reply: Partial = field(default_factory=Partial)
    mark: tuple[int, int] = (0, 0)
    label: tuple[int, int] = (0, 0)

    @property
    def whole(self) -> bool:
        """Nothing but perhaps a zone was given."""
        return self == Match(self.zone)

    @property
    def five_tuple(self) -> bool:
        """One connection is named, so that it is an error if there is none."""
        if self.reply != Partial() or self.mark[1] or self.label[1]:
            return False
        if not all(self.orig.addresses.get(side) for side in ("src", "dst")):
            return False
        if self.proto in ICMP:
            return True
        return bool(self.proto) and all(self.orig.ports.get(side) for side in ("src", "dst"))

    def meets(self, conn: Connection) -> bool:
        """Is this connection meant?"""
        if self.zone is not None and conn.zone != self.zone:
            return False
        if self.family not in (0, conn.family) or self.proto not in (0, conn.proto):
            return False
        if (conn.mark ^ self.mark[0]) & self.mark[1] or (conn.label ^ self.label[0]) & self.label[
            1
        ]:
            return False
        return self.orig.meets(conn.orig, self.proto) and self.reply.meets(conn.reply, self.proto)


def parse(args: Sequence[str]) -> Match:
    """[zone=N] [mark=X[/MASK]] [labels=X[/MASK]] [ORIG-TUPLE [REPLY-TUPLE]]

    Raises MatchError with OVS's words.
    """
    left = list(args)
    match = Match()
    if left and left[0].startswith("zone="):
        match.zone = parse_zone(left.pop(0))
        if match.zone is None:
            raise MatchError("failed to parse zone")
    if left and left[0].startswith("mark="):
        match.mark = _masked("mark", left.pop(0)[5:], 32)
    if left and left[0].startswith("labels="):
        match.label = _masked("labels", left.pop(0)[7:], 128)
    for partial in (match.orig, match.reply):
        if left:
            _tuple(match, partial, left.pop(0))
    if left:
        raise MatchError("invalid arguments")
    return match


def parse_zone(text: str) -> int | None:
    """N of "zone=N"; None if that is none."""
    found = re.match(r"zone=(\d+)", text)
    return int(found[1]) if found and int(found[1]) <= 0xFFFF else None


def _masked(name: str, text: str, width: int) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    every = (1 << width) - 1
    try:
        parsed = int(value, 0), int(mask, 0) if slash else every
    except ValueError as error:
        raise MatchError(f"failed to parse {name}") from error
    if not all(0 <= each <= every for each in parsed):
        raise MatchError(f"failed to parse {name}")
    return parsed


def _tuple(match: Match, partial: Partial, text: str) -> None:
    for part in filter(None, re.split(r"[, \t\r\n]+", text)):
        key, _, value = part.partition("=")
        if not value:
            raise MatchError(f"field {key} missing value")
        if re.fullmatch(r"ct_(nw|ipv6)_(src|dst)", key):
            _address(match, partial, key, value)
        elif key == "ct_nw_proto":
            match.proto = _number(key, value, 0xFF)
        elif key in ("ct_tp_src", "ct_tp_dst"):
            partial.ports[key[-3:]] = _number(key, value, 0xFFFF)
        elif key in _ICMP_KEYS:
            if match.proto not in ICMP:
                raise MatchError("invalid L4 fields")
            partial.icmp[key] = _number(key, value, _ICMP_KEYS[key])
        else:
            raise MatchError(f"invalid conntrack tuple field: {key}")
    if not match.proto and any(partial.ports.values()):
        raise MatchError("port is set without protocol")


def _address(match: Match, partial: Partial, key: str, value: str) -> None:
    family = 4 if "_nw_" in key else 6
    if match.family not in (0, family):
        raise MatchError(f"the L3 protocol does not match {value}")
    side = key[-3:]
    if partial.addresses.get(side):
        raise MatchError(f"{key} is set multiple times")
    try:
        if ipaddress.ip_address(value).version != family:
            raise MatchError(f"failed to parse field {key}")
        partial.addresses[side] = mapped(value)
    except ValueError as error:
        raise MatchError(f"failed to parse field {key}") from error
    match.family = family


def _number(key: str, value: str, most: int) -> int:
    try:
        number = int(value, 0)
    except ValueError as error:
        raise MatchError(f"failed to parse field {key}") from error
    if not 0 <= number <= most:
        raise MatchError(f"failed to parse field {key}")
    return number
