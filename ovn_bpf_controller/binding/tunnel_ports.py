# SPDX-License-Identifier: Apache-2.0
"""Ports of the integration bridge that show our tunnels, as ovn-controller's would.

No packet of ours goes through them: operators look at them with `ovs-vsctl show`,
ovn-monitor-ipsec makes policies of them.  Called by ovs_ports; pure.  Names, options
and external_ids are those of encaps.c of OVN 23.03.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from ovn_bpf_controller.binding import tunnels
from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.ovs_writes import PortWish
from ovn_bpf_controller.binding.view import LocalView, OvsPort
from ovn_bpf_controller.ovsdb.tables import Chassis, Encap, SBGlobal

CHASSIS_ID = "ovn-chassis-id"
INDEX = "ovn-chassis-idx-"  # keys of Open_vSwitch.other_config
INDICES = ("", *"0123456789abcdefghijklmnopqrstuvwxyz")
_MOST = 0xFFFF  # ports with one beginning of a name
_RANKS = {"vxlan": 1, "stt": 2, "geneve": 3}
_IPSEC = ("ipsec_encapsulation", "ipsec_forceencaps")


class Tunnel:
    """A port to be: to which chassis, of which type, with which options."""

    __slots__ = ("chassis", "options", "type")

    def __init__(self, chassis: str, kind: str, options: dict[str, str]) -> None:
        self.chassis = chassis
        self.type = kind
        self.options = options


def wanted(
    me: Chassis,
    config: Config,
    rows: Iterable[Chassis],
    encaps: Mapping[str, Encap],
    ipsec: tuple[str, ...] | None,
) -> dict[str, Tunnel]:
    """`<chassis>@<remote ip>` -> the port, for each address of each chassis in reach."""
    ours = _encaps(me, encaps)
    local = _local_ip(config, ours) if config.set_local_ip or ipsec is not None else ""
    found: dict[str, Tunnel] = {}
    for row in sorted(rows, key=lambda row: row.name):
        if row.uuid == me.uuid or not tunnels.meets(me, config, row):
            continue
        theirs = _encaps(row, encaps)
        common = {e.type for e in ours} & {e.type for e in theirs} & _RANKS.keys()
        best = max(common, key=_RANKS.__getitem__, default="")
        for encap in sorted(theirs, key=lambda encap: encap.ip):
            if encap.type == best:
                options = _options(config, row.name, encap, local, ipsec)
                found[f"{row.name}@{encap.ip}"] = Tunnel(row.name, best, options)
    return found


def _encaps(row: Chassis, encaps: Mapping[str, Encap]) -> list[Encap]:
    return [encap for uuid in row.encaps if (encap := encaps.get(uuid)) is not None]


def ipsec(sb_global: SBGlobal | None) -> tuple[str, ...] | None:
    """Options of tunnels that IPsec protects; None while it does not."""
    if sb_global is None or not sb_global.ipsec:
        return None
    return tuple(key for key in _IPSEC if sb_global.options.get(key, "").lower() == "true")


def _local_ip(config: Config, ours: list[Encap]) -> str:
    """local_ip for all tunnels; a list of addresses is not told apart."""
    addresses = {encap.ip for encap in ours}
    return next((ip for ip in config.encap_ips if ip in addresses), "")


def _options(
    config: Config, chassis: str, encap: Encap, local: str, ipsec: tuple[str, ...] | None
) -> dict[str, str]:
    options = {"remote_ip": encap.ip, "key": "flow", **dict(config.tunnel_options)}
    csum = encap.options.get("csum")
    if csum in ("true", "false"):
        options["csum"] = csum
    if "dst_port" in encap.options:
        options["dst_port"] = encap.options["dst_port"]
    if local:
        options["local_ip"] = local
    if ipsec is not None:
        options |= {"remote_name": chassis, **dict.fromkeys(ipsec, "yes")}
    return options


def plan(view: LocalView, wanted: Mapping[str, Tunnel], index: str) -> Iterator[PortWish]:
    """What is to be done to the bridge's ports.  index: see chassis_index()."""
    if view.bridge is None:
        return
    have: dict[str, OvsPort] = {}
    for port in shown(view):
        # Since 24.03 the local address follows: <chassis>@<remote ip>%<local ip>.
        key = port.external_ids[CHASSIS_ID].partition("%")[0]
        if key in wanted and key not in have:
            have[key] = port
        else:
            yield PortWish(port.bridge, port.name, old=port, remove=True)
    taken = set(view.port_names)
    for key, tunnel in wanted.items():
        old = have.get(key)
        name = old.name if old is not None else free_name(tunnel.chassis, index, taken)
        taken.add(name)
        wish = PortWish(view.bridge.uuid, name, tunnel.type, tunnel.options, {CHASSIS_ID: key}, old)
        if name and not wish.fulfilled:
            yield wish


def shown(view: LocalView) -> list[OvsPort]:
    """Tunnels' ports that are there."""
    uuid = view.bridge.uuid if view.bridge is not None else ""
    return [p for p in view.cables if p.bridge == uuid and CHASSIS_ID in p.external_ids]


def free_name(chassis: str, index: str, taken: Set[str]) -> str:
    """`ovn-<first 6 of chassis>-<hex>`, "" when there is none left."""
    head = f"ovn{index}-{chassis[: 5 if index else 6]}-"
    return next((name for n in range(_MOST) if (name := f"{head}{n:x}") not in taken), "")


def chassis_index(chassis: str, other_config: Mapping[str, str]) -> str:
    """What tells controllers apart that share a database: "" for the first."""
    known = other_config.get(f"{INDEX}{chassis}")
    if known is not None:
        return known
    used = {value for key, value in other_config.items() if key.startswith(INDEX)}
    return next((index for index in INDICES if index not in used), "")
