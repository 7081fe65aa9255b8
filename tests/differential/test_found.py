# SPDX-License-Identifier: Apache-2.0
"""Differences that random networks have found, each in the smallest network that shows it.

Both answers are compared, and one line that the case is about is looked for, so that a
case cannot pass because neither of the two gets there.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pytest

from ovn_bpf_controller.datapath.trace import Given
from ovn_bpf_controller.observe.trace_ct import parse_state
from tests.differential.compare import network
from tests.support.release import newer

SWITCH = """
ls-add sw
lsp-add sw a
lsp-set-addresses a "0a:00:00:00:00:01 10.0.0.1 fd00::1"
lsp-add sw b
lsp-set-addresses b "0a:00:00:00:00:02 10.0.0.2 fd00::2"
"""
ROUTER = (
    SWITCH
    + """
lr-add lr
lrp-add lr lr-sw 0a:00:00:00:ff:01 10.0.0.254/24 fd00::fe/64
lsp-add sw sw-lr
lsp-set-type sw-lr router
lsp-set-addresses sw-lr router
lsp-set-options sw-lr router-port=lr-sw
"""
)
A_TO_B = 'inport == "a" && eth.src == 0a:00:00:00:00:01 && eth.dst == 0a:00:00:00:00:02'
TO_ROUTER = 'inport == "a" && eth.src == 0a:00:00:00:00:01 && eth.dst == 0a:00:00:00:ff:01'
IP4 = "ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.2 && ip.ttl == 64"
IP6 = "ip6.src == fd00::1 && ip6.dst == fd00::2 && ip.ttl == 64"
FAR = "ip4.src == 10.0.0.1 && ip4.dst == 172.16.0.9 && ip.ttl == 64 && udp.dst == 53"


def commands(text: str) -> list[str]:
    """Lines of ovn-nbctl commands as its arguments."""
    found: list[str] = []
    for line in text.strip().splitlines():
        found += (["--"] if found else []) + shlex.split(line)
    return found


CASES: dict[str, tuple[str, str, str]] = {
    "what an ACL rejects on the way in is answered by the port it came from": (
        SWITCH + "acl-add sw from-lport 100 ip4 reject",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        'output("a");',
    ),
    "an answer that an ACL rejects is not answered again": (
        SWITCH + "acl-add sw to-lport 100 ip4 reject",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        "icmp4;",
    ),
    "SCTP is aborted, not told with ICMP": (
        SWITCH + "acl-add sw from-lport 100 sctp reject",
        f"{A_TO_B} && {IP4} && sctp.src == 53 && sctp.dst == 53",
        "sctp_abort {",
    ),
    "a router aborts SCTP": (
        ROUTER,
        f"{TO_ROUTER} && ip4.src == 10.0.0.1 && ip4.dst == 10.0.0.254 && ip.ttl == 64"
        " && sctp.src == 9 && sctp.dst == 9",
        "sctp_abort {",
    ),
    "what goes to a link-layer group is answered": (
        SWITCH + "acl-add sw from-lport 100 ip6 reject",
        f"{A_TO_B.replace('0a:00:00:00:00:02', '33:33:00:00:00:01')} && {IP6} && udp.dst == 53",
        "icmp6 {",
    ),
    "a group without ports on the switch undoes an ACL that would match anyway": (
        SWITCH
        + "ls-add far\nlsp-add far c\npg-add other c\n"
        + "acl-add sw from-lport 100 '1 || inport == @other' drop",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        'output("b");',
    ),
    "an ACL that logs is heard of": (
        SWITCH + "--log --severity=info --name=one acl-add sw to-lport 100 ip4 drop",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        "LOG: ACL name=one, direction=OUT, verdict=drop, severity=info",
    ),
    "a metered log is heard of, and the packet goes on": (
        SWITCH
        + "meter-add m drop 1 pktps 1\n"
        + "--log --name=one --meter=m acl-add sw to-lport 100 ip4 allow",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        "LOG: ACL name=one, direction=OUT, verdict=allow, severity=info",
    ),
    "a block behind a meter is still that block": (
        SWITCH
        + "meter-add m drop 1 pktps 1\ncopp-add c reject m\nls-copp-add c sw\n"
        + "acl-add sw from-lport 100 ip4 reject",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        'output("a");',
    ),
    "what a policer would drop is not known before": (
        SWITCH + "qos-add sw from-lport 100 ip4 rate=10",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        'output("b");',
    ),
    "two fields' exclusions from their own sets fit their stage": (
        SWITCH
        + "create Address_Set name=as4 "
        + 'addresses=\'"10.0.1.1","10.0.1.2","10.0.1.3","10.0.1.0/30"\'\n'
        + "acl-add sw from-lport 100 '4 <= udp.src <= 104 && ip4.src == $as4 && ip4.dst == $as4"
        + " && ip4.src != $as4 && ip4.dst != {10.0.1.1, 10.0.1.3}' drop",
        f"{A_TO_B} && {IP4} && udp.src == 50",
        'output("b");',
    ),
    "an exclusion beside one of a large set is not left out": (
        SWITCH
        + "create Address_Set name=many addresses='"
        + ",".join(f'"172.16.{n}.{n * 7 % 256}"' for n in range(150))
        + "'\nacl-add sw from-lport 90 ip4 drop\nacl-add sw from-lport 100"
        + " '!(ip4.src == 10.0.0.2 && udp.dst == 53) && ip4.src != $many' allow",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        'output("b");',
    ),
    "MPLS has a name, and no labels": (SWITCH, f"{A_TO_B} && eth.type == 0x8847", "# mpls,reg14="),
    "a later fragment of ICMPv6 has a type": (
        SWITCH,
        f"{A_TO_B} && {IP6} && icmp6 && ip.frag == 3",
        "nw_frag=later,icmp_type=0",
    ),
    "IGMP was IGMP to a single station, too, before 24.03.3": (
        SWITCH + "set Logical_Switch sw other_config:mcast_snoop=true",
        f"{A_TO_B} && {IP4} && ip.proto == 2",
        "nw_proto=2",
    ),
    "so was MLD": (
        SWITCH + "set Logical_Switch sw other_config:mcast_snoop=true",
        f"{A_TO_B} && ip6.src == fe80::1 && ip6.dst == fd00::2 && ip.ttl == 1"
        " && icmp6.type == 131 && icmp6.code == 0",
        "icmp_type=131",
    ),
    "what asks for a name is told not to have been answered": (
        SWITCH
        + '--id=@d create DNS records={"one.example"="10.0.0.2"} -- add Logical_Switch sw'
        + " dns_records @d",
        f"{A_TO_B} && {IP4} && udp.dst == 53",
        "*** dns_lookup action not implemented;",
    ),
    "a gateway port stands for its distributed one": (
        ROUTER + "lrp-set-gateway-chassis lr-sw hv1 10\nlr-route-add lr 172.16.0.0/16 10.0.0.2",
        f"{TO_ROUTER} && {FAR}",
        'output("b");',
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_found(name: str) -> None:
    argv, packet, shown = CASES[name]
    with network(commands(argv)) as both:
        assert not both.differs("sw", packet)
        assert shown in both.ours.minimal("sw", packet)


def test_a_row_of_the_fdb_leads_to_its_port() -> None:
    argv = commands(SWITCH + "lsp-set-addresses b unknown")
    packet = A_TO_B.replace("00:00:02", "00:00:07") + f" && {IP4}"
    with network(argv, [("sw", "0a:00:00:00:00:07", "b")]) as both:
        assert not both.differs("sw", packet)
        assert 'output("b");' in both.ours.minimal("sw", packet)


ECMP = "".join(f"--ecmp lr-route-add lr 172.16.0.0/16 10.0.0.{n}\n" for n in (1, 2, 7))


@pytest.mark.parametrize("choice", [1, 2, 3])
def test_the_member_of_an_ecmp_route_that_is_asked_for_is_chosen(choice: int) -> None:
    with network(commands(ROUTER + ECMP), select_id=choice) as both:
        assert not both.differs("sw", f"{TO_ROUTER} && {FAR}")
        assert f"select: reg8[16..31] = {choice} {{" in both.found("sw", f"{TO_ROUTER} && {FAR}")


def lengths(given: Sequence[int]) -> list[bool]:
    """Whether a frame of so many bytes is too large for the route behind the port."""
    argv = ROUTER + "lrp-set-options lr-sw gateway_mtu=1500\n"
    argv += "lr-route-add lr 172.16.0.0/16 10.0.0.2"
    with network(commands(argv)) as both:
        packet = f"{TO_ROUTER} && {FAR}"
        assert not both.differs("sw", packet)
        traces = [both.ours.minimal("sw", packet, Given(length=length)) for length in given]
        return ["icmp4.frag_mtu = 1500;" in trace for trace in traces]


def test_a_length_decides_check_pkt_larger_and_none_is_smaller_than_any() -> None:
    """northd 23.03 compares with the MTU and 14 bytes of Ethernet header."""
    assert lengths([0, 1514, 1515, 9000]) == [False, False, True, True]


@pytest.mark.long
@pytest.mark.parametrize("way", ["from-lport", "to-lport", "both"])
def test_a_mirror_of_a_port_gets_copies(way: str) -> None:
    """Mirrors of type lport came with OVN 25.09."""
    argv = (
        SWITCH
        + "lsp-add sw c\nlsp-set-addresses c unknown\n"
        + f"mirror-add m lport {way} c\nlsp-attach-mirror a m\nlsp-attach-mirror b m"
    )
    with network(commands(argv), release=newer()) as both:
        assert not both.differs("sw", f"{A_TO_B} && {IP4} && udp.dst == 53")
        found = both.found("sw", f"{A_TO_B} && {IP4} && udp.dst == 53")
        assert found.count("clone {") == (2 if way == "both" else 1), found
        assert found.count('output("b");') == 1


@pytest.mark.long
def test_samples_of_established_connections_are_no_verb_that_we_lack() -> None:
    """Their observation point is in the label of the connection, since OVN 24.09."""
    argv = (
        SWITCH
        + "--id=@c create Sample_Collector id=1 name=c probability=1 set_id=1\n"
        + "--id=@s create Sample collectors=@c metadata=7\n"
        + "--id=@a create ACL direction=from-lport priority=100 match=ip4 action=allow-related"
        + " sample_new=@s sample_est=@s\nadd Logical_Switch sw acls @a"
    )
    with network(commands(argv), release=newer()) as both:
        assert not list(both.ours.sb.compiler.unsupported())
        packet = f"{A_TO_B} && {IP4} && udp.dst == 53 && ct_mark == 0x10000"
        trace = both.ours.trace("sw", packet, Given([parse_state("est")] * 2))
        assert "obs_point=ct_label.obs_point_id" in trace.text(["detailed"])
        assert 'output("b");' in trace.text(["minimal"])
