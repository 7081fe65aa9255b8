# SPDX-License-Identifier: Apache-2.0
"""The client of prefix delegation goes through its states as RFC 8415 has them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from scapy.layers import dhcp6
from scapy.layers.inet6 import UDP, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.duties.delegation import link_local, parse
from ovn_bpf_controller.slowpath.delegation import Delegation
from ovn_bpf_controller.slowpath.duty import FOREVER, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

MAC = 0x000002010203
SAID = {"dp": 3, "port": 7, "mac": MAC, "source": link_local(MAC), "client": 0x99, "before": None}
T1, T2, VALID = 100, 200, 400
NEVER = 0xFFFFFFFF


def told(**ports: dict[str, Any]) -> Delegation:
    duty = Delegation()
    known = Knowledge(hears=duty.hears())
    known.facts["delegations"] = duty.hears()["delegations"](ports)
    duty.learnt(known)
    return duty


def sent(duty: Delegation, now: float) -> Packet:
    """The one message that is due by then."""
    [punt] = duty.run(now)
    assert (punt.words[lib.OW_DP], punt.words[lib.OW_INPORT]) == (3, 7)
    frame: Packet = Ether(punt.frame)
    assert frame[IPv6].dst == "ff02::1:2" and frame[UDP].dport == 547
    checksum = frame[UDP].chksum
    del frame[UDP].chksum
    assert Ether(bytes(frame))[UDP].chksum == checksum
    return frame


def answer(duty: Delegation, asked: Packet, kind: type[Packet], **said: Any) -> list[Packet]:
    """What comes of a server's answer to a message."""
    code = said.pop("status", 0)
    times = {"T1": T1, "T2": T2} | {key: said.pop(key) for key in ("T1", "T2") if key in said}
    lease = {"preflft": 300, "validlft": VALID, "prefix": "2001:db8:1::", "plen": 56} | said
    inner: list[Packet] = [dhcp6.DHCP6OptIAPrefix(**lease)]
    if code:
        inner = [dhcp6.DHCP6OptStatusCode(statuscode=code)]
    message = next(layer for layer in asked.layers() if layer.__name__.startswith("DHCP6_"))
    frame = Ether(dst=asked.src) / IPv6(src="fe80::1", dst=asked[IPv6].src)
    frame = frame / UDP(sport=547, dport=546) / kind(trid=asked[message].trid)
    frame = frame / dhcp6.DHCP6OptClientId(duid=asked[dhcp6.DHCP6OptClientId].duid)
    frame = frame / dhcp6.DHCP6OptServerId(duid=dhcp6.DUID_LL(lladdr="0a:00:00:00:00:01"))
    iaid = asked[dhcp6.DHCP6OptIA_PD].iaid
    frame = frame / dhcp6.DHCP6OptIA_PD(iaid=iaid, iapdopt=inner, **times)
    punt = Punt(bytes(frame), tuple([0] * lib.OVN_WORDS))
    return [Ether(each.frame) for each in duty.reply(punt, {}, Knowledge())]


def bound(duty: Delegation, **said: Any) -> float:
    """Takes a client to its prefix; returns when, at the least."""
    solicit = sent(duty, time.monotonic() + 3)
    [request] = answer(duty, solicit, dhcp6.DHCP6_Advertise, **said)
    assert dhcp6.DHCP6_Request in request and dhcp6.DHCP6OptServerId in request
    assert request[dhcp6.DHCP6OptIAPrefix].prefix == "2001:db8:1::"
    assert not answer(duty, request, dhcp6.DHCP6_Reply, **said)
    iaid = request[dhcp6.DHCP6OptIA_PD].iaid
    assert duty.reports() == {"delegated": {"rp": f"{iaid}:2001:db8:1::/56"}}
    assert duty.news and duty.waiting == 0
    return time.monotonic()


def test_a_prefix_is_got_renewed_rebound_and_lost() -> None:
    duty = told(rp=SAID)
    start = bound(duty)
    assert start + T1 - 1 < duty.due <= start + T1
    renew = sent(duty, duty.due)
    assert dhcp6.DHCP6_Renew in renew and dhcp6.DHCP6OptServerId in renew
    assert renew[dhcp6.DHCP6OptIAPrefix].prefix == "2001:db8:1::"
    # Nobody answers; the same again, then to any server, then from the beginning.
    again = sent(duty, duty.due)
    assert again[dhcp6.DHCP6_Renew].trid == renew[dhcp6.DHCP6_Renew].trid
    rebind = sent(duty, start + T2)
    assert dhcp6.DHCP6_Rebind in rebind and dhcp6.DHCP6OptServerId not in rebind
    assert not answer(duty, rebind, dhcp6.DHCP6_Reply)
    assert time.monotonic() + T1 - 5 < duty.due
    solicit = sent(duty, time.monotonic() + VALID)
    assert dhcp6.DHCP6_Solicit in solicit
    assert solicit[dhcp6.DHCP6OptIAPrefix].prefix == "2001:db8:1::"


def test_without_times_of_the_server_s_it_has_its_own() -> None:
    duty = told(rp=SAID)
    start = bound(duty, T1=0, T2=0)
    assert start + 149 < duty.due <= start + 150  # half of the preferred lifetime


def test_a_prefix_for_ever_is_not_renewed() -> None:
    duty = told(rp=SAID)
    bound(duty, T1=NEVER, T2=NEVER, preflft=NEVER, validlft=NEVER)
    assert duty.due == FOREVER


def test_what_was_delegated_before_is_asked_for_again() -> None:
    duty = told(rp=SAID | {"before": parse("7:2001:db8:2::/64")})
    solicit = sent(duty, time.monotonic() + 3)
    assert solicit[dhcp6.DHCP6OptIA_PD].iaid == 7
    asked = solicit[dhcp6.DHCP6OptIAPrefix]
    assert (asked.prefix, asked.plen) == ("2001:db8:2::", 64)


def test_a_request_without_a_reply_begins_anew() -> None:
    duty = told(rp=SAID)
    solicit = sent(duty, time.monotonic() + 3)
    answer(duty, solicit, dhcp6.DHCP6_Advertise)
    assert dhcp6.DHCP6_Solicit in sent(duty, duty.due)
    assert duty.reports() == {"delegated": {}}


def test_a_server_that_forgot_the_binding_is_asked_anew() -> None:
    duty = told(rp=SAID)
    bound(duty)
    renew = sent(duty, duty.due)
    with pytest.raises(RejectedError, match="delegates no prefix"):
        answer(duty, renew, dhcp6.DHCP6_Reply, status=3)
    assert dhcp6.DHCP6_Solicit in sent(duty, duty.due)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"status": 6}, "delegates no prefix"),
        ({"validlft": 0, "preflft": 0}, "delegates no prefix"),
        ({"T1": 10, "T2": 5}, "times that cannot be"),
        ({"preflft": 500}, "times that cannot be"),
        ({"plen": 129}, "prefix that cannot be"),
    ],
)
def test_what_no_server_should_say_is_rejected(said: dict[str, int], reason: str) -> None:
    duty = told(rp=SAID)
    solicit = sent(duty, time.monotonic() + 3)
    with pytest.raises(RejectedError, match=reason):
        answer(duty, solicit, dhcp6.DHCP6_Advertise, **said)


def test_an_answer_to_another_transaction_is_rejected() -> None:
    duty = told(rp=SAID)
    solicit = sent(duty, time.monotonic() + 3)
    solicit[dhcp6.DHCP6_Solicit].trid ^= 1
    with pytest.raises(RejectedError, match="nobody waits for"):
        answer(duty, solicit, dhcp6.DHCP6_Advertise)


def test_ports_of_a_router_ask_apart() -> None:
    duty = told(rp=SAID, other=SAID | {"client": 0x98})
    messages = [Ether(punt.frame) for punt in duty.run(time.monotonic() + 3)]
    assert len({frame[dhcp6.DHCP6OptIA_PD].iaid for frame in messages}) == 2


@pytest.mark.parametrize("text", ["", "7", "x:fd00::/64", "7:fd00::/129", "7:10.0.0.0/8"])
def test_lists_that_are_none_are_left_alone(text: str) -> None:
    assert parse(text) is None
