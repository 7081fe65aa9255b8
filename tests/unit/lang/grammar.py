# SPDX-License-Identifier: Apache-2.0
"""Random matches and packets for the property tests of lang.

Constants come from small pools that matches and packets share, so that
comparisons come out true about as often as false.  `matches` keeps to what
OVN accepts: nominal fields are only tested for equality, whatever `!` encloses.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ovn_bpf_controller.lang.sets import named_members

# A busy machine is no failure.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

PORTS = {"p1": 1, "p2": 2, "p3": 3, "_MC_flood": 32768}
RESIDENT = frozenset({"p1", "p2"})
PORT_GROUPS = {"pg": ["p1", "p3"], "nobody": [], "strangers": ["gone", "p2"]}
ADDRESS_SETS = {
    "v4": ["10.0.0.1", "10.0.0.2", "192.168.1.0/24"],
    "v4_wide": ["10.0.0.0/8", "224.0.0.0/4"],
    "v6": ["fd00::1", "fd00:1::/64"],
    "empty": [],
}
SET_FIELDS = {"v4": "ip4", "v4_wide": "ip4", "v6": "ip6"}

IP4 = ["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.1.5", "224.0.0.5", "0.0.0.0"]
IP6 = ["fd00::1", "fd00::2", "fd00:1::7", "fe80::1", "ff02::1", "ff02::1:ff00:1", "ff05::2", "::"]
MACS = ["00:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"]
MASKS4 = ["/8", "/24", "/31", "/255.0.255.0", "/0.0.0.1", "/0"]
MASKS6 = ["/64", "/10", "/127", "/ffff::1"]
MASKS_MAC = ["/01:00:00:00:00:00", "/ff:ff:00:00:00:00"]

# Fields with the constants that they are compared with.
ORDINAL: dict[str, Sequence[str]] = {
    "ip4.src": IP4,
    "ip4.dst": IP4,
    "arp.spa": IP4,
    "arp.tpa": IP4,
    "ip6.src": IP6,
    "ip6.dst": IP6,
    "nd.target": IP6,
    "eth.src": MACS,
    "eth.dst": MACS,
    "arp.sha": MACS,
    "tcp.src": ["0", "1", "80", "65535"],
    "tcp.dst": ["0", "79", "80", "443"],
    "udp.dst": ["53", "67", "80"],
    "sctp.src": ["1", "2"],
    "tcp.flags": ["0", "2", "0x12"],
    "ip.frag": ["0", "1", "3"],
    "reg0": ["0", "1", "0x80000001", "5"],
    "reg1": ["0", "1", "5"],
    "reg3": ["0", "1"],
    "reg9": ["0", "7"],
    "xreg0": ["0", "0x100000000", "5"],
    "xxreg0": ["0", "fd00::1", "1"],
    "xreg4": ["7", "0"],
    "flags": ["0", "1"],
    "ct_label": ["0", "1", "fd00::1"],
    "ct_mark": ["0", "2"],
    "vlan.tci": ["0", "0x1001"],
    "vlan.vid": ["0", "1"],
    "__inport": ["1", "2"],
}
NOMINAL: dict[str, Sequence[str]] = {
    "eth.type": ["0x800", "0x806", "0x86dd"],
    "ip.proto": ["1", "6", "17", "58"],
    "ip.ttl": ["255", "64"],
    "ip.dscp": ["0", "46"],
    "arp.op": ["1", "2"],
    "icmp4.type": ["8", "0"],
    "icmp6.type": ["128", "135", "136"],
}
WIDTHS = {"ip4.src": 32, "ip4.dst": 32, "eth.dst": 48, "reg0": 32, "xreg0": 64, "xxreg0": 128}
# Predicates and one-bit fields that may stand alone; these under `!` too.
BITS = [
    "eth.bcast", "eth.mcast", "eth.mcastv6", "ip4.mcast", "ip4.src_mcast", "ip6.mcast",
    "ip6.mcast_rsvd", "ip6.mcast_all_nodes", "ip6.mcast_sol_node", "ip6.mcast_flood",
    "ip.is_frag", "ip.later_frag", "ip.first_frag", "vlan.present", "flags.loopback",
    "ct.est", "ct.new", "ct.trk", "ct_mark.natted", "ct_label.nf", "reg0[31]", "xxreg0[96]",
    "from_evpn_vtep",
]  # fmt: skip
NOMINAL_BITS = [
    "ip4", "ip6", "ip", "tcp", "udp", "sctp", "icmp", "icmp4", "icmp6", "igmp", "arp", "rarp",
    "nd", "nd_ns", "nd_na", "nd_rs", "nd_ns_mcast", "mldv1", "mldv2",
]  # fmt: skip


class Env:
    """The MatchEnv of these pools."""

    def address_set(self, name: str) -> Sequence[str] | None:
        return ADDRESS_SETS.get(name)

    def port_group(self, name: str) -> Sequence[str] | None:
        return PORT_GROUPS.get(name)

    def port_key(self, lport: str) -> int | None:
        return PORTS.get(lport)

    def is_resident(self, lport: str) -> bool:
        return lport in RESIDENT

    def set_number(self, name: str, width: int) -> int | None:
        return None

    def group_number(self, name: str) -> int | None:
        return None


class NumberedEnv(Env):
    """The same with a number for every set and group that can have one."""

    NAMES = [*sorted(ADDRESS_SETS), *sorted(PORT_GROUPS)]

    def __init__(self) -> None:
        self.lists: list[str] = []  # sets without a name

    def address_set(self, name: str) -> Sequence[str] | None:
        return named_members(name) or super().address_set(name)

    def set_number(self, name: str, width: int) -> int | None:
        if named_members(name):
            if name not in self.lists:
                self.lists.append(name)
            return len(self.NAMES) + self.lists.index(name)
        members = ADDRESS_SETS.get(name, ["missing"])
        fits = all(":" not in m or width == 128 for m in members) and name in ADDRESS_SETS
        return self.NAMES.index(name) if fits else None

    def group_number(self, name: str) -> int | None:
        return self.NAMES.index(name) if name in PORT_GROUPS else None


def _masks(constant: str) -> list[str]:
    if "." in constant:
        return MASKS4
    if constant.count(":") == 5 and len(constant) == 17:
        return MASKS_MAC
    if ":" in constant:
        return MASKS6
    return [f"/{constant}"] if constant != "0" else ["/0"]


@st.composite
def _constant(draw: st.DrawFn, field: str, masked: bool) -> str:
    constant = draw(st.sampled_from(ORDINAL[field]))
    # "10.0.0.1/0.0.0.1" style masks keep only the value's bits inside.
    if masked and draw(st.booleans()):
        return constant + draw(st.sampled_from(_masks(constant)))
    return constant


@st.composite
def _ordinal(draw: st.DrawFn, negative: bool) -> str:
    field = draw(st.sampled_from(sorted(ORDINAL)))
    shape = draw(st.integers(0, 5))
    if shape == 0:
        return f"{field} {draw(st.sampled_from(['<', '<=', '>', '>=']))} " + draw(
            _constant(field, False)
        )
    if shape == 1 and field in WIDTHS:
        low = draw(st.integers(0, WIDTHS[field] - 1))
        high = draw(st.integers(low, min(WIDTHS[field] - 1, low + 15)))
        relop = draw(st.sampled_from(["==", "!=", "<", ">="]))
        return f"{field}[{low}..{high}] {relop} {draw(st.integers(0, (1 << (high - low + 1)) - 1))}"
    if shape == 2:
        low_c, high_c = draw(_constant(field, False)), draw(_constant(field, False))
        return f"{low_c} <= {field} < {high_c}"
    relop = draw(st.sampled_from(["==", "!="]))
    if shape == 3:
        return f"{field} {relop} {draw(_constant(field, True))}"
    members = draw(st.lists(_constant(field, True), min_size=1, max_size=4))
    family = field.split(".")[0]
    sets = [name for name, kind in SET_FIELDS.items() if kind == family] + ["empty"]
    if shape == 4 and family in ("ip4", "ip6"):
        members.append("$" + draw(st.sampled_from(sets)))
        if draw(st.booleans()):
            return f"{field} {relop} {members[-1]}"
    return f"{field} {relop} {{{', '.join(members)}}}"


@st.composite
def _leaf(draw: st.DrawFn, negative: bool) -> str:
    kind = draw(st.integers(0, 9))
    if kind <= 4:
        return draw(_ordinal(negative))
    equal = "!=" if negative else "=="
    if kind == 5:
        field = draw(st.sampled_from(sorted(NOMINAL)))
        return f"{field} {equal} {draw(st.sampled_from(NOMINAL[field]))}"
    if kind == 6:
        field = draw(st.sampled_from(["inport", "outport"]))
        names = [f'"{name}"' for name in [*PORTS, "gone"]] + [f"@{name}" for name in PORT_GROUPS]
        chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3))
        return f"{field} {equal} {{{', '.join(chosen)}}}"
    if kind == 7 and not negative:
        return draw(st.sampled_from(NOMINAL_BITS))
    if kind == 8:
        port = draw(st.sampled_from(["p1", "p3", "gone"]))
        return draw(st.sampled_from(["", "!"])) + f'is_chassis_resident("{port}")'
    return draw(st.sampled_from(["", "!"])) + draw(st.sampled_from(BITS))


@st.composite
def matches(draw: st.DrawFn, depth: int = 2, negative: bool = False) -> str:
    """The text of a match that OVN accepts."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(_leaf(negative))
    if draw(st.integers(0, 4)) == 0:
        return f"!({draw(matches(depth=depth - 1, negative=not negative))})"
    operator = draw(st.sampled_from([" && ", " || "]))
    terms = draw(st.lists(matches(depth=depth - 1, negative=negative), min_size=2, max_size=3))
    return operator.join(term if _simple(term) else f"({term})" for term in terms)


def _simple(term: str) -> bool:
    return "&&" not in term and "||" not in term


LONG_LIST = "{} == {{10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.1.1, 10.1.0.0/16, 9}}"


def set_matches() -> st.SearchStrategy[str]:
    """Matches of little but sets and groups, several for each field."""
    leaf = st.one_of(
        st.builds(
            lambda end, name: f"ip4.{end} == ${name}",
            st.sampled_from(["src", "dst"]),
            st.sampled_from(["v4", "v4_wide", "empty"]),
        ),
        st.sampled_from(
            [
                "ip6.src == $v6",
                "ip6.src == $v4",
                "ip6.dst == $v6",
                "ip4.src != $v4",
                "ip6.dst != $v6",
                "arp.spa == $v4",
                "ip4.src[0..7] == $v4",
                "ip4.src == {$v4, $v4_wide, 10.0.1.1}",
                "ip4.dst == 10.0.0.0/31",
                "inport == @pg",
                "inport == @strangers",
                "inport == {@nobody, @pg}",
                'inport == {"p1", @strangers}',
                "outport == @pg",
                "outport == @strangers",
                "tcp.dst == {80, 443}",
                "tcp.dst == {79, 80, 81, 82, 83, 84, 85, 443, 65535}",
                LONG_LIST.format("ip4.src"),
                LONG_LIST.format("ip4.dst"),
                LONG_LIST.format("ip6.dst"),
            ]
        ),
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        several = st.lists(inner, min_size=2, max_size=3)
        joined = st.builds(
            lambda op, terms: op.join(terms), st.sampled_from([" && ", " || "]), several
        )
        return joined.map(lambda text: f"({text})")

    return st.recursive(leaf, grown, max_leaves=8)
