# SPDX-License-Identifier: Apache-2.0
"""The tables and columns of the local Open_vSwitch database that we use.

As tables.py does for the Southbound.  Columns that change every few seconds without meaning to us
(statistics) are left out on purpose: each change would wake the agent.
"""

from __future__ import annotations

from typing import ClassVar, Final

from ovn_bpf_controller.ovsdb.tables import Map, Row, Strings, Uuid, UuidMap, Uuids, _map
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class OpenVSwitch(Row):
    TABLE: ClassVar[str] = "Open_vSwitch"
    bridges: Uuids = ()
    next_cfg: int = 0
    cur_cfg: int = 0
    external_ids: Map = _map()
    other_config: Map = _map()
    iface_types: Strings = ()
    datapath_types: Strings = ()
    ovs_version: str | None = None
    db_version: str | None = None
    system_type: str | None = None
    system_version: str | None = None
    dpdk_initialized: bool = False
    dpdk_version: str | None = None
    datapaths: UuidMap = _map()
    ssl: Uuid | None = None


@dataclass(frozen=True, slots=True)
class Bridge(Row):
    TABLE: ClassVar[str] = "Bridge"
    name: str = ""
    ports: Uuids = ()
    fail_mode: str | None = None
    datapath_type: str = ""
    datapath_id: str | None = None
    datapath_version: str = ""
    external_ids: Map = _map()
    other_config: Map = _map()
    mirrors: Uuids = ()


@dataclass(frozen=True, slots=True)
class Port(Row):
    TABLE: ClassVar[str] = "Port"
    name: str = ""
    interfaces: Uuids = ()
    tag: int | None = None
    trunks: tuple[int, ...] = ()
    vlan_mode: str | None = None
    qos: Uuid | None = None
    external_ids: Map = _map()
    other_config: Map = _map()


@dataclass(frozen=True, slots=True)
class Interface(Row):
    TABLE: ClassVar[str] = "Interface"
    name: str = ""
    type: str = ""
    ofport: int | None = None
    ofport_request: int | None = None
    ifindex: int | None = None
    admin_state: str | None = None
    link_state: str | None = None
    link_speed: int | None = None
    mac: str | None = None
    mac_in_use: str | None = None
    mtu: int | None = None
    mtu_request: int | None = None
    error: str | None = None
    status: Map = _map()
    options: Map = _map()
    external_ids: Map = _map()
    other_config: Map = _map()
    bfd: Map = _map()
    bfd_status: Map = _map()


@dataclass(frozen=True, slots=True)
class SSL(Row):
    TABLE: ClassVar[str] = "SSL"
    private_key: str = ""
    certificate: str = ""
    ca_cert: str = ""
    bootstrap_ca_cert: bool = False


@dataclass(frozen=True, slots=True)
class Datapath(Row):
    TABLE: ClassVar[str] = "Datapath"
    datapath_version: str = ""
    capabilities: Map = _map()


@dataclass(frozen=True, slots=True)
class FlowSampleCollectorSet(Row):
    TABLE: ClassVar[str] = "Flow_Sample_Collector_Set"
    id: int = 0
    bridge: Uuid = ""
    external_ids: Map = _map()


LOCAL: Final[tuple[type[Row], ...]] = (
    OpenVSwitch,
    Bridge,
    Port,
    Interface,
    SSL,
    Datapath,
    FlowSampleCollectorSet,
)
