# SPDX-License-Identifier: Apache-2.0
"""Keys of external_ids that ovn-controller obeys and that do nothing here, with why.

The engine tells of each once, when the operator sets it: a key that is silently
ignored looks like one that works.  Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_CACHE: Final = "flows are compiled by templates, which need no cache to be limited"
_OPENFLOW: Final = "no OpenFlow connection is used"
_LATER: Final = "not supported yet"
REASONS: Final[Mapping[str, str]] = {
    "ovn-enable-lflow-cache": _CACHE,
    "ovn-limit-lflow-cache": _CACHE,
    "ovn-memlimit-lflow-cache-kb": _CACHE,
    "ovn-trim-limit-lflow-cache": _CACHE,
    "ovn-trim-wmark-perc-lflow-cache": _CACHE,
    "ovn-trim-timeout-ms": _CACHE,
    "ovn-openflow-probe-interval": _OPENFLOW,
    "ovn-bridge-remote": _OPENFLOW,
    "ovn-bridge-remote-probe-interval": _OPENFLOW,
    "ovn-ofctrl-wait-before-clear": "nothing is cleared when the agent starts",
    "ovn-managed-flow-restore-wait": "nothing is cleared when the agent starts",
    "ovn-match-northd-version": "flows of every northd from 23.03 to 26.03 are understood",
    "ovn-enable-flow-based-tunnels": "tunnels need no ports",
    "ovn-bridge-mappings": f"patch ports are made, but traffic of provider bridges is {_LATER}",
    "ovn-chassis-mac-mappings": f"routers on VLANs are {_LATER}",
    "ovn-evpn-vxlan-ports": f"EVPN is {_LATER}",
    "ovn-evpn-local-ip": f"EVPN is {_LATER}",
    "dynamic-routing-port-mapping": f"dynamic routing is {_LATER}",
    "arp-nd-max-timeout-sec": f"probing of ECMP next hops is {_LATER}",
}


def without_effect(external_ids: Mapping[str, str], chassis: str) -> dict[str, str]:
    """Keys that are set and do nothing -> why; KEY-<chassis> counts as KEY."""
    suffix = f"-{chassis}"
    found = {}
    for key in external_ids:
        plain = key.removesuffix(suffix) if chassis else key
        for name in (key, plain):
            if name in REASONS:
                found[key] = REASONS[name]
    return found


class Notice:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def look(self, external_ids: Mapping[str, str], chassis: str) -> list[str]:
        """A line for each key that was not told of before."""
        found = without_effect(external_ids, chassis)
        news = sorted(found.keys() - self._told)
        self._told.update(news)
        return [f"external_ids:{key} has no effect: {found[key]}" for key in news]
