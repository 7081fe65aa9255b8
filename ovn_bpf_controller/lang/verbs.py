# SPDX-License-Identifier: Apache-2.0
"""Verbs that stand alone: `verb;` and `verb(…);`, without blocks.

`actions` looks them up in VERBS; the cursor stands after the verb's name.
Source: OVN's lib/actions.c.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

from ovn_bpf_controller.lang import conntrack, lexer, nodes
from ovn_bpf_controller.lang.context import Context
from ovn_bpf_controller.lang.lexer import ConstantError, parse_constant
from ovn_bpf_controller.lang.nodes import Action, Backend, Field, Format
from ovn_bpf_controller.lang.results import parse_options

VerbParser = Callable[[Context], Action]

MAX_TABLES = 60  # of one pipeline; OVN has about half of it
MAX_QUEUE_ID = 0xF000
_VERDICTS = frozenset({"drop", "reject", "allow", "pass"})
_SEVERITIES = frozenset({"alert", "warning", "notice", "info", "debug"})
_PROTOCOLS = frozenset({"tcp", "udp", "sctp"})
_EVENTS = frozenset({"empty_lb_backends"})
_MAX_LOG_NAME = 63


def _bare(node: type[Action], ctx: Context) -> Action:
    return node()


def _next(ctx: Context) -> Action:
    tokens = ctx.tokens
    if not tokens.match("("):
        return nodes.Next()
    position = tokens.position
    pipeline = table = None
    if tokens.is_int():
        table = tokens.force_int()
    else:
        while True:
            name = tokens.force_id('"pipeline" or "table"')
            tokens.force("=")
            if name == "pipeline":
                pipeline = _choice(ctx, frozenset({"ingress", "egress"}))
            elif name == "table":
                table = tokens.force_int()
            else:
                raise ctx.error('expecting "pipeline" or "table"', position)
            if not tokens.match(","):
                break
    tokens.force(")")
    if table is not None and table >= MAX_TABLES:
        raise ctx.error(f"next cannot advance beyond table {MAX_TABLES - 1}", position)
    return nodes.Next(pipeline, table)


def _choice(ctx: Context, allowed: frozenset[str]) -> str:
    """One of some bare words."""
    position = ctx.tokens.position
    word = ctx.tokens.force_id(" or ".join(sorted(allowed)))
    if word not in allowed:
        raise ctx.error(f"expecting {' or '.join(sorted(allowed))}", position)
    return word


def _truth(ctx: Context) -> bool:
    """true or false, with or without quotes."""
    value = ctx.tokens.value
    if ctx.tokens.kind not in (lexer.ID, lexer.STRING) or value not in ("true", "false"):
        ctx.tokens.fail("expecting true or false")
    ctx.tokens.advance()
    return value == "true"


def _named(ctx: Context, name: str) -> None:
    """`name =` of an argument that cannot be left out."""
    if not ctx.tokens.match_id(name):
        ctx.tokens.fail(f"expecting {name}")
    ctx.tokens.force("=")


def _stack(node: type[nodes.Push] | type[nodes.Pop], ctx: Context) -> Action:
    ctx.tokens.force("(")
    operand = ctx.readable(ctx.operand())
    if node is nodes.Pop:
        ctx.writable(operand)
    ctx.tokens.force(")")
    return node(operand.node())


def _dec_ttl(ctx: Context) -> Action:
    ctx.tokens.force("--")
    return nodes.DecTtl()


def _get_mac(node: type[nodes.GetMacBind], width: int, ctx: Context) -> Action:
    ctx.tokens.force("(")
    port = ctx.port()
    ctx.tokens.force(",")
    ip = ctx.number(width)
    ctx.tokens.force(")")
    return node(port, ip)


def _put_mac(node: type[nodes.PutMacBind], width: int, ctx: Context) -> Action:
    ctx.tokens.force("(")
    port = ctx.port()
    ctx.tokens.force(",")
    ip = ctx.number(width)
    ctx.tokens.force(",")
    mac = ctx.number(48)
    ctx.tokens.force(")")
    return node(port, ip, mac)


def _put_fdb(ctx: Context) -> Action:
    ctx.tokens.force("(")
    port = ctx.port()
    ctx.tokens.force(",")
    mac = ctx.number(48)
    ctx.tokens.force(")")
    return nodes.PutFdb(port, mac)


def _set_queue(ctx: Context) -> Action:
    ctx.tokens.force("(")
    queue = ctx.tokens.force_int("queue id", MAX_QUEUE_ID)
    ctx.tokens.force(")")
    return nodes.SetQueue(queue)


def _set_meter(ctx: Context) -> Action:
    ctx.tokens.force("(")
    position = ctx.tokens.position
    rate = ctx.tokens.force_constant("rate", Format.DECIMAL)
    burst = 0
    if ctx.tokens.match(","):
        burst = ctx.tokens.force_constant("burst", Format.DECIMAL)
    ctx.tokens.force(")")
    if rate == 0:
        raise ctx.error("rate of set_meter must not be 0", position)
    return nodes.SetMeter(rate, burst)


def _log(ctx: Context) -> Action:
    position = ctx.tokens.position
    found: dict[str, str] = {}
    if ctx.tokens.match("("):
        while not ctx.tokens.match(")"):
            name = ctx.tokens.force_id("argument of log")
            ctx.tokens.force("=")
            found[name] = _log_argument(ctx, name)
            ctx.tokens.match(",")
    if "verdict" not in found:
        raise ctx.error("log needs a verdict", position)
    return nodes.Log(**found)


def _log_argument(ctx: Context, name: str) -> str:
    if name == "verdict":
        return _choice(ctx, _VERDICTS)
    if name == "severity":
        return _choice(ctx, _SEVERITIES)
    if name not in ("name", "meter"):
        ctx.tokens.fail(f"log has no argument {name}")
    position = ctx.tokens.position
    text = ctx.tokens.force_string()
    if name == "name" and len(text.encode()) > _MAX_LOG_NAME:
        raise ctx.error("name must be shorter than 64 characters", position)
    return text


def _trigger_event(ctx: Context) -> Action:
    ctx.tokens.force("(")
    _named(ctx, "event")
    position = ctx.tokens.position
    event = ctx.tokens.force_string()
    if event not in _EVENTS:
        raise ctx.error(f"unknown event {event}", position)
    ctx.tokens.match(",")
    options = parse_options(ctx)
    for option in options:
        if not _valid_event_option(option):
            raise ctx.error(f"invalid {option.name} in trigger_event", position)
    return nodes.TriggerEvent(event, options)


def _valid_event_option(option: nodes.Option) -> bool:
    value = option.values[0].value
    if len(option.values) != 1 or not isinstance(value, str):
        return False
    if option.name == "vip":
        return _endpoint(value) is not None
    if option.name == "protocol":
        return value in _PROTOCOLS
    if option.name != "load_balancer":
        return False
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


def _bind_vport(ctx: Context) -> Action:
    ctx.tokens.force("(")
    vport = ctx.tokens.force_string("port name")
    ctx.tokens.force(",")
    parent = ctx.port()
    ctx.tokens.force(")")
    return nodes.BindVport(vport, parent)


def _handle_svc_check(ctx: Context) -> Action:
    ctx.tokens.force("(")
    port = ctx.port()
    ctx.tokens.force(")")
    return nodes.HandleSvcCheck(port)


def _handle_bfd_msg(ctx: Context) -> Action:
    ctx.tokens.force("(")
    ctx.tokens.force(")")
    return nodes.HandleBfdMsg()


def _mirror(ctx: Context) -> Action:
    ctx.tokens.force("(")
    port = ctx.tokens.force_string("port name")
    ctx.tokens.force(")")
    return nodes.Mirror(port)


def _fwd_group(ctx: Context) -> Action:
    tokens = ctx.tokens
    liveness = False
    ports: list[str] = []
    tokens.force("(")
    if tokens.match_id("liveness"):
        tokens.force("=")
        liveness = _truth(ctx)
        tokens.force(",")
    _named(ctx, "childports")
    while not tokens.match(")"):
        ports.append(tokens.force_string("logical switch port"))
        tokens.match(",")
    return nodes.FwdGroup(liveness, tuple(ports))


def _commit_ecmp_nh(ctx: Context) -> Action:
    ctx.tokens.force("(")
    _named(ctx, "ipv6")
    ipv6 = _truth(ctx)
    ctx.tokens.force(",")
    _named(ctx, "proto")
    proto = _choice(ctx, _PROTOCOLS)
    ctx.tokens.force(")")
    return nodes.CommitEcmpNh(ipv6, proto)


def _endpoint(text: str) -> Backend | None:
    """`address[:port]` or `[IPv6][:port]` in a string."""
    host, port = text, "0"
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            return None
        port = rest[1:] if rest else "0"
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        const = parse_constant(host)
    except ConstantError:
        return None
    if const.format not in (Format.IP4, Format.IP6) or const.mask is not None:
        return None
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 0xFFFF:
        return None
    assert isinstance(const.value, int)
    return Backend(const.value, 6 if const.format is Format.IP6 else 4, int(port))


def _endpoint_argument(ctx: Context, name: str) -> Backend:
    _named(ctx, name)
    position = ctx.tokens.position
    endpoint = _endpoint(ctx.tokens.force_string())
    if endpoint is None:
        raise ctx.error(f"invalid {name}", position)
    ctx.tokens.force(",")
    return endpoint


def _commit_lb_aff(ctx: Context) -> Action:
    ctx.tokens.force("(")
    position = ctx.tokens.position
    vip = _endpoint_argument(ctx, "vip")
    backend = _endpoint_argument(ctx, "backend")
    if vip.family != backend.family:
        raise ctx.error("vip and backend differ in family", position)
    proto = None
    if vip.port:
        _named(ctx, "proto")
        proto = _choice(ctx, _PROTOCOLS)
        ctx.tokens.force(",")
    _named(ctx, "timeout")
    timeout = ctx.tokens.force_int("affinity timeout", 0xFFFF)
    ctx.tokens.force(")")
    return nodes.CommitLbAff(vip, backend, proto, timeout)


def _sample(ctx: Context) -> Action:
    position = ctx.tokens.position
    numbers = {"probability": 0, "collector_set": 0, "obs_domain": 0}
    limits = {"probability": 0xFFFF, "collector_set": 0xFFFFFFFF, "obs_domain": 0xFF}
    point: int | str | Field = 0
    ctx.tokens.force("(")
    while not ctx.tokens.match(")"):
        name = ctx.tokens.force_id("argument of sample")
        ctx.tokens.force("=")
        if name == "obs_point":
            point = _observation_point(ctx)
        elif name in numbers:
            start = ctx.tokens.position
            numbers[name] = ctx.tokens.force_constant(name, Format.DECIMAL)
            if numbers[name] > limits[name]:
                raise ctx.error(f"{name} is too large", start)
        else:
            ctx.tokens.fail(f"sample has no argument {name}")
        ctx.tokens.match(",")
    if not numbers["probability"]:
        raise ctx.error("probability must be greater than zero", position)
    return nodes.Sample(
        numbers["probability"], numbers["collector_set"], numbers["obs_domain"], point
    )


def _observation_point(ctx: Context) -> int | str | Field:
    tokens = ctx.tokens
    if tokens.kind == lexer.ADDRESS_SET and tokens.value == "cookie":
        tokens.advance()
        return "$cookie"
    if tokens.kind == lexer.INTEGER:
        return tokens.force_constant("observation point", Format.DECIMAL) & 0xFFFFFFFF
    return ctx.number(32)


VERBS: dict[str, VerbParser] = {
    **conntrack.VERBS,
    "output": partial(_bare, nodes.Output),
    "next": _next,
    "push": partial(_stack, nodes.Push),
    "pop": partial(_stack, nodes.Pop),
    "ip.ttl": _dec_ttl,
    "ct_clear": partial(_bare, nodes.CtClear),
    "ct_snat_to_vip": partial(_bare, nodes.CtSnatToVip),
    "igmp": partial(_bare, nodes.Igmp),
    "get_arp": partial(_get_mac, nodes.GetArp, 32),
    "get_nd": partial(_get_mac, nodes.GetNd, 128),
    "put_arp": partial(_put_mac, nodes.PutArp, 32),
    "put_nd": partial(_put_mac, nodes.PutNd, 128),
    "put_fdb": _put_fdb,
    "set_queue": _set_queue,
    "set_meter": _set_meter,
    "log": _log,
    "trigger_event": _trigger_event,
    "bind_vport": _bind_vport,
    "handle_svc_check": _handle_svc_check,
    "handle_dhcpv6_reply": partial(_bare, nodes.HandleDhcpv6Reply),
    "handle_bfd_msg": _handle_bfd_msg,
    "fwd_group": _fwd_group,
    "commit_ecmp_nh": _commit_ecmp_nh,
    "commit_lb_aff": _commit_lb_aff,
    "sample": _sample,
    "mac_cache_use": partial(_bare, nodes.MacCacheUse),
    "flood_remote": partial(_bare, nodes.FloodRemote),
    "mirror": _mirror,
}
