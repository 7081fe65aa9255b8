# SPDX-License-Identifier: Apache-2.0
"""What only newer northds know, for random networks under one: see topologies.py.

Mirrors to logical ports, tiers and samples of ACLs, chains of policies, switches side
by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.differential.routers import Hop
from tests.differential.source import Source

TIERS = 4
CHAINS = ("first", "second")
RULES = ("1", "ip4", "udp", "tcp.dst == 80", "ip6 && icmp6", "arp", "eth.mcast")


def options(source: Source, name: str) -> list[list[str]]:
    """Commands for options of a guest's port."""
    found = []
    for percent, option in (
        (10, "force_fdb_lookup=true"),
        (10, "pkt_clone_type=mc_unknown"),
        (10, "disable_arp_nd_rsp=true"),
    ):
        if source.chance(percent):
            found.append(["set", "Logical_Switch_Port", name, f"options:{option}"])
    return found


def tier(source: Source) -> list[str]:
    """Option of acl-add."""
    return [f"--tier={source.number(0, TIERS - 1)}"] if source.chance(40) else []


def samples(source: Source, switches: Sequence[int], do: Callable[..., None]) -> None:
    """ACLs whose packets are told to a collector."""
    if not source.chance(40):
        return
    do(
        "--id=@collector",
        "create",
        "Sample_Collector",
        "id=1",
        "name=c",
        "probability=1",
        "set_id=1",
    )
    for n in range(source.number(1, 3)):
        do(f"--id=@sample{n}", "create", "Sample", "collectors=@collector", f"metadata={100 + n}")
        direction = source.pick(["from-lport", "to-lport"])
        match = source.pick(["ip4", "ip", "udp", "tcp.dst == 80", "ip6 && icmp6"])
        do(
            *(f"--id=@sampled{n}", "create", "ACL", f"direction={direction}"),
            *(f"priority={source.unused(1, 32000)}", f'match="{match}"'),
            *(f"action={source.pick(['allow', 'drop'])}", f"sample_new=@sample{n}"),
        )
        do("add", "Logical_Switch", f"sw{source.pick(switches)}", "acls", f"@sampled{n}")


def mirrors(source: Source, names: Sequence[str], do: Callable[..., None]) -> None:
    """Copies of what some ports send or get, for others.

    No port has two: their flows have one priority.
    """
    left = list(names)
    for number in range(source.number(0, 2)):
        mirror, way = f"mirror{number}", source.pick(["from-lport", "to-lport", "both"])
        target, *sources = source.some(left, 3)
        left = [name for name in left if name not in sources]
        do("mirror-add", mirror, "lport", way, target)
        for _ in range(source.number(0, 2)):
            verdict = source.pick(["mirror", "skip"])
            rule = (str(source.unused(1, 1000)), source.pick(RULES), verdict)
            do("mirror-rule-add", mirror, *rule)
        for name in sources:
            do("lsp-attach-mirror", name, mirror)


def chains(source: Source, router: str, hops: Sequence[Hop], do: Callable[..., None]) -> None:
    """Policies that go on in a chain of others."""
    if not hops or not source.chance(30):
        return
    for chain in source.some(CHAINS, 2):
        hop, priority = source.pick(hops), source.unused(1, 999)
        match = source.pick([f"ip4.dst == {hop.ip4}", "ip4", f"ip6.dst == {hop.ip6}", "udp"])
        do("--may-exist", "lr-policy-add", router, str(priority), match, "jump", chain)
        for inner in ("ip4 && udp", f"ip4.dst == {hop.ip4}", "ip6"):
            verdict = [source.pick(["allow", "drop"])]
            if inner != "ip6" and source.chance(30):
                verdict = ["reroute", hop.ip4]
            where = str(source.unused(1, 999))
            do(f"--chain={chain}", "lr-policy-add", router, where, inner, *verdict)


def joined(source: Source, switches: Sequence[int], do: Callable[..., None]) -> None:
    """Two switches, one link."""
    if len(switches) < 2 or not source.chance(20):
        return
    a, b = switches[:2]
    for one, other in ((a, b), (b, a)):
        name = f"sw{one}-sw{other}"
        do("lsp-add", f"sw{one}", name)
        do("lsp-set-type", name, "switch")
        do("set", "Logical_Switch_Port", name, f"peer=sw{other}-sw{one}")
