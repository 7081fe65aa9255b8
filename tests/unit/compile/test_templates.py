# SPDX-License-Identifier: Apache-2.0
"""Filling a template in gives what compiling the text from scratch gives."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovn_bpf_controller.compile import flow as flow_module
from ovn_bpf_controller.compile.action_templates import ActionTemplates
from ovn_bpf_controller.compile.flow import LogicalFlow, compile_flow
from ovn_bpf_controller.compile.lists import Traits
from ovn_bpf_controller.compile.names import Names
from ovn_bpf_controller.compile.sets import SetBook
from ovn_bpf_controller.plaindata import replace
from tests.support.scratch import from_scratch
from tests.support.world import World

PORTS = {f"p{n}": n for n in range(1, 5)}

number = st.sampled_from([0, 1, 2, 5, 80, 255, 256, 4095, 65535, 65536, 1 << 20, 1 << 32])
ip4 = st.one_of(
    st.sampled_from(["0.0.0.0", "10.0.0.1", "255.255.255.255"]),
    st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n))),
)
ip6 = st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n)))
mac = st.binary(min_size=6, max_size=6).map(lambda b: ":".join(f"{x:02x}" for x in b))
group = st.sampled_from(["group", "other", "nowhere"])
address_set = st.sampled_from(["set", "more", "odd", "nowhere"])
listed = st.lists(number | st.integers(0, 40), min_size=1, max_size=20) | st.integers(21, 80).map(
    lambda size: list(range(1024, 1024 + size))
)
numbers = listed.map(lambda found: "{" + ", ".join(map(str, found)) + "}")
port = st.sampled_from([*PORTS, "nowhere", "none", ""])

# Each shape many times over, with literals that now and then meet, or do not fit.
MATCHES = [
    "ip4.src == {a} && tcp.dst == {n}",
    "ip4.src == {a} && ip4.dst == {b}",
    "ip4.src == {a} && ip4.src == {b}",
    "ip4.src == {a}/24 && udp",
    "ip4.src == {a}/0 && udp.src == {n}",
    "ip4.dst == {{{a}, {b}}} && reg0[1] == {n}",
    "ip4.dst != {a} && tcp.src == {n}",
    "tcp.dst >= {n} && ip4.dst == {a}",
    "ip6.dst == {v} && (tcp || udp)",
    "(ip4.dst == {a} || ip6.dst == {v}) && ip.ttl == {n}",
    "ip4.dst == {a} || arp.tpa == {b}",
    "tcp.dst == {n} || icmp4.code == {m}",
    "tcp.dst == {n} && icmp4.code == {m}",
    "xxreg0 == {v} && reg1 == {n}",
    "xxreg1 == {v} && reg1 == {n}",
    "reg0[4..7] == {n} && reg2[0..15] == {m}",
    'inport == "{p}" && eth.src == {e}',
    'inport == "{p}" || outport == "{q}"',
    'outport == {{"{p}", "{q}"}} && eth.dst == {e}',
    'is_chassis_resident("{p}") && ip4.dst == {a}',
    '!is_chassis_resident("{p}") || ip4.dst == {a}',
    "!(ip4.dst == {a} && tcp.dst == {n})",
    "ct.new == {n} && ip4.dst == {a}",
    "{n}",
    "{n} < tcp.dst < {m}",
    "eth.src != {e} && tcp.dst != {n} && inport == @{g}",
    "eth.src != {e} && udp.dst != 999 && ip4.src == ${s} && ip4.dst == {a}",
    "ip4.src == ${s} && tcp.dst == {n}",
    "inport == @{g} && ip4.dst == {a}",
    "outport == @{g} && ip4 && ip4.src == ${s} && tcp && tcp.dst == {n}",
    "ip4.src == {{${s}, ${t}}} && outport == @{g}",
    "ip4.src == ${s} && ip4.src == ${t}",
    "ip4.src == ${s} && ip4.src == {a}",
    "ip4.src != ${s} || inport == @{g}",
    "ip4.dst == {{{a}/24, {b}}} && udp.dst == {n}",
    "eth.src == {{{e}, {f}, {f}}} && (arp.op == {k} || rarp.op == 3)",
    "(ip4.src == {a} || ip4.src == {b}) && (ip4.dst == {a} || tcp.dst == {n})",
    "ip4.src == {a} && (ip4.src == {b} || tcp.dst == {n})",
    "nd_ns && ip6.dst == {{{v}, {w}}} && nd.target == {v}",
    "ip4.dst == {a} || (ip4.dst == {b} && tcp.dst == {n})",
    "eth.dst[40] == {n} && eth.src == {e}",
    "reg6[{k}..15] == {k} && ip4.dst == {a}",
    "ip.proto == {n} && ip4.dst == {a}",
    "tcp.dst == {l}",
    "outport == @{g} && ip4.src == ${s} && tcp.dst == {l}",
    "tcp.src == {l} && tcp.dst == {o} && ip4.dst == {a}",
    "tcp.src == {l} || tcp.dst == {o}",
    "(tcp.src == {l} || tcp.dst == {o}) && tcp.flags == {o}",
    "(udp || tcp.dst == {l}) && ip4.src == {a}",
    "(udp.dst == {l} || tcp.dst == {l}) && ip4.src == {a}",
    "ip4.src == {a} && tcp.dst != {l}",
    "!(ip4.src == {a} && tcp.dst == {l})",
    "tcp.dst == {l} && tcp.dst == {o}",
    "tcp.dst > 80 && udp.dst == {l}",
    "tcp.dst > 80 && ip.ttl == {l}",
    "ip.proto == {l} && tcp.dst == {n}",
    "tcp.dst < {l}",
    "reg0[4..9] == {l} && reg1 == {o}",
    "icmp4.type == {l} || icmp4.code == {o}",
    "ip4.dst == {{{a}, {b}}} && tcp.dst == {l}",
    "ip4.dst != {{{a}, {b}}} && tcp.dst == {l}",
    'inport == "{p}" && {l} == tcp.dst && outport == "{{1, 2}}"',
    'is_chassis_resident("{p}") && tcp.dst == {l}',
]
ACTIONS = [
    "next;",
    "drop;",
    "reg0 = {n}; next;",
    "reg0[3] = {n}; reg1[4..9] = {m}; next;",
    "ip4.dst = {a}; reg2 = {n}; next;",
    "xxreg0 = {v}; ip6.src = {v}; next;",
    "xreg1 = {n}; next;",
    "eth.src = {e}; outport = \"{p}\"; flags.loopback = 1; output;",
    "outport = \"{p}\"; inport = \"{q}\"; output;",
    "ct_lb_mark(backends={a}:{n},{b}:{m});",
    "reg4 = {n}; ct_lb_mark(backends={a}:{m}; force_snat);",
    'ct_lb_mark(backends=[{v}]:{n},{v}; hash_fields="ip_src");',
    'ct_lb_mark_local(backends="{p}":{a}:{n},"{q}":{b}:{m});',
    "ct_lb(backends={a},{b}:{m}; skip_snat);",
    "ct_snat({a});",
    "ct_dnat({v});",
    "ct_snat({a},{n}-60000);",
    "ct_dnat_in_czone({a},{n}); next;",
    "ct_commit {{ ct_mark.blocked = 1; ct_label[0..31] = {n}; }}; next;",
    "commit_lb_aff(vip = \"{a}:80\", backend = \"{b}:8080\", proto = tcp, timeout = 5); next;",
    "clone {{ reg0 = {n}; outport = \"{p}\"; output; }}; next;",
    "next(pipeline=ingress,table={n});",
    "ip.ttl = {n}; next;",
    "arp {{ eth.dst = {e}; arp.spa = {a}; arp.tpa = {b}; arp.op = 1; output; }};",
    "reg0 = {n}/{m}; next;",
    "reg8[0..15] = 0; reg7[{k}..15] = {k}; next;",
    "set_queue({n}); next;",
    "ip4.dst = {a}; icmp4.inner_ip4.src = {b}; next;",
    "reg8[16..31] = select({n}=1, {m}=2);",
    "reg0[3] = put_dhcp_opts(offerip = {a}, mtu = {n}, router = {b}, lease_time = {m}); next;",
    "reg0[{k}] = put_dhcp_opts(offerip = {a}, dns_server = {{{a}, {b}}}, mtu = {n}/{m}); next;",
    "reg0[3] = put_dhcp_opts(offerip = {a}, router = {b}); reg1 = {n}; outport = \"{p}\"; next;",
    "reg0[3] = put_dhcpv6_opts(ia_addr = {v}, server_id = {e}, dns_server = {{{v}, {w}}}); next;",
    "reg0[5] = put_nd_ra_opts(addr_mode = \"slaac\", mtu = {n}, prefix = fd00::/64, slla = {e});",
    "reg0[3] = put_dhcp_opts(offerip = {a}); reg0[4] = put_dhcp_opts(offerip = {b}); next;",
]  # fmt: skip


@st.composite
def flows(draw: st.DrawFn) -> list[LogicalFlow]:
    """Several instances of a few shapes."""
    matches = draw(st.lists(st.sampled_from(MATCHES), min_size=1, max_size=3))
    actions = draw(st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=2))
    found = []
    for n in range(draw(st.integers(2, 6))):
        values = {
            "a": draw(ip4), "b": draw(ip4), "v": draw(ip6), "e": draw(mac), "n": draw(number),
            "m": draw(number), "k": draw(st.integers(0, 3)), "p": draw(port), "q": draw(port),
            "w": draw(ip6), "f": draw(mac), "g": draw(group), "s": draw(address_set),
            "t": draw(address_set), "l": draw(numbers), "o": draw(numbers),
        }  # fmt: skip
        if draw(st.booleans()):
            values |= {"b": values["a"], "w": values["v"], "f": values["e"], "t": values["s"]}
        match = matches[n % len(matches)].format(**values)
        action = actions[n % len(actions)].format(**values)
        found.append(LogicalFlow(str(n), n % 2, 3, 100, match, action))
    return found


def world() -> World:
    made = World(ports={(1, name): key for name, key in PORTS.items()})
    made.address_sets = {
        "set": ["10.0.0.1", "10.1.0.0/16"],
        "more": ["10.0.0.2"],
        "odd": ["10.0.0.0/255.0.255.0"],  # expanded: no prefix
    }
    made.port_groups = {(1, "group"): ["p1", "p2"], (1, "other"): ["p3"]}
    made.residents = {"p1", "p3"}
    made.kinds = {1: Traits(router=True)}
    return made


@pytest.fixture(autouse=True)
def fresh_templates(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(flow_module, "_MATCHES", flow_module.matches())
    monkeypatch.setattr(flow_module, "_ACTIONS", ActionTemplates())
    monkeypatch.setattr(flow_module, "_SAME", {})
    yield


@settings(
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(flows())
def test_every_instance_equals_compiling_it_from_scratch(found: list[LogicalFlow]) -> None:
    env = world()
    for flow in found:
        book = SetBook(env)
        made = compile_flow(flow, Names(env, 1, book))
        slow = from_scratch(flow, env, book)
        assert replace(made, refs=slow.refs) == slow, flow
        assert made.refs >= slow.refs, flow


def test_comments_do_not_tell_matches_apart() -> None:
    """OVN-Kubernetes names a node in each of its routers' policies."""
    env = world()
    for n in range(1, 4):
        match = f'inport == "p{n}" && ip4.dst == 172.18.0.{n} /* node{n}: 10.0.0.{n} */'
        flow = LogicalFlow(str(n), 0, 3, 100, match, "next;")
        book = SetBook(env)
        made = compile_flow(flow, Names(env, 1, book))
        assert len(made.keys) == 1 and made.keys == from_scratch(flow, env, book).keys
    assert len(list(flow_module._MATCHES.shapes())) == 1
