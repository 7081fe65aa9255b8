# SPDX-License-Identifier: Apache-2.0
"""The Southbound tables and columns that the agent reads, declared once.

SouthboundCache makes these rows; binding and the agent read them.  A table is a
class, a column an annotated attribute of the same name: the annotation decides
what to ask of the server, how to decode it and, through the default, what a
server whose schema lacks the column stands for.  Schemas 20.27.0 (OVN 23.03) to
21.11.0 (26.03) are covered; columns of later ones are simply not asked for.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from ovn_bpf_controller.plaindata import dataclass, field

#: An OVSDB uuid as text; in Annotated so that only the codecs see a difference.
Uuid = Annotated[str, "uuid"]
#: Text that hardly two rows have in common.
Text = Annotated[str, "text"]
#: A set whose order means nothing but is kept sorted, so that rows compare equal.
Strings = tuple[str, ...]
Uuids = tuple[Uuid, ...]
#: Treat as immutable: rows share them.
Map = dict[str, str]
UuidMap = dict[str, Uuid]


def _map() -> Any:
    return field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of any table.  uuid is its OVSDB _uuid; a default stands for "not set"."""

    TABLE: ClassVar[str] = ""
    uuid: str


@dataclass(frozen=True, slots=True)
class SBGlobal(Row):
    TABLE: ClassVar[str] = "SB_Global"
    nb_cfg: int = 0
    nb_cfg_timestamp: int = 0
    options: Map = _map()
    ipsec: bool = False


@dataclass(frozen=True, slots=True)
class Chassis(Row):
    TABLE: ClassVar[str] = "Chassis"
    name: str = ""
    hostname: str = ""
    encaps: Uuids = ()
    external_ids: Map = _map()
    other_config: Map = _map()
    transport_zones: Strings = ()
    vtep_logical_switches: Strings = ()


@dataclass(frozen=True, slots=True)
class ChassisPrivate(Row):
    TABLE: ClassVar[str] = "Chassis_Private"
    name: str = ""
    chassis: Uuid | None = None
    nb_cfg: int = 0
    nb_cfg_timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Encap(Row):
    TABLE: ClassVar[str] = "Encap"
    type: str = ""
    ip: str = ""
    options: Map = _map()
    chassis_name: str = ""


@dataclass(frozen=True, slots=True)
class DatapathBinding(Row):
    TABLE: ClassVar[str] = "Datapath_Binding"
    tunnel_key: int = 0
    load_balancers: Uuids = ()
    type: str | None = None
    nb_uuid: Uuid | None = None
    external_ids: Map = _map()


@dataclass(frozen=True, slots=True)
class PortBinding(Row):
    TABLE: ClassVar[str] = "Port_Binding"
    logical_port: str = ""
    type: str = ""
    datapath: Uuid = ""
    tunnel_key: int = 0
    parent_port: str | None = None
    mirror_port: str | None = None
    tag: int | None = None
    virtual_parent: str | None = None
    chassis: Uuid | None = None
    additional_chassis: Uuids = ()
    encap: Uuid | None = None
    additional_encap: Uuids = ()
    requested_chassis: Uuid | None = None
    requested_additional_chassis: Uuids = ()
    gateway_chassis: Uuids = ()
    ha_chassis_group: Uuid | None = None
    mirror_rules: Uuids = ()
    mac: Strings = ()
    port_security: Strings = ()
    nat_addresses: Strings = ()
    options: Map = _map()
    up: bool | None = None


@dataclass(frozen=True, slots=True)
class MulticastGroup(Row):
    TABLE: ClassVar[str] = "Multicast_Group"
    datapath: Uuid = ""
    name: str = ""
    tunnel_key: int = 0
    ports: Uuids = ()


@dataclass(frozen=True, slots=True)
class LogicalFlow(Row):
    TABLE: ClassVar[str] = "Logical_Flow"
    logical_datapath: Uuid | None = None
    logical_dp_group: Uuid | None = None
    pipeline: str = ""
    table_id: int = 0
    priority: int = 0
    match: Text = ""
    actions: str = ""
    tags: Map = _map()
    controller_meter: str | None = None
    flow_desc: str | None = None


@dataclass(frozen=True, slots=True)
class LogicalDpGroup(Row):
    TABLE: ClassVar[str] = "Logical_DP_Group"
    datapaths: Uuids = ()


@dataclass(frozen=True, slots=True)
class AddressSet(Row):
    TABLE: ClassVar[str] = "Address_Set"
    name: str = ""
    addresses: Strings = ()
    options: Map = _map()


@dataclass(frozen=True, slots=True)
class PortGroup(Row):
    TABLE: ClassVar[str] = "Port_Group"
    name: str = ""
    ports: Strings = ()


@dataclass(frozen=True, slots=True)
class MACBinding(Row):
    TABLE: ClassVar[str] = "MAC_Binding"
    logical_port: str = ""
    ip: str = ""
    mac: str = ""
    timestamp: int = 0
    datapath: Uuid = ""


@dataclass(frozen=True, slots=True)
class StaticMACBinding(Row):
    TABLE: ClassVar[str] = "Static_MAC_Binding"
    logical_port: str = ""
    ip: str = ""
    mac: str = ""
    override_dynamic_mac: bool = False
    datapath: Uuid = ""


@dataclass(frozen=True, slots=True)
class FDB(Row):
    TABLE: ClassVar[str] = "FDB"
    mac: str = ""
    dp_key: int = 0
    port_key: int = 0
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class GatewayChassis(Row):
    TABLE: ClassVar[str] = "Gateway_Chassis"
    name: str = ""
    chassis: Uuid | None = None
    priority: int = 0
    options: Map = _map()


@dataclass(frozen=True, slots=True)
class HAChassisGroup(Row):
    TABLE: ClassVar[str] = "HA_Chassis_Group"
    name: str = ""
    ha_chassis: Uuids = ()
    ref_chassis: Uuids = ()


@dataclass(frozen=True, slots=True)
class HAChassis(Row):
    TABLE: ClassVar[str] = "HA_Chassis"
    chassis: Uuid | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ChassisTemplateVar(Row):
    TABLE: ClassVar[str] = "Chassis_Template_Var"
    chassis: str = ""
    variables: Map = _map()


@dataclass(frozen=True, slots=True)
class LoadBalancer(Row):
    TABLE: ClassVar[str] = "Load_Balancer"
    name: str = ""
    vips: Map = _map()
    protocol: str | None = None
    datapaths: Uuids = ()
    datapath_group: Uuid | None = None
    ls_datapath_group: Uuid | None = None
    lr_datapath_group: Uuid | None = None
    options: Map = _map()


@dataclass(frozen=True, slots=True)
class Meter(Row):
    TABLE: ClassVar[str] = "Meter"
    name: str = ""
    unit: str = ""
    bands: Uuids = ()


@dataclass(frozen=True, slots=True)
class MeterBand(Row):
    TABLE: ClassVar[str] = "Meter_Band"
    action: str = ""
    rate: int = 0
    burst_size: int = 0


@dataclass(frozen=True, slots=True)
class DHCPOptions(Row):
    TABLE: ClassVar[str] = "DHCP_Options"
    name: str = ""
    code: int = 0
    type: str = ""


@dataclass(frozen=True, slots=True)
class DHCPv6Options(Row):
    TABLE: ClassVar[str] = "DHCPv6_Options"
    name: str = ""
    code: int = 0
    type: str = ""


@dataclass(frozen=True, slots=True)
class DNS(Row):
    TABLE: ClassVar[str] = "DNS"
    records: Map = _map()
    datapaths: Uuids = ()
    options: Map = _map()


@dataclass(frozen=True, slots=True)
class Mirror(Row):
    TABLE: ClassVar[str] = "Mirror"
    name: str = ""
    filter: str = ""
    sink: str = ""
    type: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class IPMulticast(Row):
    TABLE: ClassVar[str] = "IP_Multicast"
    datapath: Uuid = ""
    enabled: bool | None = None
    querier: bool | None = None
    eth_src: str = ""
    ip4_src: str = ""
    ip6_src: str = ""
    table_size: int | None = None
    idle_timeout: int | None = None
    query_interval: int | None = None
    query_max_resp: int | None = None
    seq_no: int = 0


@dataclass(frozen=True, slots=True)
class IGMPGroup(Row):
    TABLE: ClassVar[str] = "IGMP_Group"
    address: str = ""
    protocol: str = ""
    datapath: Uuid | None = None
    chassis: Uuid | None = None
    chassis_name: str = ""
    ports: Uuids = ()


@dataclass(frozen=True, slots=True)
class ServiceMonitor(Row):
    TABLE: ClassVar[str] = "Service_Monitor"
    type: str | None = None
    ip: str = ""
    mac: str = ""
    protocol: str | None = None
    port: int = 0
    logical_input_port: str = ""
    logical_port: str = ""
    src_mac: str = ""
    src_ip: str = ""
    chassis_name: str = ""
    status: str | None = None
    ic_learned: bool = False
    remote: bool = False
    options: Map = _map()


@dataclass(frozen=True, slots=True)
class BFD(Row):
    TABLE: ClassVar[str] = "BFD"
    src_port: int = 0
    disc: int = 0
    logical_port: str = ""
    dst_ip: str = ""
    min_tx: int = 0
    min_rx: int = 0
    detect_mult: int = 0
    status: str = ""
    options: Map = _map()
    chassis_name: str = ""


@dataclass(frozen=True, slots=True)
class ControllerEvent(Row):
    TABLE: ClassVar[str] = "Controller_Event"
    event_type: str = ""
    event_info: Map = _map()
    chassis: Uuid | None = None
    seq_num: int = 0


@dataclass(frozen=True, slots=True)
class ECMPNexthop(Row):
    TABLE: ClassVar[str] = "ECMP_Nexthop"
    nexthop: str = ""
    port: Uuid = ""
    mac: str = ""
    datapath: Uuid = ""


@dataclass(frozen=True, slots=True)
class ACLID(Row):
    TABLE: ClassVar[str] = "ACL_ID"
    id: int = 0


@dataclass(frozen=True, slots=True)
class AdvertisedRoute(Row):
    TABLE: ClassVar[str] = "Advertised_Route"
    datapath: Uuid = ""
    logical_port: Uuid = ""
    ip_prefix: str = ""
    tracked_port: Uuid | None = None
    external_ids: Map = _map()


@dataclass(frozen=True, slots=True)
class LearnedRoute(Row):
    TABLE: ClassVar[str] = "Learned_Route"
    datapath: Uuid = ""
    logical_port: Uuid = ""
    ip_prefix: str = ""
    nexthop: str = ""
    external_ids: Map = _map()


@dataclass(frozen=True, slots=True)
class AdvertisedMACBinding(Row):
    TABLE: ClassVar[str] = "Advertised_MAC_Binding"
    datapath: Uuid = ""
    logical_port: Uuid = ""
    ip: str = ""
    mac: str = ""


#: Every table above, in the order in which changes are best taken in: what others
#: refer to comes first.
SOUTHBOUND: Final[tuple[type[Row], ...]] = (
    SBGlobal,
    Encap,
    Chassis,
    ChassisPrivate,
    DatapathBinding,
    LogicalDpGroup,
    GatewayChassis,
    HAChassis,
    HAChassisGroup,
    PortBinding,
    MulticastGroup,
    AddressSet,
    PortGroup,
    ChassisTemplateVar,
    LogicalFlow,
    MACBinding,
    StaticMACBinding,
    FDB,
    LoadBalancer,
    Meter,
    MeterBand,
    DHCPOptions,
    DHCPv6Options,
    DNS,
    Mirror,
    IPMulticast,
    IGMPGroup,
    ServiceMonitor,
    BFD,
    ControllerEvent,
    ECMPNexthop,
    ACLID,
    AdvertisedRoute,
    LearnedRoute,
    AdvertisedMACBinding,
)
