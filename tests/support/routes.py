# SPDX-License-Identifier: Apache-2.0
"""Static routes with BFD: rows, what becomes of them, and next hops in the flows."""

from __future__ import annotations

import re

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until

PATIENCE = 60.0
FAR = {4: "100.0.0.0/8", 6: "2000::/64"}
_HOP = re.compile(r"reg0 = ([0-9a-f.:]+);")


def watch(bed: Sandbox, port: str, peer: str, mult: int = 3) -> str:
    """A BFD row for a peer, faster than the default; its uuid.

    mult: packets, ten a second, that the peer may miss.
    """
    pace = ("min_tx=100", "min_rx=100", f"detect_mult={mult}")
    return bed.nbctl("create", "bfd", f"logical_port={port}", f'dst_ip="{peer}"', *pace).strip()


def wait_status(bed: Sandbox, row: str, wanted: str) -> None:
    """ovn-controller looks at its sessions again only when something else happens."""

    def holds() -> bool:
        bed.nbctl("--wait=hv", "sync")
        return bed.nbctl("get", "bfd", row, "status").strip() == wanted

    wait_until(holds, PATIENCE, f"BFD session {row} {wanted}")


def hops(bed: Sandbox, router: str) -> set[str]:
    """Next hops that the routes of a router have."""
    flows = bed.sbctl("dump-flows", router).splitlines()
    routing = [line for line in flows if "lr_in_ip_routing" in line]
    return {found for line in routing for found in _HOP.findall(line)}
