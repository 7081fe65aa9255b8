# SPDX-License-Identifier: Apache-2.0
"""A Southbound over TLS that gives chassis the role ovn-controller, as in production.

The certificate's common name is the chassis's; what else is wrong is said in the log,
tried again at reconnect's pace, and costs no traffic.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from ovn_bpf_controller.sandbox.underlay import Addresses
from tests.support import traffic
from tests.support.beds import OURS
from tests.support.certs import Authority, Pem

KINDS = OURS[:1]
TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv2}
"""
PORT = 16642


class Pki:
    """The authority, the server that it vouches for, and where hv1 has its files."""

    def __init__(self, bed: Sandbox, directory: Path) -> None:
        self.bed = bed
        self.directory = directory
        self.ca = Authority(directory / "ca")
        self.other = Authority(directory / "other", "other")
        self.mine = Pem(directory / "hv1.key", directory / "hv1.pem")
        self.ca_file = directory / "cacert.pem"
        self.hv1 = bed.chassis["hv1"]

    def serve(self, authority: Authority) -> None:
        """The Southbound's server begins anew with a certificate of `authority`."""
        self.bed.stop_database("sb")
        remote = "--remote=db:OVN_Southbound,SB_Global,connections"
        self.bed.start_database("sb", remote, *authority.server_options())

    def install(self, pem: Pem, ca: Authority) -> None:
        """hv1's files, replaced where they are."""
        for source, target in (
            (pem.key, self.mine.key),
            (pem.cert, self.mine.cert),
            (ca.pem.cert, self.ca_file),
        ):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").rename(target)


def connected(chassis: Chassis) -> bool:
    return chassis.appctl("connection-status") == "connected"


def says(chassis: Chassis, text: str, since: int) -> None:
    """Waits for a line of the log that is not older than its first `since` characters."""
    log = chassis.root / "ovn-controller.log"
    process.wait_until(lambda: text in log.read_text()[since:], 60, f"{text!r} in the log")


def size(chassis: Chassis) -> int:
    return len((chassis.root / "ovn-controller.log").read_text())


@pytest.fixture(scope="module")
def pki(bed: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pki]:
    """hv1 by TLS with the role, hv2 as ever."""
    made = Pki(bed, tmp_path_factory.mktemp("pki"))
    hv1 = made.hv1
    server = Addresses.server(bed.topology.underlay)
    remote = hv1.vsctl("get", "Open_vSwitch", ".", "external_ids:ovn-remote").strip('"')
    made.install(made.ca.issue("hv1"), made.ca)
    bed.sbctl("set-connection", "role=ovn-controller", f"pssl:{PORT}:{server}")
    made.serve(made.ca)
    hv1.vsctl("set-ssl", str(made.mine.key), str(made.mine.cert), str(made.ca_file))
    hv1.vsctl("set", "Open_vSwitch", ".", f'external_ids:ovn-remote="ssl:{server}:{PORT}"')
    yield made
    hv1.vsctl("set", "Open_vSwitch", ".", f'external_ids:ovn-remote="{remote}"')


@pytest.fixture(autouse=True)
def right(pki: Pki) -> None:
    """Every test begins with files that fit, and a connection."""
    if not pki.mine.cert.exists() or not connected(pki.hv1):
        pki.install(pki.ca.issue("hv1"), pki.ca)
    process.wait_until(lambda: connected(pki.hv1), 60, "a connection by TLS")


def test_ports_are_claimed_within_the_role(bed: Sandbox, pki: Pki) -> None:
    before = size(pki.hv1)
    bed.unplug("vm1")
    bed.plug("vm1", "hv1")
    bed.sync()
    assert traffic.answers(bed, "vm1", "vm2")
    pki.hv1.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-cms-options=a")
    bed.sbctl("--timeout=60", "wait-until", "chassis", "hv1", "other_config:ovn-cms-options=a")
    assert "permission" not in (pki.hv1.root / "ovn-controller.log").read_text()[before:]
    established = bed.run_in_underlay("ss", "-Htn", "state", "established")
    assert f":{PORT}" in established


def test_new_files_are_read_when_they_are_needed(bed: Sandbox, pki: Pki) -> None:
    """The whole authority changes while everything runs, and back."""
    for authority in (pki.other, pki.ca):
        pki.install(authority.issue("hv1"), authority)
        assert connected(pki.hv1)  # the connection is good as long as it lasts
        assert traffic.answers(bed, "vm1", "vm2")
        pki.serve(authority)
        process.wait_until(lambda: connected(pki.hv1), 60, "a connection with the new files")
        bed.sync()


@pytest.mark.long  # each waits for reconnect's pauses, of 8 seconds
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("server of another authority", "certificate verify failed"),
        ("our certificate of another authority", "unknown ca"),
        ("our certificate expired", "certificate expired"),
        ("no certificate", "No such file"),
    ],
)
def test_what_is_wrong_is_said_and_tried_again_in_peace(
    bed: Sandbox, pki: Pki, fault: str, text: str
) -> None:
    before = size(pki.hv1)
    if fault == "server of another authority":
        pki.install(pki.ca.issue("hv1"), pki.other)
    elif fault == "our certificate of another authority":
        pki.install(pki.other.issue("hv1"), pki.ca)
    elif fault == "our certificate expired":
        pki.install(pki.ca.issue("hv1", days=-1), pki.ca)
    else:
        pki.mine.cert.unlink()
    pki.serve(pki.ca)  # the connection goes, and cannot come back
    says(pki.hv1, text, before)
    spent, start = cpu(pki.hv1), time.monotonic()
    process.wait_until(lambda: time.monotonic() > start + 2, 60, "two seconds")
    assert cpu(pki.hv1) - spent < (time.monotonic() - start) / 2
    assert not connected(pki.hv1)
    assert traffic.answers(bed, "vm1", "vm2")
    pki.install(pki.ca.issue("hv1"), pki.ca)
    process.wait_until(lambda: connected(pki.hv1), 60, "a connection again")
    bed.sync()


def test_a_certificate_of_another_chassis_may_write_nothing(bed: Sandbox, pki: Pki) -> None:
    before = size(pki.hv1)
    pki.install(pki.ca.issue("hv7"), pki.ca)
    pki.serve(pki.ca)
    process.wait_until(lambda: connected(pki.hv1), 60, "a connection")
    pki.hv1.vsctl("set", "Open_vSwitch", ".", "external_ids:ovn-cms-options=b")
    says(pki.hv1, "permission error", before)
    spent, start = cpu(pki.hv1), time.monotonic()
    process.wait_until(lambda: time.monotonic() > start + 2, 60, "two seconds")
    assert cpu(pki.hv1) - spent < (time.monotonic() - start) / 2
    shown = bed.sbctl("get", "chassis", "hv1", "other_config:ovn-cms-options")
    assert shown.strip('"') != "b"
    assert traffic.answers(bed, "vm1", "vm2")
    pki.install(pki.ca.issue("hv1"), pki.ca)
    pki.serve(pki.ca)
    bed.sbctl("--timeout=60", "wait-until", "chassis", "hv1", "other_config:ovn-cms-options=b")


def cpu(chassis: Chassis) -> float:
    """Seconds of CPU that the agent has had."""
    fields = Path(f"/proc/{chassis.agent_pid()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
