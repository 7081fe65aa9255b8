# SPDX-License-Identifier: Apache-2.0
"""Rows of a Northbound that is yet to be written, in one transaction.

topologies.py fills it; ovn-nbctl would take an hour for what this does in seconds.
"""

from __future__ import annotations

import uuid
from typing import Any

Row = dict[str, Any]


class Ref(str):
    """The uuid of a row to come."""

    __slots__ = ()


def _encode(value: Any) -> Any:
    if isinstance(value, Ref):
        return ["named-uuid", str(value)]
    if isinstance(value, dict):
        return ["map", [[k, v] for k, v in value.items()]]
    if isinstance(value, list):
        return ["set", [_encode(item) for item in value]]
    return value


class Northbound:
    """Inserted rows; attach() and the like also hang them where they belong."""

    def __init__(self) -> None:
        self._rows: dict[Ref, tuple[str, Row]] = {}

    def operations(self) -> list[Row]:
        """One insert for each row."""
        return [
            {"op": "insert", "table": table, "uuid-name": str(ref),
             "row": {k: _encode(v) for k, v in row.items()}}
            for ref, (table, row) in self._rows.items()
        ]  # fmt: skip

    def insert(self, table: str, **columns: Any) -> Ref:
        """A new row."""
        ref = Ref("r" + uuid.uuid4().hex)
        self._rows[ref] = (table, columns)
        return ref

    def _add(self, owner: Ref, column: str, table: str, **columns: Any) -> Ref:
        ref = self.insert(table, **columns)
        self._rows[owner][1].setdefault(column, []).append(ref)
        return ref

    def port(self, switch: Ref, name: str, **columns: Any) -> Ref:
        return self._add(switch, "ports", "Logical_Switch_Port", name=name, **columns)

    def vm(
        self, switch: Ref, name: str, mac: str, ip: str, groups: list[Ref], **columns: Any
    ) -> Ref:
        """A port with port security, in port groups."""
        both = [f"{mac} {ip}"]
        ref = self.port(switch, name, addresses=both, port_security=both, **columns)
        for group in groups:
            self._rows[group][1].setdefault("ports", []).append(ref)
        return ref

    def attach(
        self, router: Ref, switch: Ref, name: str, mac: str, network: str, **columns: Any
    ) -> None:
        """A router port and the switch port that it is connected to."""
        self._add(router, "ports", "Logical_Router_Port", name=name, mac=mac,
                  networks=[network], **columns)  # fmt: skip
        self.port(switch, f"{name}-sw", type="router", addresses=["router"],
                  options={"router-port": name})  # fmt: skip

    def acl(
        self, group: Ref, priority: int, match: str, action: str = "allow-related",
        direction: str = "to-lport",
    ) -> None:  # fmt: skip
        self._add(group, "acls", "ACL", priority=priority, direction=direction, match=match,
                  action=action)  # fmt: skip

    def balancer(self, group: Ref, name: str, vip: str, backends: str) -> None:
        self._add(group, "load_balancer", "Load_Balancer", name=name, protocol="tcp",
                  options={"reject": "true"}, vips={vip: backends})  # fmt: skip

    def route(self, router: Ref, prefix: str, nexthop: str, **columns: Any) -> None:
        self._add(router, "static_routes", "Logical_Router_Static_Route", ip_prefix=prefix,
                  nexthop=nexthop, **columns)  # fmt: skip

    def nat(self, router: Ref, kind: str, external: str, logical: str, **columns: Any) -> None:
        self._add(router, "nat", "NAT", type=kind, external_ip=external, logical_ip=logical,
                  **columns)  # fmt: skip

    def policy(
        self, router: Ref, priority: int, match: str, action: str, nexthops: list[str]
    ) -> None:
        self._add(router, "policies", "Logical_Router_Policy", priority=priority, match=match,
                  action=action, nexthops=nexthops)  # fmt: skip
