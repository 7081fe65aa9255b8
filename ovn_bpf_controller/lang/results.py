# SPDX-License-Identifier: Apache-2.0
"""Verbs that give a result: `R = verb(…)`.

`actions` looks a verb up in RESULTS once it has read `R =` and sees `verb(`;
the cursor stands after the parenthesis.  Source: OVN's lib/actions.c.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ovn_bpf_controller.lang import nodes
from ovn_bpf_controller.lang.context import Context
from ovn_bpf_controller.lang.nodes import Action, Const, Format, Option
from ovn_bpf_controller.lang.operands import Operand, parse_constants

ResultParser = Callable[[Context, Operand], Action]

_SELECT_BITS = 16
_DEFAULT_WEIGHT = 100
_ADDR_MODES = frozenset({"slaac", "dhcpv6_stateful", "dhcpv6_stateless"})
_PREFERENCES = frozenset({"MEDIUM", "HIGH", "LOW"})


def _plain(node: type[nodes.Result], width: int, ctx: Context, dst: Operand) -> Action:
    """Verbs without arguments."""
    field = ctx.result(dst, width)
    ctx.tokens.force(")")
    return node(field)


def _lookup(node: type[nodes.LookupMacBind], width: int, ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    port = ctx.port()
    ctx.tokens.force(",")
    ip = ctx.number(width)
    ctx.tokens.force(",")
    mac = ctx.number(48)
    ctx.tokens.force(")")
    return node(field, port, ip, mac)


def _lookup_ip(node: type[nodes.LookupMacBindIp], width: int, ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    port = ctx.port()
    ctx.tokens.force(",")
    ip = ctx.number(width)
    ctx.tokens.force(")")
    return node(field, port, ip)


def _lookup_fdb(ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    port = ctx.port()
    ctx.tokens.force(",")
    mac = ctx.number(48)
    ctx.tokens.force(")")
    return nodes.LookupFdb(field, port, mac)


def _get_fdb(
    node: type[nodes.GetFdb] | type[nodes.GetRemoteFdb], ctx: Context, dst: Operand
) -> Action:
    field = dst.node() if dst.is_string else ctx.result(dst, 32)
    mac = ctx.number(48)
    ctx.tokens.force(")")
    return node(field, mac)


def _chk_evpn_arp(ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    ip = ctx.readable(ctx.operand())
    if ip.is_string or ip.width not in (32, 128):
        raise ctx.error("chk_evpn_arp requires a 32-bit or 128-bit IP field", ip.position)
    ctx.tokens.force(")")
    return nodes.ChkEvpnArp(field, ip.node())


def _check_pkt_larger(ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    length = ctx.tokens.force_int("packet length", 0xFFFF)
    ctx.tokens.force(")")
    return nodes.CheckPktLarger(field, length)


def _dhcp_relay(node: type[nodes.DhcpRelay], ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    relay = ctx.tokens.force_constant("IPv4 address of the relay", Format.IP4)
    ctx.tokens.match(",")
    server = ctx.tokens.force_constant("IPv4 address of the server", Format.IP4)
    ctx.tokens.force(")")
    return node(field, relay, server)


# --- select ---------------------------------------------------------------


def _select(ctx: Context, dst: Operand) -> Action:
    if dst.is_string or dst.width < _SELECT_BITS:
        message = f"cannot use {dst.symbol.name} for select, which requires at least 16 bits"
        raise ctx.error(message, dst.position)
    field = ctx.result(dst, dst.width)
    tokens = ctx.tokens
    hashed = tokens.match_id("values")
    if hashed:
        tokens.force("=")
        tokens.force("(")
    targets = []
    while not tokens.match(")"):
        targets.append(_target(ctx))
    if len(targets) < 2:
        tokens.fail("expecting at least 2 group members")
    hash_fields = None
    if hashed:
        tokens.force(";")
        if not tokens.match_id("hash_fields"):
            tokens.fail("expecting hash_fields")
        tokens.force("=")
        hash_fields = tokens.force_string()
        tokens.force(")")
    return nodes.Select(field, tuple(targets), hash_fields)


def _target(ctx: Context) -> nodes.SelectTarget:
    ident = ctx.tokens.force_int("id", 0xFFFF)
    weight = _DEFAULT_WEIGHT
    if ctx.tokens.match("="):
        position = ctx.tokens.position
        weight = ctx.tokens.force_int("weight", 0xFFFF)
        if weight == 0:
            raise ctx.error("weight can't be 0", position)
    ctx.tokens.match(",")
    return nodes.SelectTarget(ident, weight)


# --- options ----------------------------------------------------------------


def parse_options(ctx: Context) -> tuple[Option, ...]:
    """`name = constants` until the closing parenthesis, commas optional."""
    options = []
    while not ctx.tokens.match(")"):
        name = ctx.tokens.force_id("option name")
        ctx.tokens.force("=")
        constants = parse_constants(ctx.tokens)
        if constants.address_sets or constants.port_groups:
            raise ctx.error("option values must be constants", constants.position)
        values: list[Const] = list(constants.integers)
        values += [Const(text, Format.STRING) for text in constants.strings]
        options.append(Option(name, tuple(values)))
        ctx.tokens.match(",")
    return tuple(options)


def _put_dhcp_opts(ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    options = parse_options(ctx)
    offers = [option.values[0] for option in options if option.name == "offerip"]
    if not offers or offers[0].format is not Format.IP4:
        raise ctx.error("put_dhcp_opts requires offerip, an IPv4 address", dst.position)
    return nodes.PutDhcpOpts(field, options)


def _put_dhcpv6_opts(ctx: Context, dst: Operand) -> Action:
    return nodes.PutDhcpv6Opts(ctx.result(dst), parse_options(ctx))


def _valid_ra_option(option: Option) -> bool:
    """Whether name and value of an option of put_nd_ra_opts make sense."""
    if len(option.values) != 1:
        return False
    const = option.values[0]
    checks = {
        "addr_mode": const.value in _ADDR_MODES,
        "router_preference": const.value in _PREFERENCES,
        "slla": const.format is Format.ETH,
        "prefix": const.format is Format.IP6 and const.mask is not None,
        "mtu": const.format is Format.DECIMAL,
        "rdnss": const.format is Format.IP6,
        "dnssl": const.format is Format.STRING,
        "route_info": const.format is Format.STRING,
    }
    return checks.get(option.name, False)


def _put_nd_ra_opts(ctx: Context, dst: Operand) -> Action:
    field = ctx.result(dst)
    options = parse_options(ctx)
    for option in options:
        if not _valid_ra_option(option):
            raise ctx.error(f"invalid {option.name} in put_nd_ra_opts", dst.position)
    names = {option.name for option in options}
    modes = {option.values[0].value for option in options if option.name == "addr_mode"}
    if "slla" not in names:
        raise ctx.error("slla option not present", dst.position)
    if "prefix" not in names and "dhcpv6_stateful" not in modes:
        message = "prefix option needs to be set when address mode is slaac or dhcpv6_stateless"
        raise ctx.error(message, dst.position)
    return nodes.PutNdRaOpts(field, options)


RESULTS: dict[str, ResultParser] = {
    "select": _select,
    "put_dhcp_opts": _put_dhcp_opts,
    "put_dhcpv6_opts": _put_dhcpv6_opts,
    "put_nd_ra_opts": _put_nd_ra_opts,
    "dns_lookup": partial(_plain, nodes.DnsLookup, 1),
    "check_pkt_larger": _check_pkt_larger,
    "lookup_arp": partial(_lookup, nodes.LookupArp, 32),
    "lookup_nd": partial(_lookup, nodes.LookupNd, 128),
    "lookup_arp_ip": partial(_lookup_ip, nodes.LookupArpIp, 32),
    "lookup_nd_ip": partial(_lookup_ip, nodes.LookupNdIp, 128),
    "chk_evpn_arp": _chk_evpn_arp,
    "chk_lb_hairpin": partial(_plain, nodes.ChkLbHairpin, 1),
    "chk_lb_hairpin_reply": partial(_plain, nodes.ChkLbHairpinReply, 1),
    "get_fdb": partial(_get_fdb, nodes.GetFdb),
    "get_remote_fdb": partial(_get_fdb, nodes.GetRemoteFdb),
    "lookup_fdb": _lookup_fdb,
    "check_in_port_sec": partial(_plain, nodes.CheckInPortSec, 1),
    "check_out_port_sec": partial(_plain, nodes.CheckOutPortSec, 1),
    "chk_ecmp_nh_mac": partial(_plain, nodes.ChkEcmpNhMac, 1),
    "chk_ecmp_nh": partial(_plain, nodes.ChkEcmpNh, 1),
    "chk_lb_aff": partial(_plain, nodes.ChkLbAff, 1),
    "dhcp_relay_req_chk": partial(_dhcp_relay, nodes.DhcpRelayReqChk),
    "dhcp_relay_resp_chk": partial(_dhcp_relay, nodes.DhcpRelayRespChk),
    "ct_nw_dst": partial(_plain, nodes.CtNwDst, 32),
    "ct_ip6_dst": partial(_plain, nodes.CtIp6Dst, 128),
    "ct_tp_dst": partial(_plain, nodes.CtTpDst, 16),
    "ct_proto": partial(_plain, nodes.CtProto, 8),
    "ct_state_save": partial(_plain, nodes.CtStateSave, 8),
}
