# SPDX-License-Identifier: Apache-2.0
"""The data plane's control block and counters, as the kernel has them now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ovn_bpf_controller._native import ffi, lib


def tunnel_mode(maps: Mapping[str, int]) -> tuple[int, int]:
    """(enum ovn_tunnel_mode, ifindex of the tunnel device)."""
    control: Any = ffi.new("struct ovn_ctl *")
    assert lib.ovn_map_lookup(maps["ovn_ctl"], ffi.new("uint32_t *", 0), control) == 0
    return control.tunnel_mode, control.tunnel_ifindex


def dropped(maps: Mapping[str, int], reason: int) -> int:
    """Packets dropped for a reason (enum ovn_drop), on all CPUs."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as text:
        cpus = int(text.read().strip().rpartition("-")[2]) + 1
    counts: Any = ffi.new("struct ovn_count[]", cpus)
    assert lib.ovn_map_lookup(maps["ovn_drops"], ffi.new("uint32_t *", reason), counts) == 0
    return sum(count.packets for count in counts)


def release() -> tuple[int, ...]:
    """Version of the running kernel: (6, 12)."""
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
