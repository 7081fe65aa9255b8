# SPDX-License-Identifier: Apache-2.0
"""Names as people gave them, in place of those that a cloud management system made.

ovn-bpf-trace asks here.  OpenStack calls ports by UUIDs; what its users call them is
beside, in external_ids of the Southbound's rows, which the agent does not keep.  The
rules are those of ovn-trace(8), --friendly-names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ovn_bpf_controller.cli.southbound import transact
from ovn_bpf_controller.observe.trace_node import Node
from ovn_bpf_controller.plaindata import NamedTuple

# Quoted as JSON has it, which OVN's lexer takes.
_QUOTED = re.compile(r'(\bdp=)?("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")')
_UUID_LAST = re.compile(
    r"(.*[0-9a-f]{6})[0-9a-f]{2}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.DOTALL | re.IGNORECASE,
)


class Names(NamedTuple):
    """Datapaths and ports that a trace names -> what else the Southbound calls them, or ""."""

    datapaths: Mapping[str, str]
    ports: Mapping[str, str]


def shorten(name: str) -> str:
    """A UUID at the end without what is behind its first six digits."""
    found = _UUID_LAST.fullmatch(name)
    return found[1] if found else name


def meant(remote: str, microflow: str) -> str:
    """The microflow with the ports' own names, where it has other ones that fit just one.

    Raises DatabaseError.
    """
    asked = sorted({name for _, name in _quoted(microflow)})
    rows = _ports(remote, [["logical_port", "==", name] for name in asked])
    others = _ports(
        remote, [["external_ids", "includes", ["map", [["name", name]]]] for name in asked]
    )
    own = {
        name: other[0]["logical_port"]
        for name, row, other in zip(asked, rows, others, strict=True)
        if not row and len(other) == 1
    }
    return _replaced(microflow, own, {})


def names(remote: str, root: Node) -> Names:
    """Of what the trace is about.  Raises DatabaseError."""
    datapaths, ports = (list(each) for each in own_names(root))
    conditions = [["external_ids", "includes", ["map", [["name", name]]]] for name in datapaths]
    of_datapaths = _select(remote, "Datapath_Binding", ["external_ids"], conditions)
    of_ports = _ports(remote, [["logical_port", "==", name] for name in ports])
    return Names(
        {name: _other(rows, "name2") for name, rows in zip(datapaths, of_datapaths, strict=True)},
        {name: _other(rows, "name") for name, rows in zip(ports, of_ports, strict=True) if rows},
    )


def own_names(root: Node) -> Names:
    """Where the Southbound cannot be asked: no others than those there are."""
    found = sorted({each for node in _nodes(root) for each in _quoted(node.text)})
    return Names(
        {name: "" for is_datapath, name in found if is_datapath},
        {name: "" for is_datapath, name in found if not is_datapath},
    )


def rename(root: Node, given: Names) -> None:
    """Writes them into the trace."""
    datapaths = {name: shorten(other or name) for name, other in given.datapaths.items()}
    ports = {name: shorten(other or name) for name, other in given.ports.items()}
    for node in _nodes(root):
        node.text = _replaced(node.text, ports, datapaths)


def _other(rows: list[dict[str, Any]], key: str) -> str:
    """That name, if there is just one."""
    found = {dict(row["external_ids"][1]).get(key, "") for row in rows}
    return found.pop() if len(found) == 1 else ""


def _nodes(root: Node) -> Iterator[Node]:
    yield root
    for sub in root.subs:
        yield from _nodes(sub)


def _quoted(text: str) -> Iterator[tuple[bool, str]]:
    """Whether it is a datapath's, and the name."""
    for found in _QUOTED.finditer(text):
        yield bool(found[1]), json.loads(found[2])


def _replaced(text: str, ports: Mapping[str, str], datapaths: Mapping[str, str]) -> str:
    def one(found: re.Match[str]) -> str:
        own = json.loads(found[2])
        other = (datapaths if found[1] else ports).get(own, own)
        return (
            found[0] if other == own else (found[1] or "") + json.dumps(other, ensure_ascii=False)
        )

    return _QUOTED.sub(one, text)


def _ports(remote: str, conditions: list[list[Any]]) -> list[list[dict[str, Any]]]:
    return _select(remote, "Port_Binding", ["logical_port", "external_ids"], conditions)


def _select(
    remote: str, table: str, columns: list[str], conditions: list[list[Any]]
) -> list[list[dict[str, Any]]]:
    """The rows of each condition."""
    operations = [
        {"op": "select", "table": table, "where": [condition], "columns": columns}
        for condition in conditions
    ]
    answers = transact(remote, ["OVN_Southbound", *operations]) if operations else []
    return [answer.get("rows", []) for answer in answers]
