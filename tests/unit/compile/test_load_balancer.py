# SPDX-License-Identifier: Apache-2.0
"""Load_Balancer rows: what can be read of them, and the side rules they become."""

from __future__ import annotations

import pytest

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.load_balancer import (
    Central,
    Endpoint,
    LoadBalancer,
    endpoint,
    expand,
)
from ovn_bpf_controller.errors import LangError

DEFAULT = Central()
IN_REGISTERS = {"hairpin_orig_tuple": "true"}
V4 = {"30.0.0.1:80": "10.0.0.1:8080,10.0.0.2:8080"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("10.0.0.1", Endpoint(0x0A000001, 4, 0)),
        (" 10.0.0.1:80 ", Endpoint(0x0A000001, 4, 80)),
        ("fd00::1", Endpoint(0xFD << 120 | 1, 6, 0)),
        ("[fd00::1]", Endpoint(0xFD << 120 | 1, 6, 0)),
        ("[fd00::1]:443", Endpoint(0xFD << 120 | 1, 6, 443)),
    ],
)
def test_an_endpoint_is_an_address_with_or_without_port(text: str, found: Endpoint) -> None:
    assert endpoint(text) == found


@pytest.mark.parametrize(
    "text",
    ["", "x", "10.0.0.1:x", "10.0.0.1:70000", "10.0.0.1:-1", "[fd00::1", "[fd00::1]80", ":80"],
)
def test_what_is_no_endpoint_is_told(text: str) -> None:
    with pytest.raises(LangError):
        endpoint(text)


def tables(row: LoadBalancer, central: Central = DEFAULT) -> dict[int, list[dict[str, int]]]:
    """Matches by table; a mask that is not whole is no concern here."""
    rules, errors = expand(row, {}, central)
    assert not errors
    found: dict[int, list[dict[str, int]]] = {}
    for rule in rules:
        found.setdefault(rule.table, []).append({root: value for root, value, _ in rule.conj})
    return found


def test_each_backend_has_a_rule_for_either_direction_and_the_vip_one() -> None:
    found = tables(LoadBalancer(V4, "udp", IN_REGISTERS))
    vip, backends = 0x1E000001, (0x0A000001, 0x0A000002)
    assert found[lib.OVN_TABLE_LB_HAIRPIN] == [
        {
            "eth.type": 0x800,
            "ip4.src": backend,
            "ip4.dst": backend,
            "reg1": vip,
            "reg2": 80,
            "ct_mark": 2,
            "ip.proto": 17,
            "tcp.dst": 8080,
        }
        for backend in backends
    ]
    assert found[lib.OVN_TABLE_LB_HAIRPIN_REPLY] == [
        {
            "eth.type": 0x800,
            "ip4.src": backend,
            "ip4.dst": vip,
            "ip.proto": 17,
            "tcp.src": 8080,
        }
        for backend in backends
    ]
    assert found[lib.OVN_TABLE_SNAT_HAIRPIN] == [
        {"eth.type": 0x800, "reg1": vip, "reg2": 80, "ip.proto": 17}
    ]


def test_without_registers_the_connection_tells_the_original_destination() -> None:
    (first, _) = tables(LoadBalancer(V4, "tcp"))[lib.OVN_TABLE_LB_HAIRPIN]
    assert first["ct_state"] == lib.OVN_CS_TRK | lib.OVN_CS_DNAT
    assert first["ct.dst4"] == 0x1E000001
    assert (first["ct_proto"], first["ct_tp_dst"]) == (6, 80)


def test_the_central_says_where_things_are() -> None:
    row = LoadBalancer(V4, "tcp", IN_REGISTERS)
    old = tables(row, Central(ct_mark=False))[lib.OVN_TABLE_LB_HAIRPIN][0]
    new = tables(LoadBalancer(V4), Central(consolidated=True))[lib.OVN_TABLE_LB_HAIRPIN][0]
    assert old["ct_label"] == 2 and "ct_mark" not in old
    assert new["reg4"] == 0x1E000001 and "reg1" not in new


@pytest.mark.parametrize(
    ("vip", "options", "priority"),
    [
        ("30.0.0.1:80", {}, 100),
        ("30.0.0.1", {}, 90),
        ("30.0.0.1:80", {"hairpin_snat_ip": "9.9.9.9"}, 200),
        ("30.0.0.1", {"hairpin_snat_ip": "9.9.9.9 fd00::9"}, 190),
        ("30.0.0.1:80", {"hairpin_snat_ip": "fd00::9"}, 100),
    ],
)
def test_the_more_exact_snat_wins(vip: str, options: dict[str, str], priority: int) -> None:
    backend = "10.0.0.1:80" if ":" in vip else "10.0.0.1"
    rules, _ = expand(LoadBalancer({vip: backend}, "tcp", options), {}, Central())
    assert [r.priority for r in rules if r.table == lib.OVN_TABLE_SNAT_HAIRPIN] == [priority]


@pytest.mark.parametrize(
    "backends", ["fd00::1", "10.0.0.1", "10.0.0.1:80,x", "10.0.0.1:80,[fd00::1]:80"]
)
def test_a_backend_that_does_not_fit_spoils_its_vip_alone(backends: str) -> None:
    good = {"30.0.0.2:80": "10.0.0.1:80"}
    rules, errors = expand(LoadBalancer({"30.0.0.1:80": backends} | good), {}, Central())
    assert len(errors) == 1
    assert rules == expand(LoadBalancer(good), {}, Central())[0]


def test_template_variables_are_put_in() -> None:
    row = LoadBalancer({"^vip:80": "^backends"})
    variables = {"vip": "30.0.0.1", "backends": "10.0.0.1:8080,10.0.0.2:8080"}
    assert expand(row, variables, Central()) == expand(LoadBalancer(V4), {}, Central())
    rules, errors = expand(row, {}, Central())
    assert not rules and len(errors) == 1


def test_a_vip_without_backends_has_no_hairpins() -> None:
    found = tables(LoadBalancer({"30.0.0.1:80": ""}))
    assert found.keys() == {lib.OVN_TABLE_SNAT_HAIRPIN}


def test_a_bad_snat_address_leaves_the_vips() -> None:
    row = LoadBalancer(V4, "tcp", {"hairpin_snat_ip": "nonsense"})
    rules, errors = expand(row, {}, Central())
    assert len(errors) == 1
    assert rules == expand(LoadBalancer(V4), {}, Central())[0]
