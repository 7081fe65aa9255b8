# SPDX-License-Identifier: Apache-2.0
"""BFD between our chassis and a real ovn-controller's: the route leaves with its peer.

Two of ovn-controller 23.03 never get to know each other, since each waits to be named
by its discriminator; so there is no such case with it on both sides.
"""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.process import wait_until
from tests.support.routes import FAR, PATIENCE, hops, wait_status, watch

KINDS = ("alone",)
TOPOLOGY = """
chassis: {hv1: $agent, hv2: {agent: ovn-controller}, hv3: $agent}
switches: {join: {ipv4: 20.0.0.0/24, ipv6: "fd20::/64"}}
routers:
  gr1:
    ports:
      gr1-join: {switch: join, mac: "0e:00:00:00:01:01", networks: [20.0.0.1/24, "fd20::1/64"]}
  gr2:
    ports:
      gr2-join: {switch: join, mac: "0e:00:00:00:02:01", networks: [20.0.0.2/24, "fd20::2/64"]}
ports:
  vm1: {switch: join, chassis: hv1}
  vm2: {switch: join, chassis: hv2}
nbctl: [set logical_router gr1 options:chassis=hv1]
"""
PEER = {4: ("20.0.0.1", "20.0.0.2"), 6: ("fd20::1", "fd20::2")}


def route(bed: Sandbox, router: str, prefix: str, hop: str, row: str) -> None:
    """The router's only route, which wants a BFD session."""
    bed.nbctl("lr-route-add", router, prefix, hop)
    made = bed.nbctl("--bare", "get", "logical_router", router, "static_routes").strip("[]\n")
    bed.nbctl("set", "logical_router_static_route", made, f"bfd={row}")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("peer", ["hv2", "hv3"])
def test_a_session_comes_up_and_goes_with_its_peer(bed: Sandbox, peer: str, version: int) -> None:
    one, two = PEER[version]
    bed.nbctl("set", "logical_router", "gr2", f"options:chassis={peer}")
    rows = {"gr1": watch(bed, "gr1-join", two), "gr2": watch(bed, "gr2-join", one)}
    try:
        route(bed, "gr1", FAR[version], two, rows["gr1"])
        route(bed, "gr2", FAR[version], one, rows["gr2"])
        for row in rows.values():
            wait_status(bed, row, "up")
        wait_until(lambda: hops(bed, "gr1") == {two}, PATIENCE, "route with its hop")
        bed.nbctl("lr-route-del", "gr2")
        bed.nbctl("destroy", "bfd", rows.pop("gr2"))
        wait_status(bed, rows["gr1"], "down")
        wait_until(lambda: not hops(bed, "gr1"), PATIENCE, "route without its hop")
        rows["gr2"] = watch(bed, "gr2-join", one)
        route(bed, "gr2", FAR[version], one, rows["gr2"])
        wait_status(bed, rows["gr1"], "up")
    finally:
        for router, row in rows.items():
            bed.nbctl("lr-route-del", router)
            bed.nbctl("destroy", "bfd", row)
        bed.nbctl("--wait=hv", "sync")
