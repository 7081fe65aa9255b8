# SPDX-License-Identifier: Apache-2.0
"""plaindata.dataclass against the standard library's, on the same class bodies."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, ClassVar

import pytest

from ovn_bpf_controller import plaindata

IMPLEMENTATIONS: list[Any] = [plaindata, dataclasses]


def classes(how: Any) -> tuple[Any, Any, Any]:
    """A base, a class derived from it, and one that may be changed."""

    @how.dataclass(frozen=True, slots=True)
    class Base:
        KIND: ClassVar[str] = "base"
        name: str

    @how.dataclass(frozen=True, slots=True)
    class Derived(Base):
        KIND: ClassVar[str] = "derived"
        number: int = 7
        options: dict[str, str] = how.field(default_factory=dict)

        @property
        def twice(self) -> int:
            return self.number * 2

    @how.dataclass(slots=True)
    class Open:
        numbers: list[int] = how.field(default_factory=list)
        name: str = "open"

    return Base, Derived, Open


@pytest.mark.parametrize("how", IMPLEMENTATIONS)
def test_objects(how: Any) -> None:
    base, derived, open_ = classes(how)
    a, b = derived("x"), derived("x", 7)
    assert (a.name, a.number, a.options, a.twice) == ("x", 7, {}, 14)
    assert a == b and a != derived("y") and a != derived("x", 8)
    assert a.options is not b.options
    assert base("x") != a and a != base("x") and base("x") == base("x")
    assert hash(base("x")) == hash(base("x"))
    assert repr(a).endswith("Derived(name='x', number=7, options={})")
    assert (base.KIND, derived.KIND, a.KIND) == ("base", "derived", "derived")
    assert [f.name for f in how.fields(derived)] == ["name", "number", "options"]
    assert how.fields(a)[1].default == 7
    assert how.fields(a)[0].default is how.MISSING
    assert how.fields(a)[2].default_factory is dict
    assert how.replace(a, number=9) == derived("x", 9)
    assert copy.copy(a) == a and copy.deepcopy(a) == a
    assert not hasattr(a, "__dict__")
    assert derived.__match_args__ == ("name", "number", "options")

    one, other = open_(), open_()
    one.numbers.append(1)
    one.name = "changed"
    assert (one.numbers, other.numbers, one == other) == ([1], [], False)
    with pytest.raises(TypeError):
        hash(one)


@pytest.mark.parametrize("how", IMPLEMENTATIONS)
def test_wrong_calls(how: Any) -> None:
    _, derived, _ = classes(how)
    calls: list[tuple[Any, ...]] = [(), ("a", 1, {}, 2)]
    for wrong in calls:
        with pytest.raises(TypeError):
            derived(*wrong)
    for _ in range(2):  # the first call makes the __init__
        with pytest.raises(TypeError):
            derived("a", colour="red")
    with pytest.raises(TypeError):
        how.replace(derived("a"), colour="red")


@pytest.mark.parametrize("how", IMPLEMENTATIONS)
def test_plain_subclass(how: Any) -> None:
    """A subclass without fields of its own, whose base was never called."""
    base, _, _ = classes(how)

    class Named(base):  # type: ignore[misc, valid-type]
        __slots__ = ()

    assert Named("x") == Named("x") != base("x")
    assert base("x").name == Named(name="x").name == "x"
