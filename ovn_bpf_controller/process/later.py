# SPDX-License-Identifier: Apache-2.0
"""Modules that are imported by others and seldom used: loaded when they are.

python-ovs imports ssl and logging at once, pathlib urllib.parse: a tenth of what all our
imports cost; the packages cli and slowpath put them off.  None is ours, so an upgrade of
this package beneath a running agent mixes nothing.  Not importlib's LazyLoader: there a
second `import` of a module loads it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until somebody wants something of it."""

    def __getattr__(self, name: str) -> Any:
        # The import system looks, too, and need not know; of a package it wants to know
        # where others are that lie in it.
        if name.startswith("__") and not (name == "__path__" and self.package):
            raise AttributeError(name)
        return getattr(self.load(), name)

    package: bool

    def load(self) -> ModuleType:
        """The module itself, from now on also for whoever imports it."""
        name = self.__name__
        if sys.modules.get(name) is self:
            parent = sys.modules.get(name.rpartition(".")[0])
            if isinstance(parent, _Later):
                parent.load()
            del sys.modules[name]
            module = importlib.import_module(name)
            for child, other in list(sys.modules.items()):
                if isinstance(other, _Later) and child.rpartition(".")[0] == name:
                    setattr(module, child.rpartition(".")[2], other)
            vars(self).update(vars(module))
        return importlib.import_module(name)


def put_off(*names: str, package: bool = False, **known: Any) -> None:
    """The first use of each of these modules loads it; ones that are loaded stay so.

    package: whether they have modules in them.  known: members of theirs, by name, that
    need no loading until something else does.
    """
    for name in names:
        if name in sys.modules:
            continue
        sys.modules[name] = later = _Later(name)
        vars(later).update(known, package=package)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, later)


def called(module: str, name: str) -> Callable[..., Any]:
    """Something that loads a module, put off, when it is called, and calls its `name`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        found = sys.modules[module]
        real = found.load() if isinstance(found, _Later) else found
        return getattr(real, name)(*args, **kwargs)

    return call
