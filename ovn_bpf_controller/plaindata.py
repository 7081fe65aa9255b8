# SPDX-License-Identifier: Apache-2.0
"""dataclasses and named tuples that cost little to define: the daemon's are these.

The standard library compiles six functions for each of 180 data classes when they are
imported, and one for each of 50 named tuples: a third of the time that importing took.
Here a class gets its __init__ or __new__ when the first object is made, and those of
one shape are compiled once.  Type checkers see the standard library's, and hold frozen
classes to be so; at run time nothing does, which makes objects cheaper, too.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, TypeVar

T = TypeVar("T")
C = TypeVar("C", bound=type)

_MISSING: Final[Any] = object()


class _Field:
    """A field as fields() tells of it; see dataclasses.Field."""

    __slots__ = ("default", "default_factory", "name", "type")

    def __init__(self, default: Any = _MISSING, default_factory: Any = _MISSING) -> None:
        self.name = ""
        self.type = ""
        self.default = default
        self.default_factory = default_factory


def _field(*, default: Any = _MISSING, default_factory: Any = _MISSING) -> Any:
    return _Field(default, default_factory)


def _dataclass(*, frozen: bool = False, slots: bool = False) -> Callable[[C], C]:
    def decorate(cls: C) -> C:
        made: C = _make(cls, frozen, slots)
        return made

    return decorate


def _fields(thing: Any) -> tuple[_Field, ...]:
    return tuple(thing.__plain_fields__)


def _changed(thing: T, /, **changes: Any) -> T:
    cls: Any = type(thing)
    for name in cls.__match_args__:
        if name not in changes:
            changes[name] = getattr(thing, name)
    made: T = cls(**changes)
    return made


if TYPE_CHECKING:
    from dataclasses import MISSING as MISSING
    from dataclasses import Field as Field
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import fields as fields
    from dataclasses import replace as replace
    from typing import NamedTuple as NamedTuple
else:
    MISSING, Field = _MISSING, _Field
    dataclass, field, fields, replace = _dataclass, _field, _fields, _changed


# --- the making of a class ------------------------------------------------------------


def _own_fields(namespace: dict[str, Any]) -> Iterable[_Field]:
    for name, annotation in namespace.get("__annotations__", {}).items():
        if annotation.startswith("ClassVar"):
            continue
        value = namespace.pop(name, _MISSING)
        own = value if isinstance(value, _Field) else _Field(value)
        own.name, own.type = name, annotation
        yield own


def _make(cls: Any, frozen: bool, slots: bool) -> Any:
    namespace = dict(cls.__dict__)
    known: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        known |= {f.name: f for f in base.__dict__.get("__plain_fields__", ())}
    inherited = set(known)
    known |= {f.name: f for f in _own_fields(namespace)}
    names = tuple(known)
    if slots:
        namespace["__slots__"] = tuple(name for name in names if name not in inherited)
        namespace.pop("__dict__", None)
        namespace.pop("__weakref__", None)
    values = _values(names)
    namespace.setdefault("__repr__", _repr)
    namespace.setdefault("__eq__", _equal(values))
    if frozen:
        namespace.setdefault("__hash__", lambda self: hash(values(self)))
    else:
        namespace["__hash__"] = None
    namespace["__match_args__"] = names
    namespace["__plain_fields__"] = tuple(known.values())
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    if "__init__" not in namespace:
        made.__init__ = _first_init(made)
    return made


def _values(names: tuple[str, ...]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _equal(values: Callable[[Any], Any]) -> Callable[[Any, object], Any]:
    def equal(self: Any, other: object) -> Any:
        if other.__class__ is self.__class__:
            return self is other or values(self) == values(other)
        return NotImplemented

    return equal


def _repr(self: Any) -> str:
    told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({told})"


def _first_init(cls: Any) -> Callable[..., None]:
    """An __init__ that puts the real one in its place when it is first called."""

    def init(self: Any, /, *args: Any, **kwargs: Any) -> None:
        cls.__init__ = _compile_init(cls.__plain_fields__)
        cls.__init__(self, *args, **kwargs)

    return init


def _compile_init(known: tuple[_Field, ...]) -> Callable[..., None]:
    """The __init__ that dataclasses would make."""
    scope: dict[str, Any] = {"_missing": _MISSING}
    kinds, defaults, names = "", [], {}
    for n, each in enumerate(known):
        names[f"_{n}"] = each.name
        if each.default_factory is not _MISSING:
            scope[f"_make{n}"] = each.default_factory
            defaults.append(_MISSING)
            kinds += "f"
            continue
        if each.default is not _MISSING:
            defaults.append(each.default)
        kinds += "v"
    made: Callable[..., None] = _renamed(_init_of(kinds), names, scope, defaults)
    return made


@cache
def _init_of(kinds: str) -> CodeType:
    """kinds: of each field, v a value or f one that a function makes when none is given."""
    lines = [
        f" self._{n} = _make{n}() if _{n} is _missing else _{n}"
        if kind == "f"
        else f" self._{n} = _{n}"
        for n, kind in enumerate(kinds)
    ]
    return _compiled("__init__", "self", len(kinds), lines)


# --- functions that differ in names alone -----------------------------------------------


def _compiled(name: str, first: str, count: int, lines: list[str]) -> CodeType:
    """Of a function with `count` parameters after the first: _0, _1, …"""
    parameters = ", ".join([first, *(f"_{n}" for n in range(count))])
    module = compile(f"def {name}({parameters}):\n" + ("\n".join(lines) or " pass"), "", "exec")
    return next(each for each in module.co_consts if isinstance(each, CodeType))


def _renamed(
    code: CodeType, names: Mapping[str, str], scope: dict[str, Any], defaults: Iterable[Any]
) -> Any:
    code = code.replace(
        co_names=tuple(names.get(name, name) for name in code.co_names),
        co_varnames=tuple(names.get(name, name) for name in code.co_varnames),
    )
    return FunctionType(code, scope, code.co_name, tuple(defaults))


# --- named tuples -----------------------------------------------------------------------


class _Tuple(tuple[Any, ...]):
    """What all named tuples have; collections.namedtuple says what each does."""

    __slots__ = ()
    _fields: tuple[str, ...]

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Any:
        made = tuple.__new__(cls, values)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **changes: Any) -> Any:
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"Got unexpected field names: {list(changes)!r}")
        return made

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        told = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{type(self).__name__}({', '.join(told)})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class _TupleMaker(type):
    """Of NamedTuple: a class that names it as its base becomes one of _Tuple."""

    def __new__(meta, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        names = tuple(namespace.get("__annotations__", ()))
        defaults = {each: namespace.pop(each) for each in names if each in namespace}
        namespace |= {each: _tuplegetter(n, None) for n, each in enumerate(names)}
        namespace["__match_args__"] = namespace["_fields"] = names
        namespace["_field_defaults"] = defaults
        namespace["__slots__"] = ()
        others = (base for base in bases if not isinstance(base, _TupleMaker))
        made: Any = type(name, (_Tuple, *others), namespace)
        made.__new__ = _first_new(made)
        return made


def _first_new(made: Any) -> Callable[..., Any]:
    """A __new__ that puts the real one in its place when it is first called."""

    def new(cls: Any, /, *args: Any, **kwargs: Any) -> Any:
        names = {f"_{n}": name for n, name in enumerate(made._fields)}
        scope = {"_new": tuple.__new__}
        real = _renamed(_new_of(len(names)), names, scope, made._field_defaults.values())
        made.__new__ = staticmethod(real)
        return real(cls, *args, **kwargs)

    return staticmethod(new)


@cache
def _new_of(count: int) -> CodeType:
    values = "".join(f"_{n}, " for n in range(count))
    return _compiled("__new__", "_cls", count, [f" return _new(_cls, ({values}))"])


if not TYPE_CHECKING:
    # Not a call of type's, which would look for fields in it.
    NamedTuple = type.__new__(_TupleMaker, "NamedTuple", (), {})
