# SPDX-License-Identifier: Apache-2.0
"""What the Southbound says of logical flows, for ovn-bpf-trace and ovn-bpf-ctl monitor.

The agent keeps no more of a flow than packets need; its names are read from the
database when somebody looks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import ovs.jsonrpc
import ovs.stream

from ovn_bpf_controller.errors import DatabaseError
from ovn_bpf_controller.plaindata import NamedTuple
from ovn_bpf_controller.process.dirs import Dirs

_NAME = re.compile(r'\blog\([^)]*\bname="((?:[^"\\]|\\.)*)"')


class Flow(NamedTuple):
    """A logical flow.  stage: its name.  source: file and line of northd.  acl: the name
    that it logs with; hint: the beginning of the UUID of what it is made of."""

    stage: str
    source: str
    acl: str
    hint: str


def default() -> str:
    """The remote when none is given: $OVN_SB_DB, else a local server's socket."""
    rundir = Dirs.from_environment(os.environ).ovn_rundir
    return os.environ.get("OVN_SB_DB") or f"unix:{rundir}/ovnsb_db.sock"


def flows(remote: str, uuids: Sequence[str]) -> dict[str, Flow]:
    """Those that there are.  Raises DatabaseError."""
    operations = [
        {
            "op": "select",
            "table": "Logical_Flow",
            "where": [["_uuid", "==", ["uuid", uuid]]],
            "columns": ["external_ids", "actions"],
        }
        for uuid in uuids
    ]
    found = {}
    answers = transact(remote, ["OVN_Southbound", *operations])
    for uuid, answer in zip(uuids, answers, strict=False):
        for row in answer.get("rows", ()):
            ids = dict(row["external_ids"][1])
            name = _NAME.search(row["actions"])
            found[uuid] = Flow(
                ids.get("stage-name", ""),
                ids.get("source", ""),
                name[1] if name else "",
                ids.get("stage-hint", ""),
            )
    return found


def stages(remote: str, uuids: Sequence[str]) -> dict[str, str]:
    """ "stage (source)" by UUID.  Raises DatabaseError."""
    return {
        uuid: flow.stage + (f" ({flow.source})" if flow.source else "")
        for uuid, flow in flows(remote, uuids).items()
    }


def transact(remote: str, params: list[Any]) -> list[dict[str, Any]]:
    """The answers to the operations.  Raises DatabaseError."""
    if remote.startswith("ssl:"):
        raise DatabaseError(f"{remote}: no keys to speak TLS with")
    try:
        error, stream = ovs.stream.Stream.open_block(ovs.stream.Stream.open(remote), 5000)
    except ValueError as problem:
        raise DatabaseError(f"{remote}: {problem}") from problem
    if error:
        raise DatabaseError(f"{remote}: {os.strerror(error)}")
    connection = ovs.jsonrpc.Connection(stream)
    try:
        request = ovs.jsonrpc.Message.create_request("transact", params)
        error, reply = connection.transact_block(request)
    finally:
        connection.close()
    if error:
        raise DatabaseError(f"{remote}: the connection broke")
    if reply.error is not None:
        raise DatabaseError(f"{remote}: {reply.error}")
    answers: list[dict[str, Any]] = reply.result
    return answers
