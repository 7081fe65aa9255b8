# SPDX-License-Identifier: Apache-2.0
"""What the operator configured: Open_vSwitch.external_ids turned into one Config.

Called by the engine whenever the Open_vSwitch row changes.  Every key may be
written per chassis (`KEY-<chassis>` beats `KEY`), because several controllers may
share one local database.  Keys, defaults and ranges: ovn-controller(8).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path

import ovs.vlog

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.plaindata import dataclass

vlog = ovs.vlog.Vlog("binding_config")

DEFAULT_PROBE_MS = 5000
MAX_CT_ZONE = 65535
DEFAULT_CT_MAX = 1 << 18
CT_MAX_RANGE = range(1024, (1 << 24) + 1)
OVERRIDE = "system-id-override"
# Values of ovn-bpf-tunnel, a key of our own; the first is the default.
TUNNELS = ("auto", "netdev", "inline")

# Keys that ovn-controller copies to Chassis.other_config unchanged, and what it
# writes where they are not set.
ECHOED = {
    "ovn-bridge-mappings": "",
    "ovn-cms-options": "",
    "ovn-monitor-all": "false",
    "ovn-enable-lflow-cache": "true",
    "ovn-limit-lflow-cache": "",
    "ovn-memlimit-lflow-cache-kb": "",
    "ovn-trim-limit-lflow-cache": "",
    "ovn-trim-wmark-perc-lflow-cache": "",
    "ovn-trim-timeout-ms": "",
    "ovn-chassis-mac-mappings": "",
    "ovn-evpn-vxlan-ports": "",
    "ovn-evpn-local-ip": "",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Configuration of this chassis; texts are as the operator wrote them.

    chassis: "" while unknown.  probe_ms: inactivity probe of the Southbound, 0 is
    off.  encap_tos: 0..255, None for "inherit".  tunnel: a word of TUNNELS.
    metrics: where to serve them, see observe.metrics_server; "" for nowhere.
    ct_zones: inclusive range.  ct_max: connections to track.  garp_max_seconds: cap of
    the pauses between announcements, which then never end; 0: they do.
    bridge_mappings: (network, bridge).  tunnel_options: of tunnels' Interface rows.
    """

    chassis: str
    hostname: str
    remotes: tuple[str, ...]
    probe_ms: int
    monitor_all: bool
    bridge: str
    bridge_datapath_type: str | None
    encap_types: tuple[str, ...]
    encap_ips: tuple[str, ...]
    encap_ip_default: str | None
    encap_csum: str
    encap_tos: int | None
    encap_df: bool
    set_local_ip: bool
    tunnel_options: tuple[tuple[str, str], ...]
    bridge_mappings: tuple[tuple[str, str], ...]
    tunnel: str
    transport_zones: frozenset[str]
    is_interconn: bool
    ct_zones: tuple[int, int]
    ct_max: int
    metrics: str
    garp_max_seconds: int
    cleanup_on_exit: bool
    echoed: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether it says enough to be a chassis."""
        return bool(self.chassis and self.remotes and self.encap_types and self.encap_ips)


def chassis_override(option: str | None, sysconfdir: Path) -> str | None:
    """Name that beats external_ids:system-id, or None; read once, at start.

    option: what -n gave.  sysconfdir: OVN's (`/etc`).  The man page places the
    file `system-id-override` in OVN's own directory below it, Debian's binary in
    it: the binary's place is looked at first.  Raises StartupError when the file
    cannot be read, because any other name would register a wrong chassis.
    """
    if option:
        return option
    for path in (sysconfdir / OVERRIDE, sysconfdir / "ovn" / OVERRIDE):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise StartupError(f"{path}: cannot read the chassis name: {error}") from error
        name = text.split("\n", 1)[0].strip()
        if name:
            return name
    return None


def read_config(external_ids: Mapping[str, str], override: str | None = None) -> Config:
    """Interpret `external_ids` of the Open_vSwitch row.

    Never raises: a value out of range is logged and takes its default.
    """
    chassis = override or external_ids.get("system-id", "")
    keys = _Keys(external_ids, chassis)
    remotes = _split(keys.text("ovn-remote", ""))
    encap_ips = tuple(ip for ip in _split(keys.text("ovn-encap-ip", "")) if _valid_ip(ip))
    default_ip = keys.get("ovn-encap-ip-default")
    if default_ip is not None and default_ip not in encap_ips:
        vlog.warn(f"ovn-encap-ip-default ({default_ip}) must be one of the IPs in ovn-encap-ip")
        default_ip = None
    return Config(
        chassis=chassis,
        hostname=keys.text("hostname", "") or socket.gethostname(),
        remotes=remotes,
        probe_ms=_probe(keys, remotes),
        monitor_all=keys.flag("ovn-monitor-all", False),
        bridge=keys.text("ovn-bridge", "") or "br-int",
        bridge_datapath_type=keys.get("ovn-bridge-datapath-type"),
        encap_types=_split(keys.text("ovn-encap-type", "")),
        encap_ips=encap_ips,
        encap_ip_default=default_ip,
        encap_csum=keys.text("ovn-encap-csum", "true"),
        encap_tos=_tos(keys),
        encap_df=keys.flag("ovn-encap-df_default", True),
        set_local_ip=keys.flag("ovn-set-local-ip", False),
        tunnel_options=tuple(_tunnel_options(keys)),
        bridge_mappings=tuple(_mappings(keys.text("ovn-bridge-mappings", ""))),
        tunnel=_tunnel(keys),
        transport_zones=frozenset(_split(keys.text("ovn-transport-zones", ""))),
        is_interconn=keys.flag("ovn-is-interconn", False),
        ct_zones=_zone_range(keys),
        ct_max=_ct_max(keys),
        metrics=keys.text("ovn-bpf-metrics", ""),
        garp_max_seconds=max(0, keys.number("garp-max-timeout-sec") or 0),
        cleanup_on_exit=keys.flag("ovn-cleanup-on-exit", True),
        echoed=tuple((key, keys.text(key, default)) for key, default in ECHOED.items()),
    )


class _Keys:
    """Look-up with the per-chassis form first."""

    def __init__(self, external_ids: Mapping[str, str], chassis: str) -> None:
        self._ids = external_ids
        self._suffix = f"-{chassis}" if chassis else ""

    def get(self, key: str) -> str | None:
        if self._suffix and (key + self._suffix) in self._ids:
            return self._ids[key + self._suffix]
        return self._ids.get(key)

    def text(self, key: str, default: str) -> str:
        value = self.get(key)
        return default if value is None else value

    def flag(self, key: str, default: bool) -> bool:
        """smap_get_bool(): only the opposite of the default changes anything."""
        value = self.text(key, "").lower()
        return value != "false" if default else value == "true"

    def number(self, key: str) -> int | None:
        value = self.get(key)
        if value is None:
            return None
        try:
            return int(value)
        except ValueError:
            vlog.warn(f"{key}: {value!r} is not a number, ignored")
            return None


def _split(text: str) -> tuple[str, ...]:
    """Comma list without blanks and repetitions, in the order written."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _valid_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        vlog.warn(f"ovn-encap-ip: {text!r} is not an IP address, ignored")
        return False
    return True


def _probe(keys: _Keys, remotes: tuple[str, ...]) -> int:
    local = bool(remotes) and all(remote.startswith("unix:") for remote in remotes)
    interval = keys.number("ovn-remote-probe-interval")
    if interval is None:
        return 0 if local else DEFAULT_PROBE_MS
    return 0 if interval <= 0 else max(interval, 1000)


def _tos(keys: _Keys) -> int | None:
    text = keys.text("ovn-encap-tos", "none")
    if text == "none":
        return 0
    if text == "inherit":
        return None
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if 0 <= value <= 255:
        return value
    vlog.warn(f"ovn-encap-tos: {text!r} is neither 'inherit' nor 0..255, ignored")
    return 0


def _tunnel_options(keys: _Keys) -> Iterator[tuple[str, str]]:
    """As the operator wrote them, as ovn-controller passes them on."""
    tos, df = keys.text("ovn-encap-tos", "none"), keys.get("ovn-encap-df_default")
    if tos != "none":
        yield "tos", tos
    if df is not None:
        yield "df_default", df


def _mappings(text: str) -> Iterator[tuple[str, str]]:
    """`NETWORK:BRIDGE,…`; what follows a wrong entry does not count, as in OVN."""
    for entry in text.split(",") if text else ():
        if not entry:
            return
        network, _, bridge = entry.partition(":")
        if not network or not bridge:
            vlog.err(f"Invalid ovn-bridge-mappings configuration: '{text}'")
            return
        yield network, bridge


def _tunnel(keys: _Keys) -> str:
    text = keys.text("ovn-bpf-tunnel", TUNNELS[0])
    if text in TUNNELS:
        return text
    vlog.warn(f"ovn-bpf-tunnel: {text!r} is none of {', '.join(TUNNELS)}, ignored")
    return TUNNELS[0]


def _ct_max(keys: _Keys) -> int:
    wanted = keys.number("ovn-bpf-ct-max")
    if wanted is None:
        return DEFAULT_CT_MAX
    if wanted not in CT_MAX_RANGE:
        vlog.warn(f"ovn-bpf-ct-max: {wanted} is not within {CT_MAX_RANGE[0]}-{CT_MAX_RANGE[-1]}")
    return min(max(wanted, CT_MAX_RANGE[0]), CT_MAX_RANGE[-1])


def _zone_range(keys: _Keys) -> tuple[int, int]:
    text = keys.get("ct-zone-range")
    if text is None:
        return (1, MAX_CT_ZONE)
    low, _, high = text.partition("-")
    try:
        bounds = (int(low), int(high))
    except ValueError:
        bounds = (0, 0)
    if 1 <= bounds[0] <= bounds[1] <= MAX_CT_ZONE:
        return bounds
    vlog.warn(f"ct-zone-range: {text!r} is not MIN-MAX within 1-{MAX_CT_ZONE}, ignored")
    return (1, MAX_CT_ZONE)


def ovn_sysconfdir() -> Path:
    """OVN's configuration directory: $OVN_SYSCONFDIR or /etc."""
    return Path(os.environ.get("OVN_SYSCONFDIR") or "/etc")
