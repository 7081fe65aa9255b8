# SPDX-License-Identifier: Apache-2.0
"""What the agent tells and what the slow path then knows are the same, line by line."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.slowpath.knowledge import Knowledge
from ovn_bpf_controller.slowpath.lessons import line

NAMES = st.dictionaries(
    st.sampled_from(("a.org", "b.org")), st.tuples(st.sampled_from(("10.0.0.1", "")), st.booleans())
)
DNS = st.dictionaries(st.sampled_from(("1", "2", "3")), NAMES)
ARGUMENTS = st.dictionaries(
    st.sampled_from(("7", "8")), st.sampled_from(('{"options": []}', '{"relay": 1}'))
)


@given(st.lists(st.tuples(DNS, ARGUMENTS), min_size=1, max_size=5))
def test_what_is_told_is_known(steps: list[tuple[dict[str, Any], dict[str, str]]]) -> None:
    known, last = Knowledge(), dict[str, Any]()
    for number, (dns, arguments) in enumerate(steps, 1):
        now = {"dns": dns, "arguments": arguments}
        known.learn(line(number, last, now))
        last = now
        assert known.lesson == number
        assert known.dns == {int(key): names for key, names in dns.items()}
        assert known.arguments == {int(n): json.loads(text) for n, text in arguments.items()}


def test_only_what_is_different_is_said() -> None:
    before = {"dns": {"1": {"a.org": ["10.0.0.1", True]}, "2": {}, "3": {}}, "dhcp_options": {}}
    now = {"dns": {"1": before["dns"]["1"], "2": {"b.org": ["10.0.0.2", True]}}}
    said = json.loads(line(5, before, now))
    assert said == {"lesson": 5, "dns": {"2": {"b.org": ["10.0.0.2", True]}, "3": None}}
