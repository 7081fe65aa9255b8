# SPDX-License-Identifier: Apache-2.0
"""When advertisements go out by the clock, and what of a router port's options counts."""

from __future__ import annotations

import time
from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.duties.addresses import interfaces, lport_addresses
from ovn_bpf_controller.duties.advertisements import advert
from ovn_bpf_controller.slowpath.duty import FOREVER, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.periodic_ra import PeriodicAdverts

OPTIONS = {
    "ipv6_ra_address_mode": "slaac",
    "ipv6_ra_src_eth": "0e:00:00:00:00:01",
    "ipv6_ra_src_addr": "fe80::1",
    "ipv6_ra_prf": "MEDIUM",
    "ipv6_ra_max_interval": "8",
    "ipv6_ra_min_interval": "4",
    "ipv6_ra_prefixes": "fd00::/64 fd01::/48",
}


def learn(duty: PeriodicAdverts, **ports: dict[str, str]) -> None:
    told = {name: {**advert(said), "dp": 3, "port": 7} for name, said in ports.items()}
    duty.learnt(Knowledge(facts={"adverts": told}))


def test_one_is_due_between_the_bounds_and_again() -> None:
    duty = PeriodicAdverts()
    assert duty.due == FOREVER
    before = time.monotonic()
    learn(duty, rp=OPTIONS)
    first = duty.due
    assert before + 4 <= first <= time.monotonic() + 8
    [punt] = duty.run(first)
    assert (punt.words[lib.OW_DP], punt.words[lib.OW_INPORT]) == (3, 7)
    assert punt.words[lib.OW_FLAGS] == lib.MLF_LOCAL_ONLY
    frame = Ether(punt.frame)
    assert (frame[IPv6].src, frame[IPv6].dst, frame[IPv6].hlim) == ("fe80::1", "ff02::1", 255)
    assert frame[ICMPv6ND_RA].routerlifetime == 0xFFFF
    assert frame[ICMPv6NDOptPrefixInfo].prefix == "fd00::"
    assert first + 4 <= duty.due <= first + 8
    assert not list(duty.run(first + 1))


def test_another_text_keeps_the_time_and_other_bounds_do_not() -> None:
    duty = PeriodicAdverts()
    learn(duty, rp=OPTIONS)
    due = duty.due
    learn(duty, rp=OPTIONS | {"ipv6_ra_mtu": "1400"})
    assert duty.due == due
    learn(duty, rp=OPTIONS | {"ipv6_ra_max_interval": "1800", "ipv6_ra_min_interval": "900"})
    assert duty.due >= time.monotonic() + 890
    learn(duty)
    assert duty.due == FOREVER


def test_one_that_cannot_be_written_costs_itself_only() -> None:
    duty = PeriodicAdverts()
    learn(duty, bad=OPTIONS | {"ipv6_ra_route_info": "HIGH-nowhere"}, good=OPTIONS)
    sent = []
    with pytest.raises(RejectedError, match="cannot be written"):
        for punt in duty.run(time.monotonic() + 9):
            sent.append(punt)
    assert len(sent) == 1
    assert duty.due > time.monotonic() + 9


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("ipv6_ra_address_mode", "static", "address mode"),
        ("ipv6_ra_src_eth", "0e:00", "Ethernet"),
        ("ipv6_ra_src_addr", "10.0.0.1", "10.0.0.1"),
        ("ipv6_ra_prefixes", "everything", "prefixes"),
        ("ipv6_ra_rdnss", "resolver", "resolver"),
    ],
)
def test_options_that_ovn_rejects_are_rejected(name: str, value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        advert(OPTIONS | {name: value})


def test_what_is_missing_is_ovn_s_default() -> None:
    few = {name: OPTIONS[name] for name in list(OPTIONS)[:3]}
    said: dict[str, Any] = advert(few | {"ipv6_ra_mtu": "many"})
    assert (said["min"], said["max"]) == (200, 600)
    assert [name for name, _ in said["options"]] == ["addr_mode", "router_preference", "slla"]


def test_addresses_are_read_up_to_what_is_none() -> None:
    assert [str(each) for each in interfaces("fd00::/64 10.0.0.1/8 x fd01::/64")] == [
        "fd00::/64",
        "10.0.0.1/8",
    ]
    assert lport_addresses("00:00:00:00:00:0a 10.0.0.1") == (10, interfaces("10.0.0.1"))
    assert lport_addresses("router") is None
