# SPDX-License-Identifier: Apache-2.0
"""When services are probed, and after how many answers they are what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.slowpath.probing import OFFLINE, ONLINE, Pace, Watch

PACE = Pace(5.0, 3.0, 2, 3)


def probed(watch: Watch, good: bool | None) -> str:
    """The status after one more probe; good None: no answer."""
    assert watch.run(watch.due) and watch.waiting
    if good is None:
        assert not watch.run(watch.due)
    else:
        watch.answered(good, watch.due - 1)
    return watch.status


def test_the_status_needs_as_many_answers_as_are_asked_for() -> None:
    watch = Watch(PACE, 0.0)
    assert [probed(watch, True) for _ in range(2)] == ["", ONLINE]
    assert [probed(watch, False) for _ in range(3)] == [ONLINE, ONLINE, OFFLINE]
    assert [probed(watch, None), probed(watch, True), probed(watch, True)] == [
        OFFLINE,
        OFFLINE,
        ONLINE,
    ]


def test_silence_is_a_failure_but_of_udp() -> None:
    assert probed(Watch(Pace(5.0, 3.0, 1, 1), 0.0), None) == OFFLINE
    assert probed(Watch(Pace(5.0, 3.0, 1, 1, silence=True), 0.0), None) == ONLINE


def test_probes_keep_their_times() -> None:
    watch = Watch(PACE, 10.0)
    assert not watch.run(9.9)
    assert watch.run(10.0) and watch.due == 13.0
    watch.answered(True, 11.0)
    assert watch.due == 16.0
    assert watch.run(16.0)
    assert not watch.run(19.0) and watch.due == 24.0


def test_an_answer_counts_once() -> None:
    watch = Watch(Pace(5.0, 3.0, 2, 2), 0.0)
    watch.run(0.0)
    for _ in range(5):
        watch.answered(True, 1.0)
    assert watch.status == ""


@given(
    answers=st.lists(st.sampled_from((True, False, None)), max_size=60),
    successes=st.integers(1, 4),
    failures=st.integers(1, 4),
)
def test_counts_are_those_since_one_was_reached(
    answers: list[bool | None], successes: int, failures: int
) -> None:
    watch = Watch(Pace(1.0, 1.0, successes, failures), 0.0)
    status, good, bad = "", 0, 0
    for answer in answers:
        good, bad = good + bool(answer), bad + (not answer)
        if answer and good >= successes:
            status, good, bad = ONLINE, 0, 0
        elif not answer and bad >= failures:
            status, good, bad = OFFLINE, 0, 0
        assert probed(watch, answer) == status
