# SPDX-License-Identifier: Apache-2.0
"""dataclasses that cost little to define: what the daemon imports takes these.

The standard library compiles six functions for each of 180 classes when they are
imported, a third of the time that importing took.  Here a class gets its __init__
when the first object is made.  Type checkers see the standard library's, and hold
frozen classes to be so; at run time nothing does, which makes objects cheaper, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
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
    scope: dict[str, Any] = {"_missing": _MISSING}
    parameters, lines = ["self"], []
    for n, each in enumerate(known):
        name = each.name
        if each.default_factory is not _MISSING:
            scope[f"_make{n}"] = each.default_factory
            parameters.append(f"{name}=_missing")
            lines.append(f" self.{name} = _make{n}() if {name} is _missing else {name}")
            continue
        if each.default is not _MISSING:
            scope[f"_default{n}"] = each.default
            parameters.append(f"{name}=_default{n}")
        else:
            parameters.append(name)
        lines.append(f" self.{name} = {name}")
    text = f"def __init__({', '.join(parameters)}):\n" + ("\n".join(lines) or " pass")
    exec(text, scope)
    made: Callable[..., None] = scope["__init__"]
    return made
