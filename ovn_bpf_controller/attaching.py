# SPDX-License-Identifier: Apache-2.0
"""Programs on the devices of our ports and of the underlay, as they are desired.

The agent calls run() after each round.  The devices are looked at when what is desired
changes, and now and then besides: others may have taken a program away.
"""

from __future__ import annotations

import socket
from typing import Final

from ovn_bpf_controller import wiring
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.datapath.attach import Attachments
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.process.log_core import DBG, WARN
from ovn_bpf_controller.tunnelling import Tunnelling

_log: Final = Logger("main")
_rate: Final = RateLimit(5, 5)

LOOK_SECONDS: Final = 1.0  # between looks at whether programs are still attached


class Attaching:
    """Keeps Attachments in step with what is live.  due: when to look, monotonic s."""

    def __init__(self, plane: Plane, tunnelling: Tunnelling) -> None:
        self._attachments = Attachments(plane)
        self._tunnelling = tunnelling
        self._done: tuple[object, object] | None = None  # datapaths and tunnels
        self._device = 0
        self.due = 0.0

    def run(self, desired: Desired, tunnel: str, now: float) -> None:
        """desired: what is live.  tunnel: Config.tunnel.  now: monotonic seconds."""
        what = (desired.datapaths, desired.tunnels)
        # Compared as objects: what is equal, is the same (binding.desired).
        same = self._done is not None and all(a is b for a, b in zip(what, self._done, strict=True))
        if same and now < self.due:
            return
        self.due = now + LOOK_SECONDS
        device = self._tunnelling.refresh(tunnel, now) if desired.tunnels else 0
        if not same or device != self._device:
            self._attachments.set_wanted(wiring.attachments(desired, device))
            self._done, self._device = what, device
        self._attachments.reconcile()
        for (ifindex, program), why in self._attachments.failed.items():
            # A device may be gone before the databases say so.
            level = WARN if _exists(ifindex) else DBG
            _rate.log(_log, level, f"cannot attach {program} to device {ifindex}: {why}")

    def supersede(self) -> None:
        """What an older layout left has been replaced: see Attachments.supersede()."""
        self._attachments.supersede()


def _exists(ifindex: int) -> bool:
    try:
        socket.if_indextoname(ifindex)
    except OSError:
        return False
    return True
