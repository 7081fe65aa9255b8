# SPDX-License-Identifier: Apache-2.0
"""`ovn-bpf-sandbox demo`: what this project is for, shown in one minute.

Three chassis, one with the real ovn-controller, two ports each on one logical
switch: all ping all.  Then once more with an ovs-vswitchd frozen on each of our
chassis, which shows that Open vSwitch forwards none of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.status import table
from ovn_bpf_controller.sandbox.topology import parse

TOPOLOGY = """
chassis:
  hv1: {{vswitchd: {vswitchd}}}
  hv2: {{vswitchd: {vswitchd}}}
  hv3: {{agent: ovn-controller}}
switches:
  net1: {{ipv4: 10.0.0.0/24, ipv6: "fd00:10::/64"}}
ports:
  vm1: {{switch: net1, chassis: hv1, port_security: true}}
  vm2: {{switch: net1, chassis: hv1, port_security: true}}
  vm3: {{switch: net1, chassis: hv2, port_security: true}}
  vm4: {{switch: net1, chassis: hv2, port_security: true}}
  vm5: {{switch: net1, chassis: hv3, port_security: true}}
  vm6: {{switch: net1, chassis: hv3, port_security: true}}
"""


def run(topology: str = TOPOLOGY) -> int:
    """Show both passes; 0 when every ping of both was answered, else 1.

    topology: a YAML template as TOPOLOGY is.
    """
    print("hv1 and hv2 run ovn-bpf-controller alone, hv3 ovn-controller and Open vSwitch.\n")
    with Sandbox(parse(topology.format(vswitchd="false"))) as sandbox:
        print(sandbox.sbctl("show"), flush=True)
        failures = ping_all(sandbox, list(sandbox.ports))
    print("\nAgain with ovs-vswitchd beside the agent on hv1 and hv2, frozen by SIGSTOP.\n")
    with Sandbox(parse(topology.format(vswitchd="true"))) as sandbox:
        ours = [chassis for chassis in sandbox.chassis.values() if chassis.ours]
        for chassis in ours:
            chassis.freeze_vswitchd()
        names = {chassis.name for chassis in ours}
        failures += ping_all(
            sandbox, [p.name for p in sandbox.ports.values() if p.chassis in names]
        )
    return 1 if failures else 0


def ping_all(sandbox: Sandbox, ports: Sequence[str]) -> list[str]:
    """Ping every ordered pair of `ports` over IPv4 and IPv6, print a matrix and the score.

    Returns the pairs without an answer, each of which is printed too.
    """
    pairs = list(itertools.permutations(ports, 2))
    failures = sandbox.unanswered(pairs, seconds=5.0)
    silent = set(failures)
    rows = [["from \\ to", *ports]]
    for source in ports:
        cells = ["-" if source == target else _cell(source, target, silent) for target in ports]
        rows.append([source, *cells])
    print("\n" + "\n".join(table(rows)) + "\n")
    for failure in failures:
        print(f"no answer: {failure}")
    print(f"{2 * len(pairs) - len(failures)} of {2 * len(pairs)} pings answered", flush=True)
    return failures


def _cell(source: str, target: str, silent: set[str]) -> str:
    answered = [n for n in ("4", "6") if f"{source} -> {target} (IPv{n})" not in silent]
    return "+".join(f"v{n}" for n in answered) or "none"
