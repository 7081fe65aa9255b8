# SPDX-License-Identifier: Apache-2.0
"""Load_Balancer rows -> backends that are gone, whose connections are to end.

Of balancers with options:ct_flush alone, as ovn-controller (lb_data in its
ovn-controller.c); tracking.py ends the connections.  What went while no agent ran
is not known, and stays until it expires: there, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ovn_bpf_controller.datapath.conntrack import Pair, mapped
from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang.templates import substitute_templates
from ovn_bpf_controller.ovsdb.cache import SouthboundCache
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import ChassisTemplateVar, LoadBalancer
from ovn_bpf_controller.process.log import Logger, RateLimit

_log = Logger("lb")
_rate = RateLimit(5, 5)
_PROTOCOLS: Final = {"tcp": 6, "udp": 17, "sctp": 132}


class Backends:
    """Remembers the backends of balancers that want their connections flushed."""

    def __init__(self, cache: SouthboundCache) -> None:
        self._cache = cache
        self._pairs: dict[str, frozenset[Pair]] = {}  # by Load_Balancer uuid

    def run(self, changes: Changes, variables: Mapping[str, str]) -> set[Pair]:
        """Pairs that are gone.  variables: of templates, for this chassis."""
        gone: set[Pair] = set()
        if ChassisTemplateVar.TABLE in changes:
            for uuid, row in self._cache.table(LoadBalancer).items():
                gone |= self._replace(uuid, row, variables)
        for uuid, (_, new) in changes.of(LoadBalancer).items():
            gone |= self._replace(uuid, new, variables)
        return gone.difference(*self._pairs.values()) if gone else gone

    def _replace(
        self, uuid: str, row: LoadBalancer | None, variables: Mapping[str, str]
    ) -> frozenset[Pair]:
        """The pairs that the row had."""
        old = self._pairs.pop(uuid, frozenset())
        if row is not None and row.options.get("ct_flush", "").lower() == "true":
            self._pairs[uuid] = frozenset(_pairs(row, variables))
        return old


def _pairs(row: LoadBalancer, variables: Mapping[str, str]) -> Iterator[Pair]:
    """Of one row; what cannot be read is passed over, and said."""
    known = _PROTOCOLS.get(row.protocol or "tcp", 0)
    for key, value in row.vips.items():
        try:
            vip, vip_port = split(substitute_templates(key, variables))
            backends = substitute_templates(value, variables)
            found = [split(text) for text in backends.split(",") if text.strip()]
        except (ValueError, LangError) as error:
            _rate.warn(_log, f"load balancer {row.name or row.uuid}: {key}: {error}")
            continue
        proto = known if vip_port else 0  # a VIP without port takes any protocol
        yield from (Pair(vip, vip_port, ip, port, proto) for ip, port in found)


def split(text: str) -> tuple[int, int]:
    """10.0.0.1, 10.0.0.1:80, fd00::1 or [fd00::1]:80 -> address, port or 0.

    Raises ValueError.
    """
    text = text.strip()
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address, port = text, ""
    number = int(port) if port else 0
    if not 0 <= number <= 0xFFFF:
        raise ValueError(f"{text}: bad port")
    return mapped(address), number
