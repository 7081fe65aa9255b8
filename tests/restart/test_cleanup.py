# SPDX-License-Identifier: Apache-2.0
"""`ovn-bpf-ctl cleanup` gives a host back that a dead agent left its programs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from tests.support import traffic
from tests.support.beds import OURS

KINDS = OURS
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""


def cleanup(chassis: Chassis) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        chassis.argv(sys.executable, "-m", "ovn_bpf_controller.cli.ctl", "cleanup"),
        env={**os.environ, **chassis.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_cleanup_leaves_nothing_and_touches_no_running_agent(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    refused = cleanup(hv1)
    assert refused.returncode == 1 and "already running as pid" in refused.stderr
    assert traffic.answers(bed, "vm1", "vm2")

    hv1.stop_agent(signal.SIGKILL)
    assert traffic.answers(bed, "vm1", "vm2")
    done = cleanup(hv1)
    assert done.returncode == 0, done.stderr
    assert "removed /sys/fs/bpf/ovn-bpf/" in done.stdout
    assert hv1.run("find", "/sys/fs/bpf", "-name", "ovn*") == ""
    assert traffic.silent(bed, "vm1", "vm2")
    again = cleanup(hv1)
    assert (again.returncode, again.stdout) == (0, "")

    hv1.start_agent()
    bed.sync()
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm1", "vm2"))
