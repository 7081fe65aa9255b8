# SPDX-License-Identifier: Apache-2.0
"""What symbols meant in earlier releases of OVN.

compile.flow asks when a match names one of them.  igmp, mldv1 and mldv2 once held for
packets to any link-layer address; since OVN 24.03.3 (and 23.06.5, 23.09.5; commit
43c34f2e6f95) those to groups alone.  A northd of before relies on what they meant.
"""

from __future__ import annotations

import re
from typing import Final

_SINCE: Final = {(23, 6): 5, (23, 9): 5, (24, 3): 3}
_EARLIER: Final = {
    "igmp": "(ip4 && ip.proto == 2)",
    "mldv1": "(ip6.src == fe80::/10 && icmp6.type == {130, 131, 132})",
    "mldv2": "(ip6.dst == ff02::16 && icmp6.type == 143)",
}
_SYMBOL: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![\w.$@])(igmp|mldv[12])(?![\w.])', re.DOTALL)


def groups_alone(version: str) -> bool:
    """Whether the symbols hold for packets to groups alone.

    version: as northd writes it (SB_Global options:northd_internal_version), such as
    "23.03.1-20.27.0-70.6"; what is not one is taken for new.
    """
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if found is None:
        return True
    year, month, patch = map(int, found.groups())
    return patch >= _SINCE.get((year, month), 0) and (year, month) >= min(_SINCE)


def earlier(match: str) -> str:
    """The match as a release of before is to be understood."""
    if "igmp" not in match and "mldv" not in match:
        return match
    return _SYMBOL.sub(lambda found: _EARLIER.get(found[0], found[0]), match)
