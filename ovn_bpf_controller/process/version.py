# SPDX-License-Identifier: Apache-2.0
"""What we say when somebody asks ovn-controller for its version.

ovn-lib's stop_ovn_daemon reads the last word of the first line and asks for a
graceful exit only from 2.5.90 on, so that line carries the OVN release whose
behaviour we have; our own release follows on a line of its own.
"""

from __future__ import annotations

import ovs.version

from ovn_bpf_controller import __version__

OVN_VERSION = "23.03.1"
"""The OVN release whose ovn-controller we stand in for."""

SB_SCHEMA_VERSION = "20.27.0"
"""The Southbound schema of that release."""


def program_version() -> str:
    """Two lines: what the control command `version` replies."""
    return f"ovn-controller {OVN_VERSION}\nOpen vSwitch Library {ovs.version.VERSION}"


def full_version() -> str:
    """What --version prints: those two lines, OpenFlow, the schema, our release."""
    return (
        f"{program_version()}\nOpenFlow versions 0x6:0x6\n"
        f"SB DB Schema {SB_SCHEMA_VERSION}\novn-bpf-controller {__version__}\n"
    )
