# SPDX-License-Identifier: Apache-2.0
"""What agents of ours complained of, which in a healthy run is nothing.

OVN's own suite fails on any line of ovn-controller.log at WARN or above.  So does the
`bed` fixture in modules with ANNOUNCED, a tuple of texts that their tests provoke: none
where daemons and devices only come and go as they should.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ovn_bpf_controller.sandbox.bed import Sandbox

_LEVEL = re.compile(r"\|(WARN|ERR|EMER)\|")
# The first is how OVS's daemons, too, take leave.  The others are of OVN's own list.
_HARMLESS = ("terminating with signal", "Unreasonably long", "reset by peer", "Broken pipe")


def complaints(sandbox: Sandbox, announced: Iterable[str]) -> list[str]:
    """Lines of the logs of its chassis, each with the chassis's name."""
    let_pass = (*_HARMLESS, *announced)
    return [
        f"{chassis.name}: {line}"
        for chassis in sandbox.chassis.values()
        if chassis.ours
        for line in chassis.log().splitlines()
        if _LEVEL.search(line) and not any(text in line for text in let_pass)
    ]
