# SPDX-License-Identifier: Apache-2.0
"""What the trackers of a sandbox's chassis hold, in the words of `dpctl/dump-conntrack`.

Our agent answers on its own control socket, ovs-vswitchd for a real chassis.  The
text is OVS's for both, because OVN's tests and operators read it; what is another at
every run (ports, ICMP ids, TCP states, zones) is cleared as OVN's tests clear it.
"""

from __future__ import annotations

import re

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis

_CLEARED = re.compile(r"\b(sport|dport|id|state)=[0-9A-Z_]+")
_TUPLE = re.compile(r"\(src=([^,]+),dst=([^,]+),sport=(\d+),dport=(\d+)\)")
_ZONE = re.compile(r"\bzone=[0-9]+")


def command(chassis: Chassis, *arguments: str) -> str:
    """Ask whoever tracks connections on a chassis; SandboxError when it complains."""
    if chassis.ours:
        return chassis.appctl(*arguments)
    control = chassis.root / f"ovs-vswitchd.{chassis.vswitchd_pid()}.ctl"
    return netns.run(["ovs-appctl", "--timeout=30", "-t", str(control), *arguments]).rstrip("\n")


def dump(where: Sandbox | Chassis, *arguments: str) -> list[str]:
    """The lines of one or all chassis as they are; arguments: "zone=N"."""
    return [
        line
        for chassis in ([where] if isinstance(where, Chassis) else where.chassis.values())
        for line in command(chassis, "dpctl/dump-conntrack", *arguments).splitlines()
    ]


def flush(bed: Sandbox, *arguments: str) -> None:
    """Forget connections on all chassis; arguments: "zone=N", a tuple."""
    for chassis in bed.chassis.values():
        command(chassis, "dpctl/flush-conntrack", *arguments)
        if not arguments and chassis.spec.userspace:
            _settle(chassis)


def _settle(chassis: Chassis) -> None:
    """Flush until nothing comes back: Open vSwitch may have the last packets of ended
    connections in its hands, and makes a connection of each."""
    for _ in range(5):
        if not command(chassis, "dpctl/dump-conntrack"):
            return
        command(chassis, "dpctl/flush-conntrack")


def towards(where: Sandbox | Chassis, address: str, *arguments: str) -> list[str]:
    """Cleared lines in which `address` is the destination of either direction, sorted.

    One line for each zone that has the connection: equal lines are not merged.
    """
    wanted = [line for line in dump(where, *arguments) if f"dst={address}," in line]
    cleared = {_CLEARED.sub(r"\1=<cleared>", line) for line in wanted}
    return sorted(_ZONE.sub("zone=<cleared>", line) for line in cleared)


def ported(line: str) -> tuple[tuple[str, int, str, int], tuple[str, int, str, int]]:
    """(src, sport, dst, dport) of both directions of a TCP, UDP or SCTP line as it is."""
    found = _TUPLE.findall(line)
    original, answer = ((src, int(sport), dst, int(dport)) for src, dst, sport, dport in found)
    return original, answer


def zone(chassis: Chassis, name: str) -> int:
    """The zone of a logical port, as `ct-zone-list` has it; KeyError when it has none."""
    words = (line.split() for line in chassis.appctl("ct-zone-list").splitlines())
    return {owner: int(number) for owner, number in words}[name]


def router_zone(bed: Sandbox, chassis: str, router: str, which: str) -> int:
    """The zone "dnat" or "snat" of a router; KeyError when it has none on the chassis."""
    find = ("--bare", "--columns=_uuid", "find", "datapath_binding")
    datapath = bed.sbctl(*find, f"external_ids:name={router}")
    return zone(bed.chassis[chassis], f"{datapath}_{which}")


def echo(orig: tuple[str, str], reply: tuple[str, str], after: str = "") -> str:
    """A cleared line of an ICMP or ICMPv6 echo; orig and reply: (src, dst).

    after: what follows the zone, such as ",mark=2".
    """
    name, request, answer = ("icmpv6", 128, 129) if ":" in orig[0] else ("icmp", 8, 0)
    return (
        f"{name},orig=(src={orig[0]},dst={orig[1]},id=<cleared>,type={request},code=0),"
        f"reply=(src={reply[0]},dst={reply[1]},id=<cleared>,type={answer},code=0),"
        f"zone=<cleared>{after}"
    )


def tcp(orig: tuple[str, str], reply: tuple[str, str], after: str = "") -> str:
    """A cleared line of a TCP connection; arguments as echo() has them."""
    state = ",protoinfo=(state=<cleared>)"
    return _ported("tcp", orig, reply) + after + state


def udp(orig: tuple[str, str], reply: tuple[str, str], after: str = "") -> str:
    """A cleared line of a UDP connection; arguments as echo() has them."""
    return _ported("udp", orig, reply) + after


def _ported(name: str, orig: tuple[str, str], reply: tuple[str, str]) -> str:
    ports = "sport=<cleared>,dport=<cleared>"
    return (
        f"{name},orig=(src={orig[0]},dst={orig[1]},{ports}),"
        f"reply=(src={reply[0]},dst={reply[1]},{ports}),zone=<cleared>"
    )
