# SPDX-License-Identifier: Apache-2.0
"""What an agent that is not running left in the kernel, and its removal.

A stopped agent leaves its data plane on purpose, so that a restart costs nothing.
Who removes the package, or gives a host back to ovn-controller, asks for this by
`ovn-bpf-ctl cleanup`; a running agent does the same on `exit`.
"""

from __future__ import annotations

from pathlib import Path

from ovn_bpf_controller.datapath import probe, tunnel_netdev
from ovn_bpf_controller.datapath.loader import TOP, discard, pin_name


def clean(instance: str, bpffs: Path = probe.BPFFS) -> list[str]:
    """Removes filters, pins (and by them programs, links, maps) and the tunnel device.

    instance: as Plane has it.  Returns a line for each thing that went.  Raises
    DataPlaneError when the kernel refuses.
    """
    from ovn_bpf_controller.datapath import clsact  # pyroute2 takes long to import

    name = pin_name(instance)
    gone = [f"filter on device {ifindex}" for ifindex in clsact.remove_filters(name)]
    top = bpffs / TOP
    for directory in sorted(top.glob(f"*/{name}")):
        discard(directory)
        gone.append(str(directory))
    if top.is_dir() and not any(top.iterdir()):
        top.rmdir()
    if tunnel_netdev.remove():
        gone.append("tunnel device")
    return gone
