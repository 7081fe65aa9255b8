# SPDX-License-Identifier: Apache-2.0
"""Southbounds of the topologies, made by a real ovn-northd and kept in a cache.

Under $XDG_CACHE_HOME/ovn-bpf-scale; a changed generator makes new ones.  Chassis
other than ch0 exist as rows only, and have the ports that are not ch0's.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.scale import northbound, topologies
from tests.bench.scale.client import Client
from tests.support.ovsdb import OvnCentral

CHASSIS = 100
_NORTHD_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """southbound: file to copy.  local: logical ports that nobody has claimed."""

    southbound: Path
    local: list[str]


def get(name: str) -> Deployment:
    """From the cache, or made: seconds for S and M, minutes for L and LC."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "ovn-bpf-scale")
    sources = (__file__, topologies.__file__, northbound.__file__)
    code = b"".join(Path(f).read_bytes() for f in sources)
    stem = f"{name}-{hashlib.sha256(code).hexdigest()[:12]}"
    database, ports = home / f"{stem}.sb.db", home / f"{stem}.ports.json"
    if not ports.exists():
        home.mkdir(parents=True, exist_ok=True)
        local = _make(name, database)
        ports.write_text(json.dumps(local))
    return Deployment(database, json.loads(ports.read_text()))


def _make(name: str, database: Path) -> list[str]:
    random.seed(7)
    contents = northbound.Northbound()
    places = topologies.TOPOLOGIES[name](contents)
    with tempfile.TemporaryDirectory(prefix="obs-scale-") as directory:
        with OvnCentral(Path(directory)) as central:
            sb = Client(str(central.sb.socket), "OVN_Southbound")
            nb = Client(str(central.nb.socket), "OVN_Northbound")
            chassis = _add_chassis(sb)
            nb.watch(NB_Global=["nb_cfg", "sb_cfg"])
            bump = {"op": "mutate", "table": "NB_Global", "where": [],
                    "mutations": [["nb_cfg", "+=", 1]]}  # fmt: skip
            nb.transact(*contents.operations(), bump)
            if not nb.until(lambda: _translated(nb), _NORTHD_SECONDS):
                raise RuntimeError("ovn-northd does not finish")
            central.northd.stop()
            _bind(sb, places, chassis)
            if name == "LC":
                _centralise(sb)
            central.sb.appctl("ovsdb-server/compact")
            shutil.copy(central.sb.database, database)
            sb.close()
            nb.close()
    return [port for port, number in places if number == 0]


def _translated(nb: Client) -> bool:
    rows = nb.rows["NB_Global"].values()
    return any(row["sb_cfg"] >= row["nb_cfg"] > 0 for row in rows)


def _add_chassis(sb: Client) -> list[Any]:
    """Rows for ch1 and up; their uuids by number."""
    found: list[Any] = [None]
    for n in range(1, CHASSIS):
        encap = {"type": "geneve", "ip": f"192.0.2.{n + 1}", "chassis_name": f"ch{n}",
                 "options": ["map", [["csum", "true"]]]}  # fmt: skip
        other = [["ct-no-masked-label", "true"], ["port-up-notif", "true"],
                 ["mac-binding-timestamp", "true"], ["ovn-ct-lb-related", "true"],
                 ["ovn-bridge-mappings", "physnet:br-ex"]]  # fmt: skip
        row = {"name": f"ch{n}", "hostname": f"ch{n}", "encaps": ["named-uuid", "e"],
               "other_config": ["map", other]}  # fmt: skip
        results = sb.transact(
            {"op": "insert", "table": "Encap", "row": encap, "uuid-name": "e"},
            {"op": "insert", "table": "Chassis", "row": row, "uuid-name": "c"},
            {"op": "insert", "table": "Chassis_Private",
             "row": {"name": f"ch{n}", "chassis": ["named-uuid", "c"]}},
        )  # fmt: skip
        found.append(results[1]["uuid"])
    return found


def _bind(sb: Client, places: topologies.Places, chassis: list[Any]) -> None:
    """Ports of the others are claimed and up, their gateways too."""
    numbers = dict(places)
    operations = []
    for row in sb.select("Port_Binding"):
        options = dict(row["options"][1])
        port = row["logical_port"]
        number = numbers.get(port, 0)
        if row["type"] in ("l3gateway", "chassisredirect"):
            wanted = options.get("l3gateway-chassis", "")
            if port.startswith("cr-rtos-node"):
                wanted = f"ch{port.removeprefix('cr-rtos-node')}"
            elif port.startswith("cr-lrp-ext-"):
                wanted = f"ch{1 + (int(port.removeprefix('cr-lrp-ext-')) + 2) % 5}"
            number = int(wanted.removeprefix("ch") or 0)
        if number:
            operations.append(
                {"op": "update", "table": "Port_Binding", "where": [["_uuid", "==", row["_uuid"]]],
                 "row": {"chassis": chassis[number], "up": True}}
            )  # fmt: skip
    for start in range(0, len(operations), 500):
        sb.transact(*operations[start : start + 500])


def _centralise(sb: Client) -> None:
    """As if all tenants' traffic went through the gateways: monitoring by
    condition then leaves most of L out."""
    sb.transact(
        *[
            {"op": "mutate", "table": "Port_Binding", "where": [["_uuid", "==", row["_uuid"]]],
             "mutations": [["options", "insert", ["map", [["always-redirect", "true"]]]]]}
            for row in sb.select("Port_Binding", ["type", "==", "chassisredirect"])
        ]
    )  # fmt: skip
