# SPDX-License-Identifier: Apache-2.0
"""IP_Multicast rows of local switches, and this chassis' IGMP_Group rows.

A group has a row for each switch with its ports here; the row "mrouters" has the ports
with multicast routers behind them.  Defaults: OVN's lib/ip-mcast-index.h; behaviour:
ovn-controller's pinctrl.c.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller.binding.desired import LocalDatapath
from ovn_bpf_controller.duties.addresses import mac, mac_bytes, packed
from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.model import PortKind
from ovn_bpf_controller.ovsdb.tables import Chassis, IGMPGroup, IPMulticast, PortBinding
from ovn_bpf_controller.ovsdb.transact import Transaction

MROUTERS: Final = "mrouters"
_SIZE, _IDLE, _RESPONSE = 2048, 300, 1
_HERE: Final = (PortKind.VIF, PortKind.PATCH)

Wish = dict[tuple[str, str], tuple[str, tuple[str, ...]]]
"""(datapath uuid, address) -> (protocol, uuids of ports)."""


class MulticastGroups(Duty):
    """The agent's half of slowpath.multicast."""

    name = "multicast"
    tables = (IPMulticast, IGMPGroup, PortBinding, Chassis)

    def __init__(self) -> None:
        self._snooping: dict[str, str] = {}  # datapath uuid by its key
        self._reported: object = None  # that the rows are known to say
        self._ports: Mapping[tuple[str, int], str] = {}  # uuids by datapath and key

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        self._reported = None
        self._snooping = {}
        self._ports = {}
        found = {}
        for row in view.southbound.table(IPMulticast).values():
            local = view.desired.datapaths.get(row.datapath)
            if row.enabled and local is not None:
                self._snooping[str(local.key)] = row.datapath
                found[str(local.key)] = _settings(row, local)
        return {"multicast": found, "multicast_known": self._known(view) if found else {}}

    def _known(self, view: View) -> dict[str, Any]:
        """What the rows say, as slowpath.multicast reports it: a new process goes on there."""
        me = _chassis(view)
        keys = {uuid: key for key, uuid in self._snooping.items()}
        ports = view.southbound.table(PortBinding)
        found: dict[str, Any] = {}
        for row in _ours(view, me) if me is not None else ():
            if row.datapath not in keys:
                continue
            said = found.setdefault(keys[row.datapath], {"groups": {}, "routers": []})
            members = sorted(ports[uuid].tunnel_key for uuid in row.ports if uuid in ports)
            if row.address == MROUTERS:
                said["routers"] = members
            else:
                said["groups"][row.address] = [row.protocol, members]
        return found

    def needed(self, told: Mapping[str, Any]) -> bool:
        """See Duty: queries come by the clock."""
        return any(row["querier"] for row in told["multicast"].values())

    def write(self, view: View, reports: Mapping[str, Any]) -> Transaction | None:
        """See Duty."""
        reported = reports.get("multicast")
        if reported is None and self._snooping:
            return None
        if reported is self._reported and self._reported is not None:
            return None
        me = _chassis(view)
        if me is None:
            return None
        transaction = Transaction("ovn-bpf-controller: multicast groups")
        _compare(view, me, self._wish(view, reported or {}), transaction)
        if not transaction:
            self._reported = reported
        return transaction

    def _wish(self, view: View, reported: Mapping[str, Any]) -> Wish:
        if self._snooping and not self._ports:
            snooping = frozenset(self._snooping.values())
            rows = view.southbound.table(PortBinding).values()
            self._ports = {
                (row.datapath, row.tunnel_key): row.uuid for row in rows if row.datapath in snooping
            }
        wish: Wish = {}
        for key, datapath in self._snooping.items():
            said = reported.get(key, {"groups": {}, "routers": []})
            wanted = {**said["groups"], MROUTERS: ["", said["routers"]]}
            for address, (protocol, members) in wanted.items():
                known = (self._ports.get((datapath, member)) for member in members)
                uuids = tuple(sorted(uuid for uuid in known if uuid is not None))
                if uuids or address == MROUTERS:
                    wish[datapath, address] = (protocol, uuids)
        return wish


def _compare(view: View, me: Chassis, wish: Wish, transaction: Transaction) -> None:
    """What makes the rows of this chassis say what is wished."""
    missing = dict(wish)
    schema = view.southbound.schema
    versions = schema is not None and schema.column(IGMPGroup.TABLE, "protocol") is not None
    for row in _ours(view, me):
        said = missing.pop((row.datapath or "", row.address), None)
        if said is None:
            transaction.delete(IGMPGroup, row.uuid)
            continue
        protocol, ports = said
        if row.ports != ports:
            transaction.update(IGMPGroup, row.uuid, ports=ports)
        if versions and protocol and row.protocol != protocol:
            transaction.update(IGMPGroup, row.uuid, protocol=protocol)
    for (datapath, address), (protocol, ports) in missing.items():
        columns: dict[str, object] = {"protocol": protocol} if protocol else {}
        transaction.insert(
            IGMPGroup,
            address=address,
            datapath=datapath,
            chassis=me.uuid,
            chassis_name=me.name,
            ports=ports,
            **columns,
        )


def _ours(view: View, me: Chassis) -> Iterator[IGMPGroup]:
    for row in view.southbound.table(IGMPGroup).values():
        if row.chassis == me.uuid:
            yield row


def _chassis(view: View) -> Chassis | None:
    for row in view.southbound.table(Chassis).values():
        if row.name == view.desired.chassis:
            return row
    return None


def _settings(row: IPMulticast, local: LocalDatapath) -> dict[str, Any]:
    """What slowpath.multicast.heard reads."""
    idle = _IDLE if row.idle_timeout is None else row.idle_timeout
    here = [key for key, port in local.ports.items() if port.kind in _HERE]
    return {
        "size": _SIZE if row.table_size is None else row.table_size,
        "idle": idle,
        "seq": row.seq_no,
        "ports": sorted(here),
        "querier": _querier(row, idle) if row.querier else None,
    }


def _querier(row: IPMulticast, idle: int) -> dict[str, Any] | None:
    """None without a link-layer address or any other to ask from."""
    ether, ip4, ip6 = mac(row.eth_src), packed(row.ip4_src), packed(row.ip6_src)
    ip4 = ip4 if ip4 is not None and len(ip4) == 4 else b""
    ip6 = ip6 if ip6 is not None and len(ip6) == 16 else b""
    if ether is None or not (ip4 or ip6):
        return None
    return {
        "mac": mac_bytes(ether).hex(),
        "ip4": ip4.hex(),
        "ip6": ip6.hex(),
        "interval": max(idle // 2 if row.query_interval is None else row.query_interval, 1),
        "response": _RESPONSE if row.query_max_resp is None else row.query_max_resp,
    }
