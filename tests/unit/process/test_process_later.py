# SPDX-License-Identifier: Apache-2.0
"""What is put off is not loaded by the daemon's imports, and is there when it is used.

In processes of their own: pytest has loaded all of it long since.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

_PUT_OFF = ("platform", "datetime", "traceback", "logging.handlers", "shutil", "ssl", "tempfile")


def run(code: str) -> Any:
    """What `code` leaves in `found`, in a fresh interpreter."""
    text = f"import json, sys\n{code}\nprint(json.dumps(found))"
    done = subprocess.run([sys.executable, "-c", text], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_the_daemon_starts_without_them() -> None:
    kinds = run(
        "import ovn_bpf_controller.cli.controller, ovn_bpf_controller.agent\n"
        f"found = {{n: type(sys.modules[n]).__name__ for n in {_PUT_OFF!r}}}"
    )
    assert kinds == dict.fromkeys(_PUT_OFF, "_Later")


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("import ssl; found = ssl.TLSVersion.TLSv1_3.name", "TLSv1_3"),
        ("from ssl import TLSVersion; found = TLSVersion.TLSv1_3.name", "TLSv1_3"),
        ("import logging; found = logging.handlers.SYSLOG_UDP_PORT", 514),
        ("import logging.handlers as h; found = h.SysLogHandler.__name__", "SysLogHandler"),
        ("import ovs.vlog; found = ovs.vlog.datetime.date(2023, 3, 1).isoformat()", "2023-03-01"),
        ("import platform; found = [platform.system(), bool(platform.release())]", ["Linux", True]),
        ("import platform; platform.release(); found = platform.system()", "Linux"),
        ("import traceback; found = traceback.format_exc().strip()", "NoneType: None"),
    ],
)
def test_they_are_there_when_they_are_used(use: str, expected: object) -> None:
    assert run(f"import ovn_bpf_controller.cli\n{use}") == expected


def test_a_module_that_is_loaded_stays_so() -> None:
    found = run(
        "import ssl; before = ssl; import ovn_bpf_controller.cli; import ssl\n"
        "found = [before is ssl, type(ssl).__name__]"
    )
    assert found == [True, "module"]


def test_it_becomes_the_real_one_for_all() -> None:
    found = run(
        "import ovn_bpf_controller.cli, ssl as early; early.SSLError; import ssl\n"
        "found = [type(ssl).__name__, early.SSLError is ssl.SSLError, early is ssl]"
    )
    assert found == ["module", True, False]
