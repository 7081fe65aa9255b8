# SPDX-License-Identifier: Apache-2.0
"""Lines that log() makes in a chassis' log, for tests of ACL logging."""

from __future__ import annotations

import re

from ovn_bpf_controller.sandbox.chassis import Chassis


def acl_lines(chassis: Chassis, name: str = "") -> list[str]:
    """Lines in the chassis' log, without time and number.

    name: of the ACL, in quotation marks as it is logged; empty for all.
    """
    return [
        # The real one numbers its threads as they come.
        re.sub(r"^acl_log\(ovn_pinctrl\d\)", "acl_log(ovn_pinctrl0)", line.split("|", 2)[2])
        for line in chassis.log().splitlines()
        if "|acl_log(" in line and (not name or f"|name={name}, " in line)
    ]
