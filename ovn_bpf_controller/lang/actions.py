# SPDX-License-Identifier: Apache-2.0
"""Actions: text to typed nodes, and what they add to their flow's match.

`parse_actions` is for the compiler.  Assignments and blocks are parsed here,
the verbs in `verbs`, `conntrack` and `results`.  Source: OVN's lib/actions.c;
all verbs of 23.03 to 26.03 are known, whatever the central's release.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ovn_bpf_controller.lang import lexer, nodes
from ovn_bpf_controller.lang.conntrack import commit_v1
from ovn_bpf_controller.lang.context import Context
from ovn_bpf_controller.lang.expr import vocabulary
from ovn_bpf_controller.lang.lexer import Tokens
from ovn_bpf_controller.lang.logic import conjunction
from ovn_bpf_controller.lang.nodes import Action, Const, Expr, Field, Nested
from ovn_bpf_controller.lang.operands import Constants, Operand, check_types
from ovn_bpf_controller.lang.results import RESULTS
from ovn_bpf_controller.lang.verbs import VERBS
from ovn_bpf_controller.plaindata import fields

MAX_NESTED_DEPTH = 31  # OVN's; a deeper block is refused

# Verb to node and to the prerequisite of the packet that the block runs on.
_BLOCKS: dict[str, type[Nested]] = {
    "clone": nodes.Clone,
    "arp": nodes.Arp,
    "icmp4": nodes.Icmp4,
    "icmp4_error": nodes.Icmp4Error,
    "icmp6": nodes.Icmp6,
    "icmp6_error": nodes.Icmp6Error,
    "tcp_reset": nodes.TcpReset,
    "sctp_abort": nodes.SctpAbort,
    "reject": nodes.Reject,
    "nd_na": nodes.NdNa,
    "nd_na_router": nodes.NdNaRouter,
    "nd_ns": nodes.NdNs,
}
_PREREQS: dict[type[Action], str] = {
    nodes.DecTtl: "ip",
    nodes.CtNext: "ip",
    nodes.CtCommit: "ip",
    nodes.CtCommitToZone: "ip",
    nodes.CtCommitNat: "ip",
    nodes.CtDnat: "ip",
    nodes.CtSnat: "ip",
    nodes.CtDnatInCzone: "ip",
    nodes.CtSnatInCzone: "ip",
    nodes.CtLb: "ip",
    nodes.CtLbMark: "ip",
    nodes.CtLbMarkLocal: "ip",
    nodes.Arp: "ip",
    nodes.NdNs: "ip",
    nodes.Icmp4: "ip4",
    nodes.Icmp4Error: "ip4",
    nodes.Icmp6: "ip6",
    nodes.Icmp6Error: "ip6",
    nodes.TcpReset: "tcp",
    nodes.SctpAbort: "sctp",
    nodes.NdNa: "nd_ns",
    nodes.NdNaRouter: "nd_ns",
    nodes.DnsLookup: "udp",
    nodes.PutNdRaOpts: "ip6",
}
# Blocks that run on the same kind of packet: what is inside applies as well.
_TRANSPARENT = (nodes.Clone, nodes.Reject)


@lru_cache(maxsize=1 << 12)
def parse_actions(text: str, ct_translation: bool = False) -> tuple[Action, ...]:
    """The actions of a logical flow; () for empty text, which drops.

    ct_translation: as for expr.parse_match().  Raises LangError with the
    position of what is wrong.
    """
    ctx = Context(Tokens(text), vocabulary(ct_translation))
    return _actions(ctx, lexer.END)


def action_prereqs(actions: Sequence[Action]) -> Expr:
    """What OVN ANDs with the match of a flow with these actions.

    TRUE when they need nothing.  Fields bring their own prerequisites; those
    inside a block that forges a packet do not count for the flow's packet.
    """
    return _prereqs(tuple(actions))


@lru_cache(maxsize=1 << 12)
def _prereqs(actions: tuple[Action, ...]) -> Expr:
    table = vocabulary()
    parts: list[Expr] = []
    for action in actions:
        for field in fields(action):
            value = getattr(action, field.name)
            if isinstance(value, Field):
                parts.append(table.prerequisites(table.symbols[value.name]))
        text = _PREREQS.get(type(action))
        if text is not None:
            parts.append(table.parse(text))
        elif isinstance(action, _TRANSPARENT):
            parts.append(_prereqs(action.actions))
    return conjunction(parts)


def _actions(ctx: Context, sentinel: str) -> tuple[Action, ...]:
    """A list of actions up to and including sentinel."""
    tokens = ctx.tokens
    if tokens.value == "drop" and tokens.kind == lexer.ID and tokens.lookahead() == ";":
        tokens.advance()
        tokens.advance()
        _end(tokens, sentinel)
        return (nodes.Drop(),)
    found = []
    while tokens.kind != sentinel:
        found.append(_action(ctx))
        tokens.force(";")
    _end(tokens, sentinel)
    return tuple(found)


def _end(tokens: Tokens, sentinel: str) -> None:
    if sentinel != lexer.END:
        tokens.force(sentinel)
    elif tokens.kind != lexer.END:
        tokens.fail("expecting end of input")


def _action(ctx: Context) -> Action:
    tokens = ctx.tokens
    if tokens.kind != lexer.ID:
        tokens.fail("expecting action")
    if tokens.lookahead() in ("=", "<->", "["):
        return _assignment(ctx)
    position = tokens.position
    verb = tokens.force_id("action")
    if verb in _BLOCKS:
        node = _BLOCKS[verb]
        return node(_block(ctx, ct_commit=ctx.ct_commit and node is not nodes.Clone))
    if verb == "ct_commit":
        return _ct_commit(ctx)
    parser = VERBS.get(verb)
    if parser is None:
        raise ctx.error(f"{verb} is not an action", position)
    return parser(ctx)


def _block(ctx: Context, *, ct_commit: bool) -> tuple[Action, ...]:
    if ctx.tokens.kind != "{":
        ctx.tokens.fail("expecting {")
    if ctx.depth >= MAX_NESTED_DEPTH:
        ctx.tokens.fail("maximum depth of nested actions reached")
    ctx.tokens.advance()
    return _actions(ctx.nested(ct_commit=ct_commit), "}")


def _ct_commit(ctx: Context) -> Action:
    if ctx.tokens.match("("):
        return commit_v1(ctx)
    if ctx.tokens.kind != "{":
        return nodes.CtCommit()
    position = ctx.tokens.position
    actions = _block(ctx, ct_commit=True)
    if not all(isinstance(action, nodes.Load | nodes.Move) for action in actions):
        raise ctx.error("ct_commit may only assign ct_mark and ct_label", position)
    return nodes.CtCommit(actions)


# --- assignments ------------------------------------------------------------


def _assignment(ctx: Context) -> Action:
    """`field = constant`, `field = field`, `field <-> field`, `R = verb(…)`."""
    tokens = ctx.tokens
    target = ctx.operand()
    if tokens.match("<->"):
        return _exchange(ctx, target)
    if not tokens.match("="):
        tokens.fail("expecting = or <->")
    if tokens.kind != lexer.ID:
        return _load(ctx, target)
    name = tokens.value
    if isinstance(name, str) and name in RESULTS and tokens.lookahead() == "(":
        tokens.advance()
        tokens.advance()
        return RESULTS[name](ctx, target)
    return _move(ctx, target)


def _load(ctx: Context, target: Operand) -> Action:
    ctx.writable(target)
    constants = Constants(ctx.tokens.position)
    value = ctx.tokens.value
    if isinstance(value, Const):
        constants.integers.append(value)
    elif ctx.tokens.kind == lexer.STRING:
        constants.strings.append(value)
    else:
        ctx.tokens.fail("expecting constant")
    ctx.tokens.advance()
    check_types(ctx.tokens, target, constants)
    field = target.node()
    full = (1 << field.width) - 1
    if constants.strings:
        return nodes.Load(field, constants.strings[0], full)
    const = constants.integers[0]
    assert isinstance(const.value, int)
    mask = full if const.mask is None else const.mask & full
    return nodes.Load(field, const.value & mask, mask)


def _operand_pair(ctx: Context, target: Operand, verb: str) -> Operand:
    """The other side of a move or exchange, of the same type and width."""
    other = ctx.readable(ctx.operand())
    ctx.readable(target)
    if target.is_string != other.is_string:
        message = f"can't {verb} string with integer field"
    elif target.width != other.width:
        message = f"can't {verb} {target.width}-bit with {other.width}-bit field"
    else:
        return other
    raise ctx.error(message, other.position)


def _move(ctx: Context, target: Operand) -> Action:
    source = _operand_pair(ctx, target, "assign")
    return nodes.Move(ctx.writable(target).node(), source.node())


def _exchange(ctx: Context, target: Operand) -> Action:
    other = _operand_pair(ctx, target, "exchange")
    return nodes.Exchange(ctx.writable(target).node(), ctx.writable(other).node())
