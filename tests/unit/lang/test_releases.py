# SPDX-License-Identifier: Apache-2.0
"""What symbols meant in earlier releases; with packets: tests/differential/test_found.py."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.lang.releases import earlier, groups_alone


@pytest.mark.parametrize(
    ("version", "alone"),
    [
        ("22.03.8-20.21.0-58.3", False),
        ("23.03.1-20.27.0-70.6", False),
        ("23.06.4-20.27.2-73.6", False),
        ("23.06.5-20.27.2-73.6", True),
        ("23.09.4-20.29.0-77.6", False),
        ("23.09.5-20.29.0-77.6", True),
        ("24.03.2-20.33.0-77.6", False),
        ("24.03.3-20.33.0-77.6", True),
        ("24.09.0-20.37.0-81.7", True),
        ("26.03.1-21.7.0-88.4", True),
        ("", True),
        ("unknown", True),
    ],
)
def test_the_release_tells(version: str, alone: bool) -> None:
    """Those that have the change, by OVN's tags."""
    assert groups_alone(version) == alone


def test_symbols_are_replaced_and_nothing_else() -> None:
    assert earlier("ip4 && igmp") == "ip4 && (ip4 && ip.proto == 2)"
    assert earlier("nd || mldv1 || mldv2") == (
        "nd || (ip6.src == fe80::/10 && icmp6.type == {130, 131, 132})"
        " || (ip6.dst == ff02::16 && icmp6.type == 143)"
    )
    for text in ('inport == "igmp"', "ip4.src == $igmp", "inport == @mldv1", "igmp2 == 1", "ip4"):
        assert earlier(text) == text
