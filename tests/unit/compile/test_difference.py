# SPDX-License-Identifier: Apache-2.0
"""compile.difference: the same as Python's own sets say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.compile.difference import difference

TEXTS = st.lists(st.sampled_from("abcdefgh"), unique=True).map(tuple)


@given(TEXTS, TEXTS)
def test_it_is_what_one_set_has_and_the_other_has_not(
    old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    gone, come = difference(old, new)
    assert len(gone) == len(set(gone)) and len(come) == len(set(come))
    assert (set(gone), set(come)) == (set(old) - set(new), set(new) - set(old))


def test_one_of_many() -> None:
    many = tuple(f"{n:05}" for n in range(10_000))
    assert difference(many, (*many[:4000], "x", *many[4000:])) == ([], ["x"])
    assert difference(many, many[:9000] + many[9001:]) == (["09000"], [])
    assert difference(many, many) == ([], [])
    assert difference((), many)[1] == list(reversed(many))
