# SPDX-License-Identifier: Apache-2.0
"""Guests that ask for their addresses, as real ones do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ovn_bpf_controller.sandbox import process
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
    command = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "60", "-T", "1"]
    done = subprocess.run(
        ["ip", "netns", "exec", bed.ports[port].netns, *command, "-O", "mtu", "-O", "121"]
        + ["-s", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


DHCLIENT = """#!/bin/sh
case "$reason" in
    BOUND|BOUND6|RENEW6) env | grep ^new_ ; echo done=$reason ;;
    EXPIRE6|RELEASE6|STOP6|RELEASE) echo done=$reason ;;
esac >>&3
exit 0
"""


def dhclient(
    bed: Sandbox, port: str, tmp_path: Path, *options: str, config: str = ""
) -> dict[str, str]:
    """What isc-dhcp-client's dhclient got, by the names that its script knows.

    options: "-6" and so on; config: of dhclient.conf(5).
    """
    files = {name: tmp_path / name for name in ("script", "conf", "leases", "pid", "got")}
    files["script"].write_text(DHCLIENT.replace("&3", f"'{files['got']}'"))
    files["script"].chmod(0o755)
    files["conf"].write_text(config)
    files["got"].touch()
    command = ["dhclient", "-1", "-d", "-v", *options, "-cf", str(files["conf"])]
    command += ["-lf", str(files["leases"]), "-pf", str(files["pid"]), "-sf", str(files["script"])]
    client = bed.ports[port].start(*command, "eth0")
    try:
        process.wait_until(
            lambda: "done=" in files["got"].read_text() or client.poll() is not None,
            90.0,
            "dhclient to be told",
        )
    finally:
        client.terminate()
        printed = client.communicate()
    got = files["got"].read_text()
    assert "done=" in got, printed
    return dict(line.split("=", 1) for line in got.splitlines() if "=" in line)


def serve6(bed: Sandbox, options: dict[str, str], *ports: str) -> str:
    """Gives ports DHCPv6 options; returns the row."""
    row = bed.nbctl("create", "dhcp_options", 'cidr="fd00::/64"')
    bed.nbctl("dhcp-options-set-options", row, *(f"{n}={v}" for n, v in options.items()))
    for port in ports:
        bed.nbctl("lsp-set-dhcpv6-options", port, row)
    bed.nbctl("--wait=hv", "sync")
    return row
