# SPDX-License-Identifier: Apache-2.0
"""What was learnt of shapes when the package was built, so that a start need not.

tools/known_shapes.py writes shapes.bin beside this file: the templates of flows that
ovn-northd is known to write (tools/northd_flows.txt).  templates and action_templates
look here before they learn a shape, and without the file learn everything themselves.
It is made of lang and compile: one that another version of them made is not used.
"""

from __future__ import annotations

import marshal
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from ovn_bpf_controller import digests
from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.plaindata import NamedTuple

PATH: Final = Path(__file__).with_name("shapes.bin")
_SOURCES: Final = ("lang", "compile")


class Known(NamedTuple):
    """matches, actions: what templates and action_templates gave to be kept, by shape.

    constants: actions and matches without literals.  prereqs: a list of actions with
    each of the prerequisites that the others name.
    """

    matches: Mapping[object, bytes] = {}
    actions: Mapping[object, bytes] = {}
    constants: Mapping[object, bytes] = {}
    prereqs: Mapping[str, str] = {}


def digest() -> bytes:
    """Of all that decides what a flow becomes."""
    parts = [str(sys.implementation.cache_tag).encode()]  # marshal's format may differ
    for name in _SOURCES:
        parts += [path.read_bytes() for path in sorted((PATH.parent.parent / name).rglob("*.py"))]
    parts.append(str(ffi.string(lib.ovn_layout_hash)).encode())  # include/ovn_bpf
    parts.append(bytes(getattr(lib, name) for name in dir(lib) if name.startswith("OVN_LIT_")))
    return digests.digest(b"".join(parts))


@cache
def known() -> Known:
    """What the build left; nothing if that is of another version."""
    try:
        version, content = marshal.loads(PATH.read_bytes())
        if version != digest():
            return Known()
        return Known(*marshal.loads(content))
    except (OSError, EOFError, ValueError, TypeError):
        return Known()  # no more than slower


def save(found: Known, path: Path) -> None:
    """What known() reads."""
    content = marshal.dumps(tuple(dict(each) for each in found))
    path.write_bytes(marshal.dumps((digest(), content)))


def plain(value: Any) -> Any:
    """Tuples and what is made of them as marshal takes it."""
    return tuple(map(plain, value)) if isinstance(value, tuple) else value
