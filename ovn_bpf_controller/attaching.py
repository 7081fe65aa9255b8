# SPDX-License-Identifier: Apache-2.0
"""Programs on the devices of our ports and of the underlay, as they are desired.

The agent calls run() after each round with what is live, so a device never runs a program
whose tables do not know it, and tells binding what came of it: a port is up only when
its device runs its program.  The work is done by a thread (datapath.attacher).  It looks
at the devices now and then besides: others may have taken a program away.
"""

from __future__ import annotations

import select
import socket
from typing import Any, Final

from ovn_bpf_controller import wiring
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.datapath.attach import Attachment
from ovn_bpf_controller.datapath.attacher import Attacher, Progress
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.process.log_core import DBG, WARN
from ovn_bpf_controller.tunnelling import Tunnelling

_log: Final = Logger("main")
_rate: Final = RateLimit(5, 5)

LOOK_SECONDS: Final = 1.0  # between looks at whether programs are still attached


class Attaching:
    """Keeps devices in step with what is live.  due: when to look, monotonic s.

    unready: devices that are to run a program and do not.  settled: those that were
    wanted so far do, or cannot; lived: that was so once.
    """

    def __init__(self, plane: Plane, tunnelling: Tunnelling) -> None:
        self._attacher = Attacher(plane)
        self._tunnelling = tunnelling
        self._done: tuple[object, object] | None = None  # datapaths and tunnels
        self._device = 0
        self._seq = 0  # of what was live last
        # What is wanted: the first Desired.seq that may have asked, and the request.
        self._since: dict[Attachment, tuple[int, int]] = {}
        self._asked = False  # whether anything was wanted yet, if only nothing
        self._progress = Progress(0, frozenset(), {})
        self._pending: frozenset[Attachment] = frozenset()
        self.unready: frozenset[int] = frozenset()
        self.lived = False
        self.due = 0.0

    def run(self, desired: Desired, tunnel: str, now: float) -> None:
        """desired: what is live.  tunnel: Config.tunnel.  now: monotonic seconds."""
        what = (desired.datapaths, desired.tunnels)
        # Compared as objects: what is equal, is the same (binding.desired).
        same = self._done is not None and all(a is b for a, b in zip(what, self._done, strict=True))
        if not same or now >= self.due:
            self._run(desired, tunnel, now, same)
            self._done = what
        self._seq = desired.seq

    def _run(self, desired: Desired, tunnel: str, now: float, same: bool) -> None:
        self.due = now + LOOK_SECONDS
        device = self._tunnelling.refresh(tunnel, now) if desired.tunnels else 0
        if same and device == self._device:
            self._attacher.look()
            return
        self._device = device
        wanted = wiring.attachments(desired, device)
        if wanted != self._since.keys() or not self._asked:
            # What is wanted first now may have been asked for by any iteration since.
            self._asked = True
            new = (self._seq + 1, self._attacher.want(wanted))
            self._since = {item: self._since.get(item, new) for item in wanted}
            self._count()

    def collect(self) -> None:
        """What the thread has done meanwhile."""
        try:
            progress = self._attacher.progress()
        except (DataPlaneError, OSError) as error:  # the next look tries again
            _rate.warn(_log, f"devices cannot be looked at: {error}")
            return
        if progress is None:
            return
        self._progress = progress
        self._count()
        self.lived |= self.settled
        for (ifindex, program), why in progress.failed.items():
            # A device may be gone before the databases say so.
            level = WARN if _exists(ifindex) else DBG
            _rate.log(_log, level, f"cannot attach {program} to device {ifindex}: {why}")

    def _count(self) -> None:
        known = self._progress
        missing = {
            item
            for item, (_, request) in self._since.items()
            if item not in known.running or request > known.request
        }
        self._pending = frozenset(missing - known.failed.keys())
        self.unready = frozenset(ifindex for ifindex, _ in missing)

    @property
    def settled(self) -> bool:
        """See the class."""
        return not self._pending

    def attached(self, seq: int) -> int:
        """Up to which iteration what is live on devices is, if tables are up to `seq`."""
        return min((self._since[item][0] - 1 for item in self._pending), default=seq)

    def wait(self, poller: Any) -> None:
        """Wakes when collect() has something to say."""
        poller.fd_wait(self._attacher.fileno(), select.POLLIN)

    def hold(self) -> None:
        """The plane changes: devices stay as they are until resume() or supersede()."""
        self._attacher.hold()

    def resume(self) -> None:
        """It did not."""
        self._attacher.resume()

    def supersede(self) -> None:
        """What an older layout left has been replaced: see Attachments.supersede()."""
        self._attacher.supersede()

    def close(self) -> None:
        """What runs goes on; what does not yet is the next agent's."""
        self._attacher.close()


def _exists(ifindex: int) -> bool:
    try:
        socket.if_indextoname(ifindex)
    except OSError:
        return False
    return True
