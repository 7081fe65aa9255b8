# SPDX-License-Identifier: Apache-2.0
"""Random packets as root fields, and as microflows for ovn-trace."""

from __future__ import annotations

from hypothesis import strategies as st

from ovn_bpf_controller.lang.lexer import parse_constant
from ovn_bpf_controller.lang.registers import pieces
from ovn_bpf_controller.lang.symbols import SYMBOLS
from tests.unit.lang import grammar


def number(text: str) -> int:
    """The integer that a constant stands for."""
    value = parse_constant(text).value
    assert isinstance(value, int)
    return value


def put(packet: dict[str, int], field: str, value: int) -> None:
    """Set a field that may lie across registers."""
    symbol = SYMBOLS[field]
    for root, low, size, shift in pieces(symbol.root, symbol.offset, symbol.width):
        ones = (1 << size) - 1
        packet[root] = packet.get(root, 0) & ~(ones << low) | (value >> shift & ones) << low


@st.composite
def loose_packets(draw: st.DrawFn) -> dict[str, int]:
    """Any values in any fields, consistent or not, near the constants in use."""
    packet = {
        "inport": draw(st.sampled_from([0, 1, 2, 3, 1 << 31])),
        "outport": draw(st.sampled_from([0, 1, 2, 3, 32768])),
        "ct_state": draw(st.sampled_from([0, 0x21, 0x22, 0x02])),
        "eth.type": draw(st.sampled_from([0x800, 0x806, 0x86DD, 0x8035, 0x1234])),
    }
    pools = grammar.ORDINAL | grammar.NOMINAL
    for field in draw(st.lists(st.sampled_from(sorted(pools)), max_size=12)):
        near = draw(st.sampled_from([0, 0, 0, 1, -1]))
        symbol = SYMBOLS[field]
        value = number(draw(st.sampled_from(list(pools[field])))) + near
        if symbol.root not in ("eth.type", "inport"):
            put(packet, field, value & ((1 << symbol.width) - 1))
    return packet


# Shapes of packets: what a microflow must say, and the fields that may vary.
_SHAPES: list[tuple[dict[str, str], list[str]]] = [
    ({"eth.type": "0x806"}, ["arp.op", "arp.spa", "arp.tpa", "arp.sha"]),
    ({"eth.type": "0x8035"}, ["arp.op", "arp.spa", "arp.tpa", "arp.sha"]),
    *(
        ({"eth.type": "0x800", "ip.proto": proto}, ["ip4.src", "ip4.dst", "ip.frag", *fields])
        for proto, fields in (
            ("6", ["tcp.src", "tcp.dst", "tcp.flags"]),
            ("17", ["udp.dst"]),
            ("132", ["sctp.src"]),
            ("1", ["icmp4.type"]),
            ("2", []),
        )
    ),
    *(
        ({"eth.type": "0x86dd", "ip.proto": proto}, ["ip6.src", "ip6.dst", *fields])
        for proto, fields in (("6", ["tcp.src", "tcp.dst"]), ("17", ["udp.dst"]), ("58", []))
    ),
    *(
        (
            {
                "eth.type": "0x86dd",
                "ip.proto": "58",
                "icmp6.type": kind,
                "icmp6.code": "0",
                "ip.ttl": ttl,
            },
            # nd.target implies a ttl of 255.
            ["ip6.src", "ip6.dst", *(["nd.target"] if ttl == "255" else [])],
        )
        for kind in ("135", "136")
        for ttl in ("255", "64")
    ),
    ({"eth.type": "0x1234"}, []),
]
_ALWAYS = ["eth.src", "eth.dst", "reg0", "reg1", "reg3", "reg9", "flags", "vlan.tci"]
_IP = ["ip.ttl"]  # ovn-trace 23.03 loses ip.dscp of a microflow


@st.composite
def microflows(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A packet as ovn-trace wants it, and the same as root fields."""
    fixed, variable = draw(st.sampled_from(_SHAPES))
    ports = {"inport": draw(st.sampled_from(["p1", "p2", "p3"]))}
    if draw(st.booleans()):
        ports["outport"] = draw(st.sampled_from(["p1", "p3", "_MC_flood"]))
    chosen = dict(fixed)
    pools = grammar.ORDINAL | grammar.NOMINAL
    extra = _IP if "ip.proto" in fixed else []
    for field in [*_ALWAYS, *variable, *extra]:
        if field not in chosen:
            chosen[field] = draw(st.sampled_from(list(pools[field])))
    terms = [f'{field} == "{port}"' for field, port in ports.items()]
    packet = {field: grammar.PORTS[port] for field, port in ports.items()}
    for field, text in chosen.items():
        # In a microflow the names of rarp's fields are its own.
        name = f"r{field}" if field.startswith("arp.") and fixed["eth.type"] == "0x8035" else field
        terms.append(f"{name} == {text}")
        put(packet, field, number(text))
    return " && ".join(terms), packet
