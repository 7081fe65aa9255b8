# SPDX-License-Identifier: Apache-2.0
"""Patch ports between the integration bridge and provider bridges.

One pair for each localnet port of a local datapath, and for each l2gateway port bound
here, if external_ids:ovn-bridge-mappings has its network.  ovn-kubernetes finds its
way by their names.  Called by ovs_ports; pure.  Rules and names: patch.c of OVN.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator

from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.index import PortIndex
from ovn_bpf_controller.binding.ovs_writes import PortWish
from ovn_bpf_controller.binding.view import LocalView, OvsPort

KINDS = ("l2gateway", "localnet")
# The last two are what releases before 2.6 made.
IDS = ("ovn-localnet-port", "ovn-l2gateway-port", "ovn-l3gateway-port", "ovn-logical-patch-port")


def wanted(
    config: Config,
    view: LocalView,
    chassis: str,
    ports: PortIndex,
    datapaths: Container[str],
    omit: Callable[[str, str], None],
) -> dict[str, PortWish]:
    """Both ends of each pair, by name.

    chassis: uuid of our row.  datapaths: uuids of local ones.  omit: is told of ports
    that get none, and why.
    """
    found: dict[str, PortWish] = {}
    if view.bridge is None:
        return found
    here = view.bridge
    mappings = dict(config.bridge_mappings)
    for kind in KINDS:
        local = (row for row in ports.kind(kind) if row.datapath in datapaths)
        for row in sorted(local, key=lambda row: row.logical_port):
            if kind == "l2gateway" and row.chassis != chassis:
                continue
            network = row.options.get("network_name", "")
            there = view.bridges.get(mappings.get(network, ""))
            if there is None:
                omit(row.logical_port, _why(kind, network))
                continue
            ids = {f"ovn-{kind}-port": row.logical_port}
            near = f"patch-{here.name}-to-{row.logical_port}"
            far = f"patch-{row.logical_port}-to-{here.name}"
            for bridge, name, peer in ((here.uuid, near, far), (there, far, near)):
                found[name] = PortWish(bridge, name, "patch", {"peer": peer}, ids)
    return found


def _why(kind: str, network: str) -> str:
    if not network:
        return f"{kind} port without a network name"
    return f"bridge not found for {kind} port with network name '{network}'; skipping"


def plan(view: LocalView, wanted: dict[str, PortWish], settled: bool) -> Iterator[PortWish]:
    """What is to be done.  settled: all that is local is known, so others may go."""
    patches = [port for port in view.cables if port.type == "patch"]
    there = {(port.bridge, port.options.get("peer", "")): port for port in patches}
    kept = set()
    for wish in wanted.values():
        port = there.get((wish.bridge, wish.options["peer"]))
        if port is None:
            yield wish
        else:
            kept.add(port.name)
    if settled:
        for port in stale(view, patches, kept):
            yield PortWish(port.bridge, port.name, old=port, remove=True)


def stale(view: LocalView, patches: Iterable[OvsPort], kept: Container[str]) -> Iterator[OvsPort]:
    """Pairs whose end at the integration bridge is OVN's, without those in `kept`.

    Ends elsewhere go by their peer: another controller of this host has its own.
    """
    uuid = view.bridge.uuid if view.bridge is not None else ""
    by_name = {port.name: port for port in patches}
    for port in by_name.values():
        ours = port.bridge == uuid and any(key in port.external_ids for key in IDS)
        if ours and port.name not in kept:
            peer = by_name.get(port.options.get("peer", ""))
            if peer is not None:
                yield peer
            yield port
