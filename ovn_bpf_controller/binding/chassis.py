# SPDX-License-Identifier: Apache-2.0
"""Our own rows: Chassis, its Encaps, Chassis_Private.

Called by the engine once per iteration; says what to write, or nothing.  Writes
stay within the columns that RBAC's role `ovn-controller` allows; hostname is the
one column outside and goes alone, so that a refusal costs nothing else.
other_config is merged, external_ids are never touched: CMS agents keep theirs
there.  Who publishes too few feature flags downgrades everybody's flows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.view import LocalView
from ovn_bpf_controller.ovsdb.tables import Chassis, ChassisPrivate, Encap
from ovn_bpf_controller.plaindata import dataclass, field

# What northd asks of every chassis before it emits newer flows: those of OVN 23.03
# first, then those of 23.06 to 26.03 (include/ovn/features.h).
FEATURES = (
    "port-up-notif",
    "ct-no-masked-label",
    "mac-binding-timestamp",
    "ovn-ct-lb-related",
    "fdb-timestamp",
    "ls-dpg-column",
    "ct-commit-nat-v2",
    "ct-commit-to-zone",
    "ovn-sample-with-registers",
    "ct-next-zone",
    "ct-label-flush",
    "ct-state-save",
)
# No kernel has STT, and a type that the schema does not know spoils the transaction.
ENCAP_TYPES = ("geneve", "vxlan")


@dataclass(frozen=True, slots=True)
class EncapSpec:
    """An Encap row as it must be; (type, ip) is unique in the Southbound."""

    type: str
    ip: str
    options: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class ChassisWrites:
    """What our rows lack.  Empty mappings and None mean: nothing to do.

    insert: there is no Chassis row.  encaps: all that Chassis.encaps must list,
    each with the uuid of the row that already is there, or None for a new one.
    private: Chassis_Private must be inserted or point to the Chassis.
    """

    insert: bool = False
    other_config: dict[str, str] = field(default_factory=dict)
    encaps: list[tuple[EncapSpec, str | None]] | None = None
    transport_zones: tuple[str, ...] | None = None
    hostname: str | None = None
    private: bool = False

    def __bool__(self) -> bool:
        return bool(
            self.insert
            or self.other_config
            or self.encaps is not None
            or self.transport_zones is not None
            or self.private
        )


@dataclass(slots=True)
class Refusal:
    """Why this chassis cannot be registered or not with all its encaps.

    notes: what is not configured (yet).  messages: what is wrong.
    """

    notes: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


def other_config(config: Config, view: LocalView) -> dict[str, str]:
    """Every key that ovn-controller writes to Chassis.other_config."""
    datapath_type = view.bridge.datapath_type if view.bridge is not None else ""
    wanted = dict(config.echoed)
    wanted["datapath-type"] = datapath_type
    wanted["iface-types"] = ",".join(view.iface_types)
    wanted["is-interconn"] = "true" if config.is_interconn else "false"
    wanted.update(dict.fromkeys(FEATURES, "true"))
    return wanted


def encap_specs(config: Config) -> list[EncapSpec]:
    """One Encap for each address and each type that we can be asked for."""
    specs = []
    for ip in config.encap_ips:
        options = {"csum": config.encap_csum}
        if ip == config.encap_ip_default:
            options["is_default"] = "true"
        for kind in (kind for kind in config.encap_types if kind in ENCAP_TYPES):
            specs.append(EncapSpec(kind, ip, tuple(sorted(options.items()))))
    return specs


def plan(
    config: Config,
    view: LocalView,
    me: Chassis | None,
    private: ChassisPrivate | None,
    encaps: Mapping[str, Encap],
    refusal: Refusal,
) -> ChassisWrites:
    """Compare the rows with what is configured.

    me, private: our rows, None while there are none.  encaps: all Encap rows.
    refusal: filled with what an operator must put right; nothing is planned when
    no usable encap is left.
    """
    writes = ChassisWrites()
    if not config.chassis:
        refusal.messages.append("'system-id' in Open_vSwitch database is missing.")
        return writes
    if not config.encap_types or not config.encap_ips:
        refusal.notes.append("Need to specify an encap type and ip")
        return writes
    for kind in sorted(set(config.encap_types) - set(ENCAP_TYPES)):
        refusal.notes.append(f"Unknown tunnel type: {kind}")
    specs = list(_free(config.chassis, encap_specs(config), encaps.values(), refusal))
    if not specs:
        return writes
    _plan_encaps(writes, config, specs, me, encaps)
    have = me.other_config if me is not None else {}
    wanted = other_config(config, view)
    writes.other_config = {key: value for key, value in wanted.items() if have.get(key) != value}
    zones = tuple(sorted(config.transport_zones))
    if me is None:
        writes.insert = True
        writes.hostname = config.hostname
        writes.transport_zones = zones
    else:
        writes.transport_zones = zones if zones != tuple(sorted(me.transport_zones)) else None
        writes.hostname = config.hostname if config.hostname != me.hostname else None
    writes.private = private is None or me is None or private.chassis != me.uuid
    return writes


def _free(
    name: str, specs: Iterable[EncapSpec], rows: Iterable[Encap], refusal: Refusal
) -> Iterable[EncapSpec]:
    """Those that no other chassis has: the database refuses a second one."""
    taken = {(row.type, row.ip): row.chassis_name for row in rows if row.chassis_name != name}
    for spec in specs:
        owner = taken.get((spec.type, spec.ip))
        if owner is None:
            yield spec
            continue
        refusal.messages.append(
            f"'{owner}' already has encap ip '{spec.ip}' and type '{spec.type}', "
            f"cannot duplicate on '{name}' (remove the stale chassis, or give each "
            "host its own ovn-encap-ip)"
        )


def _plan_encaps(
    writes: ChassisWrites,
    config: Config,
    specs: list[EncapSpec],
    me: Chassis | None,
    encaps: Mapping[str, Encap],
) -> None:
    ours = [encaps[uuid] for uuid in (me.encaps if me is not None else ()) if uuid in encaps]
    have = {(row.type, row.ip): row for row in ours if row.chassis_name == config.chassis}
    found: list[tuple[EncapSpec, str | None]] = []
    right = len(ours) == len(specs)
    for spec in specs:
        row = have.get((spec.type, spec.ip))
        found.append((spec, row.uuid if row is not None else None))
        right = right and row is not None and row.options == dict(spec.options)
    if me is None or not right:
        writes.encaps = found
