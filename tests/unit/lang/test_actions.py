# SPDX-License-Identifier: Apache-2.0
"""Every verb of OVN 23.03 to 26.03: nodes, arguments, errors, prerequisites."""

from __future__ import annotations

import re

import pytest

from ovn_bpf_controller.errors import LangError
from ovn_bpf_controller.lang import nodes as n
from ovn_bpf_controller.lang.actions import action_prereqs, parse_actions
from ovn_bpf_controller.lang.expr import parse_match
from ovn_bpf_controller.lang.logic import conjunction
from ovn_bpf_controller.lang.nodes import TRUE, Action, Backend, Const, Field, Format, Option

OUTPORT = Field("outport", "outport", 0, 32, True)
INPORT = Field("inport", "inport", 0, 32, True)
ETH_DST = Field("eth.dst", "eth.dst", 0, 48)
ETH_SRC = Field("eth.src", "eth.src", 0, 48)
REG0 = Field("reg0", "reg0", 0, 32)
XXREG0 = Field("xxreg0", "xxreg0", 0, 128)
BIT = Field("reg0", "reg0", 3, 1)
LOOPBACK = Field("flags.loopback", "flags", 0, 1)
ARP_SPA = Field("arp.spa", "arp.spa", 0, 32)
ARP_SHA = Field("arp.sha", "arp.sha", 0, 48)
ND_TARGET = Field("nd.target", "nd.target", 0, 128)
ND_SLL = Field("nd.sll", "nd.sll", 0, 48)
NATTED = Field("ct_mark.natted", "ct_mark", 1, 1)
LABEL = Field("ct_label", "ct_label", 0, 128)
ECMP_ETH = Field("ct_label.ecmp_reply_eth", "ct_label", 32, 48)
MAC1 = 1
IP1 = 0x0A000001
FD1 = (0xFD << 120) | 1


def option(name: str, *values: int | str, form: Format, mask: int | None = None) -> Option:
    return Option(name, tuple(Const(value, form, mask) for value in values))


VERBS: dict[str, list[Action]] = {
    # flow of control
    "output;": [n.Output()],
    "next;": [n.Next()],
    "next(5);": [n.Next(None, 5)],
    "next(table=5);": [n.Next(None, 5)],
    "next(pipeline=egress, table=0);": [n.Next("egress", 0)],
    "next(pipeline=ingress);": [n.Next("ingress", None)],
    "drop;": [n.Drop()],
    "": [],
    # loads, moves, exchanges, stack
    'outport = "p1";': [n.Load(OUTPORT, "p1", 0xFFFFFFFF)],
    'outport = "";': [n.Load(OUTPORT, "", 0xFFFFFFFF)],
    "reg0 = 5;": [n.Load(REG0, 5, 0xFFFFFFFF)],
    "reg0[3] = 1;": [n.Load(BIT, 1, 1)],
    "flags.loopback = 1;": [n.Load(LOOPBACK, 1, 1)],
    "xxreg0 = fd00::1;": [n.Load(XXREG0, FD1, (1 << 128) - 1)],
    "eth.dst = 00:00:00:00:00:01;": [n.Load(ETH_DST, MAC1, (1 << 48) - 1)],
    "reg0 = 0x5/0xf;": [n.Load(REG0, 5, 15)],
    "icmp4.frag_mtu = 1400;": [
        n.Load(Field("icmp4.frag_mtu", "icmp4.frag_mtu", 0, 16), 1400, 0xFFFF)
    ],
    "icmp6.frag_mtu = 1400;": [
        n.Load(Field("icmp6.frag_mtu", "icmp6.frag_mtu", 0, 32), 1400, 0xFFFFFFFF)
    ],
    "icmp4.inner_ip4.src = 10.0.0.1;": [
        n.Load(Field("icmp4.inner_ip4.src", "icmp4.inner_ip4.src", 0, 32), IP1, 0xFFFFFFFF)
    ],
    "eth.dst = eth.src;": [n.Move(ETH_DST, ETH_SRC)],
    "outport = inport;": [n.Move(OUTPORT, INPORT)],
    "eth.dst = xreg0[0..47];": [n.Move(ETH_DST, Field("xreg0", "xreg0", 0, 48))],
    "eth.dst <-> eth.src;": [n.Exchange(ETH_DST, ETH_SRC)],
    "outport <-> inport;": [n.Exchange(OUTPORT, INPORT)],
    "push(xxreg0); pop(xxreg0);": [n.Push(XXREG0), n.Pop(XXREG0)],
    "push(inport);": [n.Push(INPORT)],
    "ip.ttl--;": [n.DecTtl()],
    # connection tracking
    "ct_next;": [n.CtNext()],
    "ct_next(dnat);": [n.CtNext("dnat")],
    "ct_next(snat);": [n.CtNext("snat")],
    "ct_commit;": [n.CtCommit()],
    "ct_commit { };": [n.CtCommit()],
    "ct_commit { ct_mark.natted = 1; ct_label.ecmp_reply_eth = eth.src; };": [
        n.CtCommit((n.Load(NATTED, 1, 1), n.Move(ECMP_ETH, ETH_SRC)))
    ],
    "ct_commit(ct_mark=1/1, ct_label=0x5);": [
        n.CtCommit(
            (
                n.Load(Field("ct_mark", "ct_mark", 0, 32), 1, 1),
                n.Load(LABEL, 5, (1 << 128) - 1),
            )
        )
    ],
    "ct_commit_to_zone(dnat);": [n.CtCommitToZone("dnat")],
    "ct_commit_nat;": [n.CtCommitNat()],
    "ct_commit_nat(snat);": [n.CtCommitNat("snat")],
    "ct_dnat;": [n.CtDnat()],
    "ct_dnat(10.0.0.1);": [n.CtDnat(IP1, 4)],
    "ct_dnat(fd00::1);": [n.CtDnat(FD1, 6)],
    "ct_snat(10.0.0.1, 80);": [n.CtSnat(IP1, 4, (80, 80))],
    "ct_snat(10.0.0.1, 1000-2000);": [n.CtSnat(IP1, 4, (1000, 2000))],
    "ct_dnat_in_czone(10.0.0.1);": [n.CtDnatInCzone(IP1, 4)],
    "ct_snat_in_czone;": [n.CtSnatInCzone()],
    "ct_lb;": [n.CtLb()],
    "ct_lb(backends=10.0.0.1:80);": [n.CtLb((Backend(IP1, 4, 80),))],
    "ct_lb_mark;": [n.CtLbMark()],
    "ct_lb_mark();": [n.CtLbMark()],
    "ct_lb_mark(backends=10.0.0.1:80,[fd00::1]:443, fd00::1, 10.0.0.1);": [
        n.CtLbMark((Backend(IP1, 4, 80), Backend(FD1, 6, 443), Backend(FD1, 6), Backend(IP1, 4)))
    ],
    'ct_lb_mark(backends=10.0.0.1:80; hash_fields="ip_src,ip_dst"; force_snat);': [
        n.CtLbMark((Backend(IP1, 4, 80),), "ip_src,ip_dst", "force_snat")
    ],
    "ct_lb_mark(backends=10.0.0.1; skip_snat);": [
        n.CtLbMark((Backend(IP1, 4),), None, "skip_snat")
    ],
    'ct_lb_mark(backends=; hash_fields="ip_src");': [n.CtLbMark((), "ip_src")],
    'ct_lb_mark_local(backends="vm0":10.0.0.1:80,"vm1":[fd00::1]:80);': [
        n.CtLbMarkLocal((Backend(IP1, 4, 80, "vm0"), Backend(FD1, 6, 80, "vm1")))
    ],
    "ct_clear;": [n.CtClear()],
    "ct_snat_to_vip;": [n.CtSnatToVip()],
    "reg0 = ct_nw_dst();": [n.CtNwDst(REG0)],
    "xxreg0 = ct_ip6_dst();": [n.CtIp6Dst(XXREG0)],
    "reg0[0..15] = ct_tp_dst();": [n.CtTpDst(Field("reg0", "reg0", 0, 16))],
    "reg0[0..7] = ct_proto();": [n.CtProto(Field("reg0", "reg0", 0, 8))],
    "reg0[0..7] = ct_state_save();": [n.CtStateSave(Field("reg0", "reg0", 0, 8))],
    # hashes and groups
    "reg0[0..15] = select(1, 2=50 3);": [
        n.Select(
            Field("reg0", "reg0", 0, 16),
            (n.SelectTarget(1, 100), n.SelectTarget(2, 50), n.SelectTarget(3, 100)),
        )
    ],
    'reg0 = select(values=(1=10, 2=20); hash_fields="ip_src");': [
        n.Select(REG0, (n.SelectTarget(1, 10), n.SelectTarget(2, 20)), "ip_src")
    ],
    'fwd_group(liveness="true", childports="a", "b");': [n.FwdGroup(True, ("a", "b"))],
    'fwd_group(liveness=false, childports="a");': [n.FwdGroup(False, ("a",))],
    'fwd_group(childports="a");': [n.FwdGroup(False, ("a",))],
    # blocks
    "clone { output; };": [n.Clone((n.Output(),))],
    "clone { drop; }; next;": [n.Clone((n.Drop(),)), n.Next()],
    "arp { eth.dst = ff:ff:ff:ff:ff:ff; output; };": [
        n.Arp((n.Load(ETH_DST, (1 << 48) - 1, (1 << 48) - 1), n.Output()))
    ],
    "icmp4 { output; };": [n.Icmp4((n.Output(),))],
    "icmp4_error { output; };": [n.Icmp4Error((n.Output(),))],
    "icmp6 { output; };": [n.Icmp6((n.Output(),))],
    "icmp6_error { output; };": [n.Icmp6Error((n.Output(),))],
    "tcp_reset { output; };": [n.TcpReset((n.Output(),))],
    "sctp_abort { output; };": [n.SctpAbort((n.Output(),))],
    "reject { output; };": [n.Reject((n.Output(),))],
    "nd_na { outport = inport; };": [n.NdNa((n.Move(OUTPORT, INPORT),))],
    "nd_na_router { output; };": [n.NdNaRouter((n.Output(),))],
    "nd_ns { output; };": [n.NdNs((n.Output(),))],
    "clone { clone { clone { }; }; };": [n.Clone((n.Clone((n.Clone(),)),))],
    # neighbours and forwarding database
    "get_arp(outport, reg0);": [n.GetArp(OUTPORT, REG0)],
    "get_nd(outport, xxreg0);": [n.GetNd(OUTPORT, XXREG0)],
    "put_arp(inport, arp.spa, arp.sha);": [n.PutArp(INPORT, ARP_SPA, ARP_SHA)],
    "put_nd(inport, nd.target, nd.sll);": [n.PutNd(INPORT, ND_TARGET, ND_SLL)],
    "reg0[3] = lookup_arp(inport, arp.spa, arp.sha);": [n.LookupArp(BIT, INPORT, ARP_SPA, ARP_SHA)],
    "reg0[3] = lookup_nd(inport, nd.target, nd.sll);": [n.LookupNd(BIT, INPORT, ND_TARGET, ND_SLL)],
    "reg0[3] = lookup_arp_ip(inport, arp.spa);": [n.LookupArpIp(BIT, INPORT, ARP_SPA)],
    "reg0[3] = lookup_nd_ip(inport, nd.target);": [n.LookupNdIp(BIT, INPORT, ND_TARGET)],
    "mac_cache_use;": [n.MacCacheUse()],
    "reg0[3] = chk_evpn_arp(arp.spa);": [n.ChkEvpnArp(BIT, ARP_SPA)],
    "reg0[3] = chk_evpn_arp(nd.target);": [n.ChkEvpnArp(BIT, ND_TARGET)],
    "put_fdb(inport, eth.src);": [n.PutFdb(INPORT, ETH_SRC)],
    "outport = get_fdb(eth.dst);": [n.GetFdb(OUTPORT, ETH_DST)],
    "reg0 = get_fdb(eth.dst);": [n.GetFdb(REG0, ETH_DST)],
    "remote_outport = get_remote_fdb(eth.dst);": [
        n.GetRemoteFdb(Field("remote_outport", "reg1", 0, 32, True), ETH_DST)
    ],
    "reg0[3] = lookup_fdb(inport, eth.src);": [n.LookupFdb(BIT, INPORT, ETH_SRC)],
    # DHCP, DNS, router advertisements
    "reg0[3] = put_dhcp_opts(offerip = 10.0.0.1, router = {10.0.0.1, 10.0.0.1}, "
    'mtu = 1400, domain_name = "x.org");': [
        n.PutDhcpOpts(
            BIT,
            (
                option("offerip", IP1, form=Format.IP4),
                option("router", IP1, IP1, form=Format.IP4),
                option("mtu", 1400, form=Format.DECIMAL),
                option("domain_name", "x.org", form=Format.STRING),
            ),
        )
    ],
    'reg0[3] = put_dhcpv6_opts(ia_addr = fd00::1 domain_search = "x.org");': [
        n.PutDhcpv6Opts(
            BIT,
            (
                option("ia_addr", FD1, form=Format.IP6),
                option("domain_search", "x.org", form=Format.STRING),
            ),
        )
    ],
    'reg0[3] = put_nd_ra_opts(addr_mode = "slaac", mtu = 1400, prefix = fd00::/64, '
    "slla = 00:00:00:00:00:01);": [
        n.PutNdRaOpts(
            BIT,
            (
                option("addr_mode", "slaac", form=Format.STRING),
                option("mtu", 1400, form=Format.DECIMAL),
                option("prefix", 0xFD << 120, form=Format.IP6, mask=((1 << 64) - 1) << 64),
                option("slla", MAC1, form=Format.ETH),
            ),
        )
    ],
    "reg0[3] = dhcp_relay_req_chk(10.0.0.1, 10.0.0.1);": [n.DhcpRelayReqChk(BIT, IP1, IP1)],
    "reg0[3] = dhcp_relay_resp_chk(10.0.0.1, 10.0.0.1);": [n.DhcpRelayRespChk(BIT, IP1, IP1)],
    "reg0[3] = dns_lookup();": [n.DnsLookup(BIT)],
    "handle_dhcpv6_reply;": [n.HandleDhcpv6Reply()],
    # checks with one-bit results
    "reg0[3] = check_pkt_larger(1500);": [n.CheckPktLarger(BIT, 1500)],
    "reg0[3] = chk_lb_hairpin();": [n.ChkLbHairpin(BIT)],
    "reg0[3] = chk_lb_hairpin_reply();": [n.ChkLbHairpinReply(BIT)],
    "reg0[3] = check_in_port_sec();": [n.CheckInPortSec(BIT)],
    "reg0[3] = check_out_port_sec();": [n.CheckOutPortSec(BIT)],
    "reg0[3] = chk_ecmp_nh();": [n.ChkEcmpNh(BIT)],
    "reg0[3] = chk_ecmp_nh_mac();": [n.ChkEcmpNhMac(BIT)],
    "reg0[3] = chk_lb_aff();": [n.ChkLbAff(BIT)],
    "commit_ecmp_nh(ipv6 = true, proto = tcp);": [n.CommitEcmpNh(True, "tcp")],
    'commit_lb_aff(vip = "10.0.0.1:80", backend = "10.0.0.1:8080", proto = tcp, timeout = 30);': [
        n.CommitLbAff(Backend(IP1, 4, 80), Backend(IP1, 4, 8080), "tcp", 30)
    ],
    'commit_lb_aff(vip = "[fd00::1]:80", backend = "[fd00::1]:80", proto = udp, timeout = 1);': [
        n.CommitLbAff(Backend(FD1, 6, 80), Backend(FD1, 6, 80), "udp", 1)
    ],
    'commit_lb_aff(vip = "10.0.0.1", backend = "10.0.0.1", timeout = 30);': [
        n.CommitLbAff(Backend(IP1, 4), Backend(IP1, 4), None, 30)
    ],
    'commit_lb_aff(vip = "fd00::1", backend = "fd00::1", timeout = 30);': [
        n.CommitLbAff(Backend(FD1, 6), Backend(FD1, 6), None, 30)
    ],
    # the rest
    'log(name="a", verdict=drop, severity=alert, meter="m");': [n.Log("drop", "a", "alert", "m")],
    "log(verdict=allow);": [n.Log("allow")],
    "log(verdict=pass severity=debug);": [n.Log("pass", None, "debug")],
    "set_queue(61440);": [n.SetQueue(61440)],
    "set_meter(1000);": [n.SetMeter(1000)],
    "set_meter(1000, 200);": [n.SetMeter(1000, 200)],
    'trigger_event(event = "empty_lb_backends", vip = "10.0.0.1:80", protocol = "tcp", '
    'load_balancer = "12345678-1234-5678-1234-567812345678");': [
        n.TriggerEvent(
            "empty_lb_backends",
            (
                option("vip", "10.0.0.1:80", form=Format.STRING),
                option("protocol", "tcp", form=Format.STRING),
                option("load_balancer", "12345678-1234-5678-1234-567812345678", form=Format.STRING),
            ),
        )
    ],
    'bind_vport("v", inport);': [n.BindVport("v", INPORT)],
    "handle_svc_check(inport);": [n.HandleSvcCheck(INPORT)],
    "handle_bfd_msg();": [n.HandleBfdMsg()],
    "igmp;": [n.Igmp()],
    "sample(probability=65535,collector_set=1,obs_domain=255,obs_point=$cookie);": [
        n.Sample(65535, 1, 255, "$cookie")
    ],
    "sample(probability=1,collector_set=200,obs_domain=0,obs_point=12);": [n.Sample(1, 200, 0, 12)],
    "sample(probability=1,collector_set=200,obs_domain=0,obs_point=reg0);": [
        n.Sample(1, 200, 0, REG0)
    ],
    "flood_remote;": [n.FloodRemote()],
    'mirror("m0");': [n.Mirror("m0")],
}

# The verbs of OVN's main branch and those that older releases had besides.
OVN_VERBS = """
output next push pop ip.ttl-- ct_next ct_commit ct_commit_to_zone ct_dnat ct_snat
ct_dnat_in_czone ct_snat_in_czone ct_lb_mark ct_lb_mark_local select ct_clear ct_commit_nat clone
arp icmp4 icmp4_error icmp6 igmp tcp_reset nd_na nd_na_router get_arp put_arp lookup_arp
lookup_arp_ip get_nd put_nd lookup_nd lookup_nd_ip put_dhcp_opts put_dhcpv6_opts
dhcp_relay_req_chk dhcp_relay_resp_chk set_queue dns_lookup log put_nd_ra_opts nd_ns set_meter
check_pkt_larger trigger_event bind_vport handle_svc_check fwd_group handle_dhcpv6_reply
icmp6_error reject chk_lb_hairpin chk_lb_hairpin_reply ct_snat_to_vip handle_bfd_msg sctp_abort
put_fdb get_fdb get_remote_fdb lookup_fdb check_in_port_sec check_out_port_sec commit_ecmp_nh
chk_ecmp_nh_mac chk_ecmp_nh commit_lb_aff chk_lb_aff sample mac_cache_use ct_nw_dst ct_ip6_dst
ct_tp_dst ct_proto flood_remote ct_state_save mirror chk_evpn_arp
ct_lb drop
""".split()
# With load, move, exchange and the load of an OVN field that makes all 82.
ASSIGNMENTS = ("reg0 = 5;", "eth.dst = eth.src;", "eth.dst <-> eth.src;", "icmp4.frag_mtu = 1400;")


@pytest.mark.parametrize("text", list(VERBS))
def test_verbs(text: str) -> None:
    actions = parse_actions(text)
    assert actions == tuple(VERBS[text])
    assert hash(actions) == hash(tuple(VERBS[text]))


def test_all_82_verbs_and_the_two_that_went_are_here() -> None:
    assert len(OVN_VERBS) - 2 + len(ASSIGNMENTS) == 82
    assert all(text in VERBS for text in ASSIGNMENTS)
    texts = "\n".join(VERBS)
    for verb in OVN_VERBS:
        assert re.search(rf"(^|[ \n]){re.escape(verb)}\b|{re.escape(verb)};", texts), verb


def test_every_node_is_made_by_some_verb() -> None:
    made: set[type] = set()

    def collect(actions: tuple[Action, ...]) -> None:
        for action in actions:
            made.add(type(action))
            collect(getattr(action, "actions", ()))

    for text in VERBS:
        collect(parse_actions(text))

    kinds = [c for c in vars(n).values() if isinstance(c, type) and issubclass(c, Action)]
    leaves = {c for c in kinds if not any(issubclass(d, c) and d is not c for d in kinds)}
    assert made == leaves


# Actions that are no OVN, where that shows, and what we say.
REFUSED: list[tuple[str, int, str]] = [
    ("next", 4, "expecting ;"),
    ("frobnicate;", 0, "frobnicate is not an action"),
    ("drop; next;", 6, "expecting end of input"),
    ("next; drop;", 6, "drop is not an action"),
    ("5;", 0, "expecting action"),
    ("^x;", 0, "unexpanded template"),
    ("next(60);", 5, "cannot advance beyond table"),
    ("next(pipeline=foo);", 14, "expecting egress or ingress"),
    ("next(foo=1);", 5, 'expecting "pipeline" or "table"'),
    ("reg0;", 0, "reg0 is not an action"),
    ("reg0[0];", 7, "expecting = or <->"),
    ("nonsense = 1;", 0, "expecting field name"),
    ("reg0 = ;", 7, "expecting constant"),
    ("reg0 = {1};", 7, "expecting constant"),
    ("reg0 = $as;", 7, "expecting constant"),
    ("reg0 = nonsense;", 7, "expecting field name"),
    ('reg0 = "a";', 7, "integer field reg0 is not compatible"),
    ("outport = 1;", 10, "string field outport is not compatible"),
    ("reg0 = fd00::1;", 7, "128-bit constant"),
    ("reg0 = outport;", 7, "can't assign string with integer"),
    ("reg0 = xreg0;", 7, "can't assign 32-bit with 64-bit"),
    ("eth.dst <-> reg0;", 12, "can't exchange 48-bit with 32-bit"),
    ("ip.proto = 6;", 0, "not modifiable"),
    ("ip.proto <-> ip.ttl;", 0, "not modifiable"),
    ("ip.ttl <-> ip.proto;", 11, "not modifiable"),
    ("ct_mark = 1;", 0, "not modifiable"),
    ("tcp = 1;", 0, "predicate tcp used where lvalue"),
    ("reg0[0] = tcp;", 10, "predicate tcp used where lvalue"),
    ("ip.ttl-;", 6, "expecting --"),
    ("push(xxreg0;", 11, "expecting )"),
    ("pop(ip.proto);", 4, "not modifiable"),
    ("ct_next(foo);", 8, "dnat"),
    ("ct_commit_to_zone;", 17, "expecting ("),
    ("ct_commit { reg0 = 1; };", 12, "not modifiable"),
    ("ct_commit { next; };", 10, "may only assign"),
    ("ct_commit(foo=1);", 10, "ct_mark or ct_label"),
    ("ct_commit { clone { ct_mark = 1; }; };", 20, "not modifiable"),
    ("ct_dnat();", 8, "expecting IPv4 or IPv6"),
    ("ct_dnat(10.0.0.0/8);", 8, "expecting IPv4 or IPv6"),
    ("ct_dnat(10.0.0.1, 0);", 18, "port range"),
    ("ct_dnat(10.0.0.1, 5-5);", 18, "port range"),
    ("ct_dnat(10.0.0.1, 65536);", 18, "expecting port"),
    ("ct_lb_mark(foo);", 11, "expecting backends"),
    ("ct_lb_mark(backends=80);", 20, "expecting IPv4 or IPv6"),
    ("ct_lb_mark(backends=10.0.0.1:70000);", 29, "expecting port number"),
    ("ct_lb_mark(backends=[fd00::1);", 28, "expecting ]"),
    ("ct_lb_mark(backends=10.0.0.1; foo);", 33, "foo is not expected"),
    ("ct_lb_mark(backends=10.0.0.1; skip_snat; skip_snat);", 50, "not expected"),
    ("ct_lb_mark_local(backends=10.0.0.1);", 26, "logical port name"),
    ("reg0[3] = select(1, 2);", 0, "at least 16 bits"),
    ("outport = select(1, 2);", 0, "at least 16 bits"),
    ("reg0 = select(1);", 16, "at least 2"),
    ("reg0 = select(1=0, 2);", 16, "weight can't be 0"),
    ("reg0 = select(values=(1, 2));", 27, "expecting ;"),
    ("clone;", 5, "expecting {"),
    ("clone { next; }", 15, "expecting ;"),
    ("clone { next;", 13, "expecting action"),
    ("get_arp(reg0, reg0);", 8, "string field is required"),
    ("get_arp(outport, xxreg0);", 17, "32-bit field is required"),
    ("get_arp(outport, inport);", 17, "numeric field is required"),
    ("get_nd(outport, reg0);", 16, "128-bit field is required"),
    ("put_arp(inport, arp.spa, arp.spa);", 25, "48-bit field is required"),
    ("reg0 = lookup_arp(inport, arp.spa, arp.sha);", 0, "1-bit field is required"),
    ("ct.est = chk_lb_aff();", 0, "not modifiable"),
    ("reg0[3] = chk_lb_aff(1);", 21, "expecting )"),
    ("reg0[3] = chk_evpn_arp(eth.src);", 23, "32-bit or"),
    ("reg0[3] = get_fdb(eth.src);", 0, "32-bit field is required"),
    ("reg0[3] = check_pkt_larger(65536);", 27, "packet length"),
    ("reg0[3] = put_dhcp_opts(router = 10.0.0.1);", 0, "requires offerip"),
    ('reg0[3] = put_dhcp_opts(offerip = "10.0.0.1");', 0, "requires offerip"),
    ("reg0[3] = put_dhcp_opts(offerip = $as);", 34, "must be constants"),
    ("reg0[3] = put_dhcp_opts(5);", 24, "expecting option name"),
    ('reg0[3] = put_nd_ra_opts(addr_mode = "x", slla = 00:00:00:00:00:01);', 0, "addr_mode"),
    ("reg0[3] = put_nd_ra_opts(prefix = fd00::/64);", 0, "slla option not present"),
    ("reg0[3] = put_nd_ra_opts(slla = 00:00:00:00:00:01);", 0, "prefix option needs"),
    ("reg0[3] = put_nd_ra_opts(foo = 1);", 0, "invalid foo"),
    ("reg0[3] = dhcp_relay_req_chk(fd00::1, 10.0.0.1);", 29, "IPv4 address of the relay"),
    ("set_queue(61441);", 10, "expecting queue id"),
    ("set_meter(0);", 10, "must not be 0"),
    ("set_meter(0x10);", 10, "expecting rate"),
    ("log;", 3, "needs a verdict"),
    ("log(verdict=maybe);", 12, "expecting allow"),
    ("log(verdict=drop, severity=loud);", 27, "expecting alert"),
    ("log(verdict=drop, foo=1);", 22, "no argument foo"),
    (f'log(verdict=drop, name="{"a" * 64}");', 23, "shorter than 64"),
    ('trigger_event(event = "fire");', 22, "unknown event"),
    ('trigger_event(event = "empty_lb_backends", vip = 5);', 22, "invalid vip"),
    ('trigger_event(event = "empty_lb_backends", foo = "5");', 22, "invalid foo"),
    ("bind_vport(v, inport);", 11, "expecting port name"),
    ("mirror(m0);", 7, "expecting port name"),
    ('fwd_group(liveness=maybe, childports="a");', 19, "true or false"),
    ("fwd_group(childports=a);", 21, "logical switch port"),
    ("commit_ecmp_nh(ipv6 = true, proto = icmp);", 36, "expecting sctp or tcp or udp"),
    ('commit_lb_aff(vip = "x", backend = "10.0.0.1", timeout = 1);', 20, "invalid vip"),
    ('commit_lb_aff(vip = "10.0.0.1", backend = "fd00::1", timeout = 1);', 14, "family"),
    ('commit_lb_aff(vip = "10.0.0.1:80", backend = "10.0.0.1", timeout = 1);', 57, "proto"),
    ("sample(collector_set=1);", 6, "greater than zero"),
    ("sample(probability=65536);", 19, "too large"),
    ("sample(probability=1, foo=2);", 26, "no argument foo"),
    ("handle_bfd_msg;", 14, "expecting ("),
    ("clone { " * 32 + "next; " + "}; " * 32, 254, "maximum depth"),
]


@pytest.mark.parametrize(("text", "position", "message"), REFUSED)
def test_errors_say_where(text: str, position: int, message: str) -> None:
    with pytest.raises(LangError) as caught:
        parse_actions(text)
    assert message in caught.value.message
    assert caught.value.position == position


def test_31_nested_blocks_are_fine() -> None:
    assert parse_actions("clone { " * 31 + "next; " + "}; " * 31)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("next; output; reg0 = 1; ct_clear;", "1"),
        ("ip.ttl--;", "ip"),
        ("ct_next;", "ip"),
        ("ct_commit { ct_mark = 1; };", "ip"),
        ("ct_lb_mark(backends=10.0.0.1);", "ip"),
        ("ct_dnat(10.0.0.1);", "ip"),
        ("ip4.src = 10.0.0.1;", "ip4"),
        ("ip4.src <-> ip4.dst;", "ip4"),
        ("reg0 = ip4.dst;", "ip4"),
        ("xxreg0 = ip6.dst;", "ip6"),
        ("eth.dst = eth.src; tcp.dst = 80;", "tcp"),
        ("arp.op = 2;", "arp"),
        ("vlan.vid = 5;", "vlan.present"),
        ("put_arp(inport, arp.spa, arp.sha);", "arp"),
        ("put_nd(inport, nd.target, nd.tll);", "nd && nd_na"),
        ("reg0[3] = dns_lookup();", "udp"),
        ("reg0[3] = put_nd_ra_opts(prefix = fd00::/64, slla = 00:00:00:00:00:01);", "ip6"),
        ("arp { ip6.src = fd00::1; };", "ip"),
        ("nd_ns { nd.target = fd00::1; };", "ip"),
        ("nd_na { nd.tll = 00:00:00:00:00:01; };", "nd_ns"),
        ("nd_na_router { };", "nd_ns"),
        ("icmp4 { ip4.dst = 10.0.0.1; }; reg0 = 1;", "ip4"),
        ("icmp4_error { };", "ip4"),
        ("icmp6 { };", "ip6"),
        ("icmp6_error { };", "ip6"),
        ("tcp_reset { };", "tcp"),
        ("sctp_abort { };", "sctp"),
        ("clone { ip4.src = 10.0.0.1; }; next;", "ip4"),
        ("reject { ip.ttl--; };", "ip"),
        ("clone { clone { tcp.src = 1; }; };", "tcp"),
    ],
)
def test_what_actions_add_to_the_match(text: str, match: str) -> None:
    assert action_prereqs(parse_actions(text)) == conjunction([parse_match(match)])


def test_nothing_is_added_without_need() -> None:
    assert action_prereqs(()) == TRUE
