# SPDX-License-Identifier: Apache-2.0
"""An agenda is a dictionary of times, whose least ones are found without a search."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.slowpath.agenda import Agenda
from ovn_bpf_controller.slowpath.duty import FOREVER

TIMES = st.one_of(st.integers(0, 20).map(float), st.just(FOREVER))
SETS = st.tuples(st.sampled_from("abcde"), TIMES)


@given(st.lists(st.one_of(SETS, st.integers(0, 20).map(float)), max_size=300))
def test_it_is_a_dictionary_of_times(steps: list[tuple[str, float] | float]) -> None:
    agenda = Agenda()
    model: dict[str, float] = {}
    for step in steps:
        if isinstance(step, tuple):
            agenda.set(*step)
            model[step[0]] = step[1]
        else:
            due = {name for name, when in model.items() if when <= step}
            taken = agenda.take(step)
            assert len(taken) == len(due) and set(taken) == due
            model = {name: when for name, when in model.items() if name not in due}
        assert agenda.due == min(model.values(), default=FOREVER)
