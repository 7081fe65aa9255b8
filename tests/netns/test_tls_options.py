# SPDX-License-Identifier: Apache-2.0
"""TLS files named on the command line, after OVN's ovn-controller.at.

`ovn-controller - ssl files change when using command line options`: what is in the files
counts whenever a connection is made.  The real one drops a good connection when they go
(it finds the error of the reading in OpenSSL's queue); ours keeps it as long as it lasts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis, agent_command
from ovn_bpf_controller.sandbox.underlay import Addresses
from tests.support.certs import Authority, Pem

KINDS = ("alone", "oracle")
TOPOLOGY = """
chassis: {hv1: $agent}
"""
PORT = 16642


class Files:
    """Where an agent looks for its key and certificate, and the authority of both."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory / "ca")
        self.right, self.wrong = (self.authority.issue(name) for name in ("hv1", "hv2"))
        self.mine = Pem(directory / "mine.key", directory / "mine.pem")

    def put(self, key: Path, cert: Path) -> None:
        for source, target in ((key, self.mine.key), (cert, self.mine.cert)):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").rename(target)

    def remove(self) -> None:
        self.mine.key.unlink()
        self.mine.cert.unlink()


def start(chassis: Chassis, files: Files) -> None:
    """The agent begins anew with the files as options."""
    chassis.stop_agent()
    pid = chassis.spawn(
        *agent_command(chassis.spec.agent),
        *(f"unix:{chassis.root}/db.sock", "--pidfile", "--log-file", "-vconsole:off"),
        *("-p", str(files.mine.key), "-c", str(files.mine.cert)),
        *("-C", str(files.authority.pem.cert)),
    )
    chassis.await_agent(pid)


def test_files_of_the_command_line_count_when_they_change(bed: Sandbox, tmp_path: Path) -> None:
    hv1, server, files = bed.chassis["hv1"], Addresses.server("ipv4"), Files(tmp_path)

    def status(wanted: str) -> None:
        process.wait_until(lambda: hv1.appctl("connection-status") == wanted, 60, wanted)

    def serve() -> None:
        bed.stop_database("sb")
        remote = f"--remote=pssl:{PORT}:{server}"
        bed.start_database("sb", remote, *files.authority.server_options())

    serve()
    hv1.vsctl("--no-wait", "set", "open", ".", f'external_ids:ovn-remote="ssl:{server}:{PORT}"')
    files.put(files.wrong.key, files.right.cert)
    start(hv1, files)
    status("not connected")
    files.put(files.right.key, files.right.cert)
    status("connected")
    files.remove()
    if hv1.ours:
        serve()
    status("not connected")
    files.put(files.right.key, files.right.cert)
    status("connected")
