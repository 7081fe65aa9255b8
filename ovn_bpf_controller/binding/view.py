# SPDX-License-Identifier: Apache-2.0
"""What `binding` sees of the local Open_vSwitch database: plain, frozen data.

Made once per iteration by snapshot.py from the local database; everything that decides
takes this, so that tests can write a chassis down in a few lines.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovn_bpf_controller.plaindata import dataclass, field


@dataclass(frozen=True, slots=True)
class Interface:
    """A row of Interface that hangs on the integration bridge.

    ofport: None while nobody has assigned one, -1 when the device is unusable.
    ifindex: what netlink says about `name` now, 0 when there is no such device.
    """

    uuid: str
    name: str
    type: str = ""
    ofport: int | None = None
    ifindex: int = 0
    external_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_vif(self) -> bool:
        """True for what may carry an iface-id: ovn-controller's is_iface_vif()."""
        return self.type in ("", "internal", "system", "tap")


@dataclass(frozen=True, slots=True)
class Bridge:
    """The integration bridge's row."""

    uuid: str
    name: str
    datapath_type: str = ""
    fail_mode: str | None = None
    external_ids: Mapping[str, str] = field(default_factory=dict)
    other_config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A Port of any bridge that OVN could have made: a tunnel or a patch cable.

    bridge, uuid, iface: of the rows; iface is the first Interface's, and `single`
    says that it is the only one.  type and options are the Interface's.
    """

    uuid: str
    name: str
    bridge: str
    iface: str
    type: str
    options: Mapping[str, str]
    external_ids: Mapping[str, str]
    single: bool = True


@dataclass(frozen=True, slots=True)
class LocalView:
    """The local database as far as binding reads it.

    present: there is an Open_vSwitch row.  bridge: None while it is missing.  alone:
    ovs-vswitchd's duties are ours.  datapaths: type -> uuid of Datapath, None where
    the schema has no such table.  bridges: name -> uuid.
    """

    present: bool = False
    external_ids: Mapping[str, str] = field(default_factory=dict)
    other_config: Mapping[str, str] = field(default_factory=dict)
    iface_types: tuple[str, ...] = ()
    bridge: Bridge | None = None
    interfaces: tuple[Interface, ...] = ()
    alone: bool = False
    datapaths: Mapping[str, str] | None = None
    bridges: Mapping[str, str] = field(default_factory=dict)
    port_names: frozenset[str] = frozenset()
    cables: tuple[OvsPort, ...] = ()
