# SPDX-License-Identifier: Apache-2.0
"""plaindata's classes against the standard library's, on the same class bodies."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import typing
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from ovn_bpf_controller import plaindata

IMPLEMENTATIONS: list[Any] = [plaindata, dataclasses]
T = TypeVar("T")


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


def test_fields_keep_their_names() -> None:
    """Classes of one shape share code."""

    @plaindata.dataclass(slots=True)
    class One:
        a: int
        b: int = 1
        c: list[int] = plaindata.field(default_factory=list)

    @plaindata.dataclass(slots=True)
    class Other:
        b: str
        a: str = "a"
        d: list[str] = plaindata.field(default_factory=lambda: ["d"])

    one, other = One(5), Other(b="x")
    assert (one.a, one.b, one.c) == (5, 1, [])
    assert (other.b, other.a, other.d) == ("x", "a", ["d"])
    assert One(1, c=[2]) == One(a=1, b=1, c=[2]) and Other("b", "c").a == "c"


class Pickled(plaindata.NamedTuple):
    """At the top, where pickle finds it."""

    number: int
    text: str = "x"


def tuples(how: Any) -> tuple[Any, Any, Any]:
    class Plain(how.NamedTuple):  # type: ignore[misc]
        """Said of it."""

        number: int
        text: str = "x"

        @property
        def twice(self) -> int:
            return int(self.number * 2)

    class Of(how.NamedTuple, Generic[T]):  # type: ignore[misc]
        value: T

    class Sub(Plain):
        __slots__ = ()
        KIND = "sub"

    return Plain, Of, Sub


@pytest.mark.parametrize("how", [plaindata, typing])
def test_named_tuples(how: Any) -> None:
    plain, of, sub = tuples(how)
    a = plain(1)
    assert a == (1, "x") == plain(text="x", number=1) == plain(1, "x")
    assert (a.number, a.text, a.twice, a[1], len(a)) == (1, "x", 2, "x", 2)
    assert hash(a) == hash((1, "x")) and sorted([plain(2), a]) == [a, plain(2)]
    assert repr(a) == "Plain(number=1, text='x')" and plain.__doc__ == "Said of it."
    assert a._replace(text="y") == (1, "y") and a._asdict() == {"number": 1, "text": "x"}
    assert plain._make([3, "z"]) == (3, "z") and type(plain._make([3, "z"])) is plain
    assert plain._fields == plain.__match_args__ == ("number", "text")
    assert plain._field_defaults == {"text": "x"}
    assert copy.copy(a) == a == copy.deepcopy(a) and type(copy.copy(a)) is plain
    assert json.dumps(a) == '[1, "x"]'
    assert of(3).value == 3 == of[int](3).value
    match a:
        case plain(number, text):
            assert (number, text) == (1, "x")
        case _:
            pytest.fail("no match")
    assert not hasattr(a, "__dict__") and type(plain) is type
    with pytest.raises(AttributeError):
        a.number = 2

    b = sub(5)
    assert (type(b), b.twice, b.KIND, type(b._replace(number=6))) == (sub, 10, "sub", sub)


@pytest.mark.parametrize("how", [plaindata, typing])
def test_a_subclass_may_be_called_first(how: Any) -> None:
    plain, _, sub = tuples(how)
    assert type(sub(5)) is sub and type(plain(5)) is plain and type(sub(6, text="y")) is sub


@pytest.mark.parametrize("how", [plaindata, typing])
def test_wrong_calls_of_named_tuples(how: Any) -> None:
    plain, _, _ = tuples(how)
    for _ in range(2):  # the first call makes the __new__
        for args in ((), (1, "x", 2)):
            with pytest.raises(TypeError):
                plain(*args)
        with pytest.raises(TypeError):
            plain(1, colour="red")
    with pytest.raises(ValueError, match="colour"):
        plain(1)._replace(colour="red")
    with pytest.raises(TypeError):
        plain._make([1])


def test_pickle() -> None:
    assert pickle.loads(pickle.dumps(Pickled(4))) == Pickled(4)
