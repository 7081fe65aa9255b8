# SPDX-License-Identifier: Apache-2.0
"""Where an OVN field lives in the packet context: the words of words.h.

The compiler asks it for matches (pack) and for actions (chunks), dumps ask it
for names (field_at).  Bits of a field count from its least significant one, as
in OVN; a field wider than a word has its least significant bits in the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.errors import UnsupportedError
from ovn_bpf_controller.plaindata import NamedTuple, dataclass

WORD_BITS: Final = 32

# A conjunction of lang.normal: ((root field, value, mask), …).
Conj = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Home of a field: its bit i is bit (shift + i) counted from bit 0 of word."""

    word: int
    shift: int
    width: int


class Chunk(NamedTuple):
    """Bits [pos, pos + bits) of a field, which are [shift, shift + bits) of word."""

    word: int
    shift: int
    bits: int
    pos: int


class Key(NamedTuple):
    """What a rule matches: see model.Rule's fields of the same names."""

    mask: tuple[tuple[int, int], ...]
    values: tuple[int, ...]


def _wide(first: int, width: int) -> Place:
    """A field that begins with its most significant word, `first`."""
    return Place(first + (width - 1) // WORD_BITS, 0, width)


def _registers() -> Iterator[tuple[str, Place]]:
    for size, prefix in ((1, "reg"), (2, "xreg"), (4, "xxreg")):
        for n in range(10 // size):
            yield f"{prefix}{n}", _wide(lib.OW_REG0 + n * size, size * WORD_BITS)


# Root fields in the order in which dumps prefer their names.
ROOTS: Final[dict[str, Place]] = {
    **dict(_registers()),
    "flags": Place(lib.OW_FLAGS, 0, 32),
    "inport": Place(lib.OW_INPORT, 0, 32),
    "outport": Place(lib.OW_OUTPORT, 0, 32),
    "ct_state": Place(lib.OW_CT_STATE, 0, 32),
    "ct_mark": Place(lib.OW_CT_MARK, 0, 32),
    "ct_label": _wide(lib.OW_CT_LABEL, 128),
    "ct_proto": Place(lib.OW_CT_PROTO, 0, 8),
    "ct_tp_src": Place(lib.OW_CT_PORTS, 16, 16),
    "ct_tp_dst": Place(lib.OW_CT_PORTS, 0, 16),
    "pkt.mark": Place(lib.OW_PKT_MARK, 0, 32),
    "eth.dst": _wide(lib.OW_ETH_DST, 48),
    "eth.src": _wide(lib.OW_ETH_SRC, 48),
    "eth.type": Place(lib.OW_ETH_TYPE, 16, 16),
    "vlan.tci": Place(lib.OW_ETH_TYPE, 0, 16),
    "ip.proto": Place(lib.OW_IP, 24, 8),
    "ip.ttl": Place(lib.OW_IP, 16, 8),
    "ip.dscp": Place(lib.OW_IP, 10, 6),
    "ip.ecn": Place(lib.OW_IP, 8, 2),
    "ip.frag": Place(lib.OW_IP, 0, 2),
    "ip4.src": Place(lib.OW_IP_SRC + 3, 0, 32),
    "ip4.dst": Place(lib.OW_IP_DST + 3, 0, 32),
    "ip6.src": _wide(lib.OW_IP_SRC, 128),
    "ip6.dst": _wide(lib.OW_IP_DST, 128),
    "ip6.label": Place(lib.OW_IP6_LABEL, 0, 20),
    "tcp.src": Place(lib.OW_L4_PORTS, 16, 16),
    "tcp.dst": Place(lib.OW_L4_PORTS, 0, 16),
    "tcp.flags": Place(lib.OW_TCP_ARP, 0, 12),
    "udp.src": Place(lib.OW_L4_PORTS, 16, 16),
    "udp.dst": Place(lib.OW_L4_PORTS, 0, 16),
    "sctp.src": Place(lib.OW_L4_PORTS, 16, 16),
    "sctp.dst": Place(lib.OW_L4_PORTS, 0, 16),
    "icmp4.type": Place(lib.OW_L4_PORTS, 16, 8),
    "icmp4.code": Place(lib.OW_L4_PORTS, 0, 8),
    "icmp6.type": Place(lib.OW_L4_PORTS, 16, 8),
    "icmp6.code": Place(lib.OW_L4_PORTS, 0, 8),
    "nd.target": _wide(lib.OW_ND_TARGET, 128),
    "nd.sll": _wide(lib.OW_ND_SLL, 48),
    "nd.tll": _wide(lib.OW_ND_TLL, 48),
    "arp.op": Place(lib.OW_TCP_ARP, 16, 16),
    "arp.spa": Place(lib.OW_IP_SRC + 3, 0, 32),
    "arp.tpa": Place(lib.OW_IP_DST + 3, 0, 32),
    "arp.sha": _wide(lib.OW_ND_SLL, 48),
    "arp.tha": _wide(lib.OW_ND_TLL, 48),
    "icmp4.frag_mtu": Place(lib.OW_ICMP_REST, 0, 16),
    "icmp6.frag_mtu": Place(lib.OW_ICMP_REST, 0, 32),
    # Not OVN's: numbers of sets that these fields are members of (lang.sets).
    "set.src": Place(lib.OW_SET_SRC, 0, 32),
    "set.dst": Place(lib.OW_SET_DST, 0, 32),
    "set.inport": Place(lib.OW_SET_IN, 0, 32),
    "set.outport": Place(lib.OW_SET_OUT, 0, 32),
    "set.tp_src": Place(lib.OW_SET_TP_SRC, 0, 32),
    "set.tp_dst": Place(lib.OW_SET_TP_DST, 0, 32),
    "set.eth_src": Place(lib.OW_SET_ETH_SRC, 0, 32),
    "set.eth_dst": Place(lib.OW_SET_ETH_DST, 0, 32),
    # Not OVN's: arguments of side tables.
    "arg.port": Place(lib.OW_ARG_PORT, 0, 32),
    "arg.ip": _wide(lib.OW_ARG_IP, 128),
    "arg.mac": _wide(lib.OW_ARG_MAC, 48),
    "arg.idle": Place(lib.OW_ARG_IDLE, 0, 32),
    # Not OVN's: zones, and what its ct_*_dst() and ct_state_save() read.
    "ct.dst4": Place(lib.OW_CT_DST + 3, 0, 32),
    "ct.dst6": _wide(lib.OW_CT_DST, 128),
    "ct.saved": Place(lib.OW_CT_STATE, 0, 8),
    "zone.port": Place(lib.OW_CT_ZONE, 0, 32),
    "zone.dnat": Place(lib.OW_DNAT_ZONE, 0, 32),
    "zone.snat": Place(lib.OW_SNAT_ZONE, 0, 32),
}


def place(root: str, offset: int = 0, width: int = 0) -> Place:
    """The home of root[offset..offset+width-1]; width 0: all of it.

    Raises UnsupportedError for a field that the packet context does not hold.
    """
    home = ROOTS.get(root) or _no_field(root)
    return Place(home.word, home.shift + offset, width or home.width - offset)


def chunks(home: Place) -> Iterator[Chunk]:
    """The pieces of a field, each within one word, least significant first."""
    pos = 0
    while pos < home.width:
        words, shift = divmod(home.shift + pos, WORD_BITS)
        bits = min(WORD_BITS - shift, home.width - pos)
        yield Chunk(home.word - words, shift, bits, pos)
        pos += bits


def cut(value: int, chunk: Chunk) -> int:
    """The bits of a field's value that lie in the chunk, where the word has them."""
    return (value >> chunk.pos & ((1 << chunk.bits) - 1)) << chunk.shift


# For pack(): (word, pos, ones, shift) for each chunk of each root field, with
# `ones` as wide as the chunk.
_CUTS: Final = {
    root: tuple((c.word, c.pos, (1 << c.bits) - 1, c.shift) for c in chunks(home))
    for root, home in ROOTS.items()
}


def pack(conj: Conj) -> Key | None:
    """Masked words for a conjunction of masked fields; None when none can match.

    Two fields that share bits of a word (tcp.dst, icmp4.code) belong to packets
    of different kinds, so different values there contradict each other.
    Raises UnsupportedError for a field that the packet context does not hold.
    """
    fields = tuple([(root, mask) for root, _, mask in conj])
    known = _LAYOUTS.get(fields)
    if known is None:
        if len(_LAYOUTS) >= _MOST_LAYOUTS:
            _LAYOUTS.clear()
        known = _LAYOUTS[fields] = _layout(fields)
    mask, parts = known
    words = [0] * len(mask)
    for n, pos, ones, shift, at, shared in parts:
        bits = (conj[n][1] >> pos & ones) << shift
        if shared and (words[at] ^ bits) & shared:
            return None
        words[at] |= bits
    return Key(mask, tuple(words))


# For pack(): a Key's mask, and where values go: of field `n` the bits
# value >> pos & ones, << shift, to word `at`, of which `shared` are an earlier field's, too.
_Layout = tuple[tuple[tuple[int, int], ...], list[tuple[int, int, int, int, int, int]]]
_LAYOUTS: Final[dict[tuple[tuple[str, int], ...], _Layout]] = {}
_MOST_LAYOUTS: Final = 4096


def _layout(fields: Sequence[tuple[str, int]]) -> _Layout:
    """How conjunctions of these (field, mask) are packed: few, and each for thousands."""
    masks: dict[int, int] = {}
    parts = []
    for n, (root, mask) in enumerate(fields):
        for word, pos, ones, shift in _CUTS.get(root) or _no_field(root):
            part = mask >> pos & ones
            if part:
                known = masks.get(word, 0)
                parts.append((n, pos, part, shift, word, known & part << shift))
                masks[word] = known | part << shift
    words = sorted(masks)
    at = {word: n for n, word in enumerate(words)}
    return (
        tuple([(word, masks[word]) for word in words]),
        [(n, pos, part, shift, at[word], shared) for n, pos, part, shift, word, shared in parts],
    )


def _no_field(root: str) -> NoReturn:
    raise UnsupportedError(f"field {root}")


def field_at(word: int, shift: int, bits: int) -> str:
    """A name for bits of a word, as OVN would write it: "reg0[1]", "eth.src[0..31]"."""
    for root, home in ROOTS.items():
        offset = (home.word - word) * WORD_BITS + shift - home.shift
        if 0 <= offset and offset + bits <= home.width:
            return root + _range(offset, bits, home.width)
    return f"w{word}" + _range(shift, bits, WORD_BITS)


def _range(offset: int, bits: int, width: int) -> str:
    if bits == width:
        return ""
    return f"[{offset}]" if bits == 1 else f"[{offset}..{offset + bits - 1}]"


def describe(key: Key) -> str:
    """A key as text for operators: "inport == 0x3 && eth.type == 0x800"."""
    return " && ".join(_terms(key)) or "1"


def _terms(key: Key) -> Iterable[str]:
    for (word, mask), value in zip(key.mask, key.values, strict=True):
        while mask:
            shift = (mask & -mask).bit_length() - 1
            bits = _run(word, mask, shift)
            ones = ((1 << bits) - 1) << shift
            yield f"{field_at(word, shift, bits)} == {(value & ones) >> shift:#x}"
            mask &= ~ones


def _run(word: int, mask: int, shift: int) -> int:
    """How many mask bits from `shift` up are set and belong to one field."""
    bits = 1
    while shift + bits < WORD_BITS and mask >> (shift + bits) & 1:
        if field_at(word, shift, bits + 1).startswith("w"):
            break
        bits += 1
    return bits
