# SPDX-License-Identifier: Apache-2.0
"""What the integration bridge's row must hold, and the keys that go with it.

Pure: fills LocalWrites for the engine.  The bridge is created as ovn-controller
creates it; no packet of OVN goes through it, but operators, CNI plugins and libvirt
find their ports there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from ovn_bpf_controller.binding.config import Config
from ovn_bpf_controller.binding.if_status import INSTALLED, INSTALLED_TS
from ovn_bpf_controller.binding.ovs_writes import LocalWrites
from ovn_bpf_controller.binding.view import LocalView
from ovn_bpf_controller.binding.zones import PREFIX

DEFAULT_DATAPATH_TYPE = "system"


def bridge_writes(view: LocalView, config: Config) -> LocalWrites:
    """Create the bridge, or put right what another has set differently."""
    writes = LocalWrites()
    if not view.present:
        return writes
    if view.bridge is None:
        # With hwaddr set ovs-vswitchd keeps one datapath id whatever is plugged.
        writes.create_bridge = {"disable-in-band": "true", "hwaddr": _random_mac()}
        return writes
    wanted = {
        "datapath_type": config.bridge_datapath_type
        or view.bridge.datapath_type
        or DEFAULT_DATAPATH_TYPE,
        "fail_mode": "secure",
    }
    have = {"datapath_type": view.bridge.datapath_type, "fail_mode": view.bridge.fail_mode}
    writes.bridge = {key: value for key, value in wanted.items() if have[key] != value}
    # Older schemas have no table Datapath.
    if view.datapaths is not None and wanted["datapath_type"] not in view.datapaths:
        writes.datapath = wanted["datapath_type"]
    return writes


def _random_mac() -> str:
    """A unicast, locally administered address, as OVS's eth_addr_random()."""
    octets = [random.getrandbits(8) for _ in range(6)]
    octets[0] = (octets[0] & ~0x01) | 0x02
    return ":".join(f"{octet:02x}" for octet in octets)


def zone_writes(view: LocalView, persistent: Mapping[str, str]) -> dict[str, str | None]:
    """Bridge.external_ids changes that make its ct-zone-* equal `persistent`."""
    if view.bridge is None:
        return {}
    have = {k: v for k, v in view.bridge.external_ids.items() if k.startswith(PREFIX)}
    writes: dict[str, str | None] = {
        key: value for key, value in persistent.items() if have.get(key) != value
    }
    writes.update(dict.fromkeys(have.keys() - persistent.keys()))
    return writes


def nb_cfg_writes(
    view: LocalView, nb_cfg: int, since_ms: int, startup_ms: int
) -> dict[str, str | None]:
    """ovn-nb-cfg, ovn-nb-cfg-ts and ovn-startup-ts; times in ms of the Unix epoch."""
    if view.bridge is None:
        return {}
    have = view.bridge.external_ids
    writes: dict[str, str | None] = {}
    if have.get("ovn-startup-ts") != str(startup_ms):
        writes["ovn-startup-ts"] = str(startup_ms)
    if nb_cfg and have.get("ovn-nb-cfg") != str(nb_cfg):
        writes["ovn-nb-cfg"] = str(nb_cfg)
        writes["ovn-nb-cfg-ts"] = str(since_ms)
    return writes


def installed_writes(
    installed: list[str], uninstalled: list[str], now_ms: int
) -> dict[str, dict[str, str | None]]:
    """Interface.external_ids changes for ports that became ready or ceased to be."""
    writes: dict[str, dict[str, str | None]] = {
        uuid: {INSTALLED: None, INSTALLED_TS: None} for uuid in uninstalled
    }
    for uuid in installed:
        writes[uuid] = {INSTALLED: "true", INSTALLED_TS: str(now_ms)}
    return writes
