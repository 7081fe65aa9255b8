# SPDX-License-Identifier: Apache-2.0
"""What is put off is not loaded by the daemon's imports, and is there when it is used.

In processes of their own: pytest has loaded all of it long since.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

_PUT_OFF = (
    *("platform", "datetime", "traceback", "logging", "logging.handlers", "shutil", "ssl"),
    *("tempfile", "urllib.parse", "ovs.dns_resolve"),
)
_ABSENT = (
    "sortedcontainers",
    "hashlib",
    "_hashlib",
    "subprocess",
    "locale",
    "string",
    "textwrap",
    "queue",
    "runpy",
)


def run(code: str, *options: str) -> Any:
    """What `code` leaves in `found`, in a fresh interpreter that knows our path."""
    text = f"import sys\n{code}\nimport json\nprint(json.dumps(found))"
    done = subprocess.run(
        [sys.executable, *options, "-c", text],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_the_daemon_starts_without_them() -> None:
    kinds = run(
        "import ovn_bpf_controller.cli.controller, ovn_bpf_controller.agent\n"
        f"found = {{n: type(sys.modules[n]).__name__ for n in {_PUT_OFF!r}}}",
        "-S",  # an editable installation is found by code that has loaded some of them
    )
    assert kinds == dict.fromkeys(_PUT_OFF, "_Later")


def test_the_daemon_starts_without_what_it_has_no_use_for() -> None:
    code = "import ovn_bpf_controller.cli.controller, ovn_bpf_controller.agent\n"
    assert run(f"{code}found = [n for n in {_ABSENT!r} if n in sys.modules]", "-S") == []


def test_the_slow_path_starts_without_it_too() -> None:
    code = "import ovn_bpf_controller.slowpath.__main__, ovn_bpf_controller.slowpath.process\n"
    put_off = ("urllib.parse", "random", "ipaddress", "socket")
    absent = (*_ABSENT, *put_off, "ctypes", "ssl", "logging", "uuid", "ovs")
    found = (
        f"found = [n for n in {absent!r} if type(sys.modules.get(n)).__name__ not in "
        "('NoneType', '_Later')]"
    )
    assert run(code + found, "-S") == []


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ("import ssl; found = ssl.TLSVersion.TLSv1_3.name", "TLSv1_3"),
        ("from ssl import TLSVersion; found = TLSVersion.TLSv1_3.name", "TLSv1_3"),
        ("import logging; found = logging.handlers.SYSLOG_UDP_PORT", 514),
        ("import logging.handlers as h; found = h.SysLogHandler.__name__", "SysLogHandler"),
        ("import ovs.vlog; found = ovs.vlog.datetime.date(2023, 3, 1).isoformat()", "2023-03-01"),
        ("from logging import getLogger; found = getLogger('x').name", "x"),
        ("import logging.config; found = logging.config.__name__", "logging.config"),
        ("from logging.handlers import SYSLOG_UDP_PORT as found", 514),
        ("import logging; found = [logging.DEBUG, logging.getLevelName(10)]", [10, "DEBUG"]),
        (
            "import ovs.vlog, logging; found = [ovs.vlog.LEVELS[n] == getattr(logging, m) for n, m "
            "in zip(('dbg', 'info', 'warn', 'err', 'emer', 'off'),"
            "('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL', 'CRITICAL'))]; logging.root;"
            "import logging; found += [ovs.vlog.LEVELS['emer'] == logging.CRITICAL]",
            [True] * 7,
        ),
        ("import pathlib; found = pathlib.Path('/a b').as_uri()", "file:///a%20b"),
        (
            "import pathlib, urllib.parse; urllib.parse.quote('a'); "
            "found = pathlib.Path('/a b').as_uri()",
            "file:///a%20b",
        ),
        ("from urllib.parse import quote_from_bytes as q; found = q(b' ')", "%20"),
        ("import ovs.dns_resolve; found = ovs.dns_resolve.ReqState.GOOD.name", "GOOD"),
        ("import ovs.socket_util; found = ovs.socket_util.dns_resolve.vlog.name", "dns_resolve"),
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
