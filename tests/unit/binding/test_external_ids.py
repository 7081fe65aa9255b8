# SPDX-License-Identifier: Apache-2.0
"""Every key of external_ids that some ovn-controller reads is obeyed here, or excused.

Lists: ovn-controller(8) of 23.03, and what releases up to 26.03 added.
"""

from __future__ import annotations

import pytest

from ovn_bpf_controller.binding.accepted import REASONS, Notice
from ovn_bpf_controller.binding.config import read_config

MANUAL = {
    *("system-id", "hostname", "ovn-remote", "ovn-remote-probe-interval", "ovn-monitor-all"),
    *("ovn-bridge", "ovn-bridge-datapath-type", "ovn-bridge-mappings", "ovn-encap-type"),
    *("ovn-encap-ip", "ovn-encap-csum", "ovn-encap-tos", "ovn-encap-df_default"),
    *("ovn-set-local-ip", "ovn-chassis-mac-mappings", "ovn-is-interconn", "ovn-cms-options"),
    *("ovn-transport-zones", "ovn-match-northd-version", "ovn-openflow-probe-interval"),
    *("ovn-ofctrl-wait-before-clear", "ovn-enable-lflow-cache", "ovn-limit-lflow-cache"),
    *("ovn-memlimit-lflow-cache-kb", "ovn-trim-limit-lflow-cache", "ovn-trim-timeout-ms"),
    "ovn-trim-wmark-perc-lflow-cache",
}
NEWER = {
    *("ovn-encap-ip-default", "ovn-enable-flow-based-tunnels", "ovn-bridge-remote"),
    *("ovn-bridge-remote-probe-interval", "garp-max-timeout-sec", "arp-nd-max-timeout-sec"),
    *("ct-zone-range", "ovn-cleanup-on-exit", "ovn-evpn-vxlan-ports", "ovn-evpn-local-ip"),
    *("dynamic-routing-port-mapping", "ovn-managed-flow-restore-wait"),
}
CHASSIS = "hv1"


class Read(dict[str, str]):
    """external_ids that remembers which keys were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.keys_read: set[str] = set()

    def __contains__(self, key: object) -> bool:
        self.keys_read.add(str(key))
        return False

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.keys_read.add(key)
        return CHASSIS if key == "system-id" else default


def test_every_key_is_obeyed_or_excused() -> None:
    asked = Read()
    read_config(asked)
    plain = {key.removesuffix(f"-{CHASSIS}") for key in asked.keys_read}
    assert (MANUAL | NEWER) - plain - REASONS.keys() == set()
    # Each of those also as KEY-<chassis>.
    assert {f"{key}-{CHASSIS}" for key in plain - {"system-id"}} <= asked.keys_read


@pytest.mark.parametrize("suffix", ["", f"-{CHASSIS}"])
@pytest.mark.parametrize("key", REASONS)
def test_a_key_without_effect_is_told_of_once(key: str, suffix: str) -> None:
    notice = Notice()
    ids = {f"{key}{suffix}": "1"}
    assert notice.look(ids, CHASSIS) == [
        f"external_ids:{key}{suffix} has no effect: {REASONS[key]}"
    ]
    assert notice.look(ids, CHASSIS) == []
