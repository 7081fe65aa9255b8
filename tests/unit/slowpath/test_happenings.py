# SPDX-License-Identifier: Apache-2.0
"""Events: one for each thing that happens, forgotten when it happens no more."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath.duty import FOREVER, RejectedError
from ovn_bpf_controller.slowpath.happenings import LASTS, MOST, Happenings
from ovn_bpf_controller.slowpath.knowledge import Knowledge

PACKET = Punt(b"", ())


def happens(duty: Happenings, vip: str) -> None:
    said = {"event": "empty_lb_backends", "info": {"vip": vip, "protocol": "tcp"}}
    assert not list(duty.note(PACKET, said, Knowledge()))


def reported(duty: Happenings) -> list[str]:
    return [info["vip"] for _kind, info, _at in duty.reports()["events"]]


def test_many_packets_are_one_event_and_few_reports() -> None:
    duty = Happenings()
    happens(duty, "10.0.0.1:80")
    assert duty.news and reported(duty) == ["10.0.0.1:80"]
    [[_, _, first]] = duty.reports()["events"]
    duty.news = False
    for _ in range(100):
        happens(duty, "10.0.0.1:80")
    assert not duty.news
    list(duty.run(duty.due))
    assert duty.news and reported(duty) == ["10.0.0.1:80"]
    [[_, _, last]] = duty.reports()["events"]
    assert last > first


def test_what_happens_no_more_is_forgotten() -> None:
    duty = Happenings()
    happens(duty, "10.0.0.1:80")
    duty.news = False
    list(duty.run(duty.due + LASTS))
    list(duty.run(duty.due + LASTS))
    assert duty.news and reported(duty) == [] and duty.due == FOREVER


def test_there_is_a_bound() -> None:
    duty = Happenings()
    for number in range(MOST):
        happens(duty, f"10.0.0.1:{number}")
    with pytest.raises(RejectedError, match="more events"):
        happens(duty, "10.0.0.2:1")
    happens(duty, "10.0.0.1:7")
    assert len(reported(duty)) == MOST
