# SPDX-License-Identifier: Apache-2.0
"""ACLs that exclude sets, masks with holes and ranges at once, beside ovn-trace.

Cut into prefixes each of them would take more masks than a stage holds.  Packets meet
and miss each part.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from tests.differential.compare import network
from tests.differential.test_found import commands

MACS = ",".join(f'"0a:00:00:00:00:{n:02x}"' for n in range(3, 9))
SETS = f"""
create Address_Set name=macs addresses='{MACS}'
create Address_Set name=v4 addresses='"10.1.0.0/24","10.0.0.7"'
create Address_Set name=v6 addresses='"fd00::7","fd01::/64"'
"""
ACLS = (
    "!(eth.src == $macs || ip4.dst == 10.0.0.0/255.0.0.3 || (1000 < udp.dst < 2000))",
    "eth.src != $macs && eth.dst != $macs && udp.dst == 1500 && ip4.src == 10.0.0.1",
    "!(ip6.dst[64..79] == 2 || ip6.src == fd00::1/ffff::f || (53 < udp.dst && udp.dst < 253))",
    "!(eth.src == $macs && ip6.src == $v6) && !(udp.src == {1, 2, 3} && ip6.dst == fd00::2)"
    " && !(100 < udp.dst < 300)",
    "tcp.src != {53, 1000} && tcp.dst != {53, 1000} && ip4.src != $v4 && ip4.dst != $v4",
    "!(ip4.dst == 10.0.0.1/255.0.0.3 && tcp.src > 100)"
    " && !(100 < udp.dst < 300 || ip4.dst[0..7] == {1, 2})"
    " && (ip4.src != 10.0.0.1 || tcp.dst == 0x50/0xfff0 || udp.dst == {53, 77})",
    "arp.spa != $v4 && arp.tpa != $v4 && eth.src != $macs",
    "sctp.src != {5, 77, 1000} && sctp.dst != {5, 77, 1000} && ip6.src != $v6"
    " && eth.src != $macs && eth.dst != $macs",
)


EVERY = 7  # of the packets is sent to each switch; a prime, so that all values come


def packets(port: str) -> Iterator[str]:
    """Microflows near the edges of what ACLS exclude."""
    macs = [(a, b) for a, b in product((1, 3, 8, 9), (2, 3, 9)) if a != b]
    for source, target in macs:
        ether = (
            f'inport == "{port}" && eth.src == 0a:00:00:00:00:{source:02x}'
            f" && eth.dst == 0a:00:00:00:00:{target:02x}"
        )
        four = product(("10.0.0.1", "10.1.0.255", "10.0.0.7"), ("10.0.0.2", "10.0.0.4", "11.1.0.1"))
        nets = [f"ip4.src == {a} && ip4.dst == {b}" for a, b in four]
        six = product(("fd00::1", "fd00::7", "fd01::5"), ("fd00::2", "fd00::2:0:0:0:2"))
        nets += [f"ip6.src == {a} && ip6.dst == {b}" for a, b in six]
        ports = [("udp", n, m) for n, m in ((1, 1000), (9, 1001), (3, 101), (4, 53), (53, 1500))]
        ports += [("tcp", n, m) for n, m in ((53, 80), (54, 1000), (101, 80), (99, 95), (1, 1))]
        ports += [("sctp", n, m) for n, m in ((5, 6), (6, 77), (78, 999))]
        for net, (proto, sport, dport) in product(nets, ports):
            layer4 = f"{proto}.src == {sport} && {proto}.dst == {dport}"
            yield f"{ether} && {net} && ip.ttl == 64 && {layer4}"
        for spa, tpa in product(("10.0.0.7", "10.0.0.8", "10.1.0.9"), ("10.0.0.6", "10.0.0.7")):
            yield f"{ether} && arp.op == 1 && arp.spa == {spa} && arp.tpa == {tpa}"


def switch(n: int, acl: str) -> str:
    """Commands: a switch of two ports, and what it drops."""
    ports = f"""
lsp-add sw{n} a{n}
lsp-set-addresses a{n} unknown
lsp-add sw{n} b{n}
lsp-set-addresses b{n} unknown
"""
    return f"ls-add sw{n}{ports}acl-add sw{n} from-lport 100 '{acl}' drop\n"


def test_exclusions_of_several_fields_drop_what_ovn_trace_drops() -> None:
    argv = commands(SETS + "".join(switch(n, acl) for n, acl in enumerate(ACLS)))
    with network(argv) as both:
        assert not list(both.ours.sb.compiler.unsupported())
        for n, acl in enumerate(ACLS):
            passed = []
            for packet in islice(packets(f"a{n}"), n, None, EVERY):
                assert not both.differs(f"sw{n}", packet), acl
                passed.append("output(" in both.ours.minimal(f"sw{n}", packet))
            assert len(set(passed)) == 2, f"{acl} decides nothing here"
