# SPDX-License-Identifier: Apache-2.0
"""Guests that ask for their addresses, as real ones do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ovn_bpf_controller.sandbox.bed import Sandbox

CLIENT = """#!/bin/sh
[ "$1" = bound ] && env | grep -E '^(ip|mask|router|dns|mtu|domain|lease|serverid|staticroutes)='
exit 0
"""


def serve(bed: Sandbox, options: dict[str, str], *ports: str) -> None:
    """Gives ports DHCPv4 options."""
    row = bed.nbctl("create", "dhcp_options", 'cidr="10.0.0.0/24"')
    bed.nbctl("dhcp-options-set-options", row, *(f"{n}={v}" for n, v in options.items()))
    for port in ports:
        bed.nbctl("lsp-set-dhcpv4-options", port, row)
    bed.nbctl("--wait=hv", "sync")


def client(bed: Sandbox, port: str, tmp_path: Path) -> dict[str, str]:
    """What busybox's udhcpc got."""
    script = tmp_path / "script"
    script.write_text(CLIENT)
    script.chmod(0o755)
    command = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "20", "-T", "1"]
    done = subprocess.run(
        ["ip", "netns", "exec", bed.ports[port].netns, *command, "-O", "mtu", "-O", "121"]
        + ["-s", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
