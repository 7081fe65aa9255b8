# SPDX-License-Identifier: Apache-2.0
"""Connection methods: what is one, and host names resolved beside the loop."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.ovsdb.remote import Remote, parse
from ovn_bpf_controller.ovsdb.session import Session
from tests.support.ovsdb import OvsdbServer
from tests.support.pump import pump
from tests.support.sb_truth import MakeCache, synced


@pytest.mark.parametrize(
    ("text", "remote"),
    [
        ("unix:/run/ovn/sb.sock", Remote("unix", path="/run/ovn/sb.sock")),
        ("unix:relative", Remote("unix", path="relative")),
        ("tcp:10.0.0.1:6642", Remote("tcp", host="10.0.0.1", port=6642)),
        ("ssl:10.0.0.1", Remote("ssl", host="10.0.0.1", port=6640)),
        ("ssl:[fd00::1]:6642", Remote("ssl", host="fd00::1", port=6642)),
        ("tcp:[::1]", Remote("tcp", host="::1", port=6640)),
        ("tcp:[fe80::1%eth0]:6642", Remote("tcp", host="fe80::1%eth0", port=6642)),
        ("tcp:sb.example:6642", Remote("tcp", host="sb.example", port=6642, named=True)),
    ],
)
def test_valid_remotes(text: str, remote: Remote) -> None:
    assert parse(text) == remote


@pytest.mark.parametrize(
    "text",
    ["", "tcp", "tcp:", "unix:", "ptcp:6642", "punix:/x", "http:a:1", "tcp:1.2.3.4:0",
     "tcp:1.2.3.4:65536", "tcp:1.2.3.4:x", "tcp:1.2.3.4:-1", "tcp:1.2.3.4:", "ssl:[::1",
     "ssl:[::1]6642"],
)  # fmt: skip
def test_malformed_remotes(text: str) -> None:
    with pytest.raises(DatabaseError, match="not a valid OVSDB remote"):
        parse(text)


@given(st.sampled_from(["tcp:", "ssl:", "unix:", ""]), st.text(max_size=30))
def test_no_text_stops_the_session(kind: str, text: str) -> None:
    session = Session([kind + text])
    for _ in range(3):
        assert session.run() == []
    session.close()


def test_host_name_is_resolved_without_blocking(sb: OvsdbServer, make_cache: MakeCache) -> None:
    # Both families, since localhost may come first as either.
    port = sb.listen()
    sb.listen(host="[::1]", port=port)
    synced(make_cache(f"tcp:localhost:{port}"))


def test_unknown_host_name_is_told(make_cache: MakeCache) -> None:
    cache = make_cache("tcp:no-such-host.invalid:6642")
    started = time.monotonic()
    cache.run()
    assert time.monotonic() - started < 4  # a resolver's own patience is 5 s
    pump(cache, lambda: "cannot resolve no-such-host.invalid" in cache.detail)
