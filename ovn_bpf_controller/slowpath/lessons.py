# SPDX-License-Identifier: Apache-2.0
"""What the agent tells the slow path anew, as a line of JSON: slowpath.knowledge reads it.

Of what is large, flows' arguments and names, only the keys that are different are said,
so that a name that changes among tens of thousands holds up neither process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

# Members that are objects of which a line has what is new; null: it is gone.
BY_KEY: Final = frozenset({"arguments", "dns"})


def line(number: int, last: Mapping[str, Any], changed: Mapping[str, Any]) -> bytes:
    """last: what was told before, by member.  changed: members that are different now."""
    said = {
        name: _different(last.get(name, {}), told) if name in BY_KEY else told
        for name, told in changed.items()
    }
    return json.dumps({**said, "lesson": number}).encode() + b"\n"


def _different(last: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    gone = dict.fromkeys(last.keys() - told.keys())
    return gone | {key: value for key, value in told.items() if last.get(key) != value}


def merged(last: Mapping[int, Any], heard: Mapping[int, Any]) -> dict[int, Any]:
    """What is known of a member of BY_KEY, by what was known and what has come."""
    return {key: value for key, value in {**last, **heard}.items() if value is not None}
