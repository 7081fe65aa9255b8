# SPDX-License-Identifier: Apache-2.0
"""Modules that are imported by others and seldom used: loaded when they are.

python-ovs imports ssl and logging.handlers at once, which is more than a tenth of
what all our imports cost; the package cli puts them off.  Not importlib's LazyLoader:
there a second `import` of a module loads it.
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
        if name.startswith("__"):
            raise AttributeError(name)  # the import system looks, and need not know
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        vars(self).update(vars(module))
        return getattr(module, name)


def put_off(*names: str, **known: Callable[..., Any]) -> None:
    """The first use of each of these modules loads it; ones that are loaded stay so.

    known: functions of theirs, by name, that need no loading until something else does.
    """
    for name in names:
        if name in sys.modules:
            continue
        sys.modules[name] = later = _Later(name)
        vars(later).update(known)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(importlib.import_module(parent), child, later)
