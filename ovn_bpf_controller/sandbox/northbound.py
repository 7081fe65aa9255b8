# SPDX-License-Identifier: Apache-2.0
"""A topology as one ovn-nbctl command line.

Pure: Sandbox.up() runs what this returns.  One transaction, so that northd
computes once and a mistake leaves nothing half made.
"""

from __future__ import annotations

import shlex

from ovn_bpf_controller.sandbox.spec import PortSpec, RouterSpec, SwitchSpec, Topology


def commands(topology: Topology) -> list[list[str]]:
    """ovn-nbctl commands, to be joined with "--", that make `topology`."""
    result: list[list[str]] = []
    for switch in topology.switches.values():
        result += _switch(switch)
    for router in topology.routers.values():
        result += _router(router)
    for port in topology.ports.values():
        result += _port(port)
    for name, addresses in topology.address_sets.items():
        result.append(["create", "address_set", f"name={quote(name)}"])
        if addresses:
            result[-1].append("addresses=" + ",".join(quote(text) for text in addresses))
    for name, ports in topology.port_groups.items():
        result.append(["pg-add", name, *ports])
    for acl in topology.acls:
        kind = "port-group" if acl.entity in topology.port_groups else "switch"
        result.append(
            [f"--type={kind}", "acl-add", acl.entity, acl.direction, str(acl.priority), acl.match]
            + [acl.action]
        )
    result += [shlex.split(line) for line in topology.nbctl]
    return result


def join(parts: list[list[str]]) -> list[str]:
    """The arguments of one ovn-nbctl run for several commands."""
    arguments: list[str] = []
    for part in parts:
        arguments += ["--", *part]
    return arguments


def quote(text: str) -> str:
    """`text` as an OVSDB string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _switch(switch: SwitchSpec) -> list[list[str]]:
    result = [["ls-add", switch.name]]
    for key, value in switch.other_config.items():
        result.append(["set", "logical_switch", switch.name, f"other_config:{key}={quote(value)}"])
    return result


def _router(router: RouterSpec) -> list[list[str]]:
    result = [["lr-add", router.name]]
    for leg in router.ports:
        peer = f"{leg.switch}-{leg.name}"
        result.append(["lrp-add", router.name, leg.name, leg.mac, *map(str, leg.networks)])
        result.append(["lsp-add", leg.switch, peer])
        result.append(["lsp-set-type", peer, "router"])
        result.append(["lsp-set-addresses", peer, "router"])
        result.append(["lsp-set-options", peer, f"router-port={leg.name}"])
    return result


def _port(port: PortSpec) -> list[list[str]]:
    result = [
        ["lsp-add", port.switch, port.name],
        ["lsp-set-addresses", port.name, *port.addresses],
    ]
    if port.port_security:
        result.append(["lsp-set-port-security", port.name, *port.port_security])
    if port.options:
        result.append(
            ["lsp-set-options", port.name, *(f"{k}={v}" for k, v in port.options.items())]
        )
    return result
