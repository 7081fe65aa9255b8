# SPDX-License-Identifier: Apache-2.0
"""The verbs of connection tracking, NAT and load balancing.

Part of the table that `verbs` assembles; the cursor stands after the verb.
ct_commit with a block is in `actions`, which knows how to parse blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ovn_bpf_controller.lang import lexer, nodes
from ovn_bpf_controller.lang.context import Context
from ovn_bpf_controller.lang.nodes import Action, Backend, Field, Format


def _zone(ctx: Context) -> str:
    """`dnat` or `snat`, and the closing parenthesis."""
    zone = ctx.tokens.value
    if ctx.tokens.kind != lexer.ID or zone not in ("dnat", "snat"):
        ctx.tokens.fail('expecting "dnat" or "snat"')
    ctx.tokens.advance()
    ctx.tokens.force(")")
    return str(zone)


def _optional_zone(node: type[nodes.CtNext] | type[nodes.CtCommitNat], ctx: Context) -> Action:
    return node(_zone(ctx) if ctx.tokens.match("(") else None)


def _commit_to_zone(ctx: Context) -> Action:
    ctx.tokens.force("(")
    return nodes.CtCommitToZone(_zone(ctx))


def _address(ctx: Context) -> tuple[int, int]:
    """(address, family)"""
    value = ctx.tokens.value
    family = 6 if isinstance(value, nodes.Const) and value.format is Format.IP6 else 4
    ip = ctx.tokens.force_constant("IPv4 or IPv6 address", Format.IP4, Format.IP6)
    return ip, family


def _nat(node: type[nodes.CtNat], ctx: Context) -> Action:
    tokens = ctx.tokens
    if not tokens.match("("):
        return node()
    ip, family = _address(ctx)
    ports = None
    if tokens.match(","):
        position = tokens.position
        low = tokens.force_int("port", 0xFFFF)
        high = tokens.force_int("port", 0xFFFF) if tokens.match("-") else None
        if low == 0 or (high is not None and high <= low):
            raise ctx.error("port range must ascend and not begin at 0", position)
        ports = (low, low if high is None else high)
    tokens.force(")")
    return node(ip, family, ports)


def _backend(ctx: Context, named: bool) -> Backend:
    """`["lport":]address[:port]`, an IPv6 address with a port in brackets."""
    tokens = ctx.tokens
    lport = None
    if named:
        lport = tokens.force_string("logical port name")
        tokens.force(":")
    if tokens.match("["):
        ip = tokens.force_constant("IPv6 address", Format.IP6)
        tokens.force("]")
        family = 6
    else:
        ip, family = _address(ctx)
        if family == 6 and tokens.kind == ":":
            tokens.fail("IPv6 address needs square brackets if port is included")
    port = tokens.force_int("port number", 0xFFFF) if tokens.match(":") else 0
    return Backend(ip, family, port, lport)


def _load_balance(node: type[nodes.CtLbBase], ctx: Context) -> Action:
    """`(backends=…[; hash_fields="…"][; skip_snat | force_snat])`, or nothing."""
    tokens = ctx.tokens
    if not tokens.match("(") or tokens.match(")"):
        return node()
    if not tokens.match_id("backends"):
        tokens.fail("expecting backends")
    tokens.force("=")
    backends = []
    while tokens.kind not in (";", ")"):
        backends.append(_backend(ctx, node is nodes.CtLbMarkLocal))
        tokens.match(",")
    hash_fields = flag = None
    while tokens.match(";") and tokens.kind != ")":
        name = tokens.force_id("hash_fields, skip_snat or force_snat")
        if name == "hash_fields" and hash_fields is None and flag is None:
            tokens.force("=")
            hash_fields = tokens.force_string()
        elif name in ("skip_snat", "force_snat") and flag is None:
            flag = name
        else:
            tokens.fail(f"{name} is not expected here")
    tokens.force(")")
    return node(tuple(backends), hash_fields, flag)


def commit_v1(ctx: Context) -> Action:
    """`ct_commit(ct_mark=…, ct_label=…)`, the form of releases until 24.03."""
    loads = []
    while not ctx.tokens.match(")"):
        position = ctx.tokens.position
        name = ctx.tokens.force_id("ct_mark or ct_label")
        if name not in ("ct_mark", "ct_label"):
            raise ctx.error("expecting ct_mark or ct_label", position)
        ctx.tokens.force("=")
        width = 32 if name == "ct_mark" else 128
        const = ctx.tokens.value
        if not isinstance(const, nodes.Const) or not isinstance(const.value, int):
            ctx.tokens.fail("expecting integer")
        ctx.tokens.advance()
        full = (1 << width) - 1
        mask = full if const.mask is None else const.mask & full
        loads.append(nodes.Load(Field(name, name, 0, width), const.value & mask, mask))
        ctx.tokens.match(",")
    return nodes.CtCommit(tuple(loads))


VERBS: dict[str, Callable[[Context], Action]] = {
    "ct_next": partial(_optional_zone, nodes.CtNext),
    "ct_commit_nat": partial(_optional_zone, nodes.CtCommitNat),
    "ct_commit_to_zone": _commit_to_zone,
    "ct_dnat": partial(_nat, nodes.CtDnat),
    "ct_snat": partial(_nat, nodes.CtSnat),
    "ct_dnat_in_czone": partial(_nat, nodes.CtDnatInCzone),
    "ct_snat_in_czone": partial(_nat, nodes.CtSnatInCzone),
    "ct_lb": partial(_load_balance, nodes.CtLb),
    "ct_lb_mark": partial(_load_balance, nodes.CtLbMark),
    "ct_lb_mark_local": partial(_load_balance, nodes.CtLbMarkLocal),
}
