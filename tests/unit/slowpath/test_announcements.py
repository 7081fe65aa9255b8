# SPDX-License-Identifier: Apache-2.0
"""How often an address is announced, and by what frame."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.slowpath.announcements import Announcements
from ovn_bpf_controller.slowpath.duty import FOREVER
from ovn_bpf_controller.slowpath.knowledge import Knowledge

MAC = 0x0A0000000001
IP = 0x0A000002


def told(*items: list[Any], most: int = 0) -> Knowledge:
    return Knowledge(facts={"announcements": {"items": list(items), "most": most}})


def sent(duty: Announcements, seconds: float) -> list[float]:
    """When announcements leave, in seconds from now."""
    start, found = time.monotonic(), []
    while duty.due <= start + seconds:
        at = duty.due
        found += [at - start for _ in duty.run(at)]
    return found


def test_five_with_growing_pauses_and_then_no_more() -> None:
    duty = Announcements()
    duty.learnt(told([1, 2, MAC, IP, ""]))
    found = sent(duty, 1000)
    assert [round(b - a) for a, b in pairwise(found)] == [1, 2, 4, 8]
    assert 0.5 < found[0] <= 1.0 and duty.due == FOREVER and duty.waiting == 0


def test_an_operator_s_cap_makes_them_endless() -> None:
    duty = Announcements()
    duty.learnt(told([1, 2, MAC, IP, ""], most=3))
    pauses = [round(b - a) for a, b in pairwise(sent(duty, 20))]
    assert pauses[:4] == [1, 2, 3, 3] and set(pauses[3:]) == {3}


def test_what_stays_goes_on_and_what_comes_begins() -> None:
    duty = Announcements()
    first = [1, 2, MAC, IP, ""]
    duty.learnt(told(first))
    sent(duty, 100)
    duty.learnt(told(first, [1, 3, MAC, IP, "cr-lrp"]))
    assert duty.waiting == 1 and len(sent(duty, 100)) == 5
    duty.learnt(told(first))
    duty.learnt(told(first, [1, 3, MAC, IP, "cr-lrp"]))
    assert len(sent(duty, 100)) == 5


def test_the_frames() -> None:
    duty = Announcements()
    duty.learnt(told([7, 2, MAC, IP, ""], [7, 3, MAC, 0, ""]))
    arp, rarp = duty.run(duty.due)
    assert (arp.words[lib.OW_DP], arp.words[lib.OW_INPORT]) == (7, 2)
    frame = Ether(arp.frame)
    assert (frame.src, frame.dst) == ("0a:00:00:00:00:01", "ff:ff:ff:ff:ff:ff")
    said = frame[ARP]
    assert (said.op, said.psrc, said.pdst) == (1, "10.0.0.2", "10.0.0.2")
    assert (said.hwsrc, said.hwdst) == (frame.src, "00:00:00:00:00:00")
    reverse = ARP(rarp.frame[14:])
    assert rarp.frame[12:14] == b"\x80\x35" and reverse.op == 3
    assert (reverse.hwsrc, reverse.hwdst) == (frame.src, frame.src)
