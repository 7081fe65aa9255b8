# SPDX-License-Identifier: Apache-2.0
"""Who writes the outer headers: our program (inline), or the kernel's tunnel device.

The agent calls refresh() whenever it looks at its attachments.  The device is
better where there is one, because it brings GRO (docs/architecture.md); the
operator chooses with external_ids:ovn-bpf-tunnel = auto (default), netdev, inline.
"""

from __future__ import annotations

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.binding.desired import Desired
from ovn_bpf_controller.datapath import probe, tunnel_netdev
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.plaindata import replace
from ovn_bpf_controller.process.log import Logger
from ovn_bpf_controller.underlay.links import Links

_log = Logger("tunnelling")

RETRY_SECONDS = 60.0  # after the kernel had no device for us


class Tunnelling:
    """The choice in force, kept in the control block of the tables.

    Until the first refresh() a data plane that was adopted keeps its own.
    """

    def __init__(self, tables: Tables, links: Links) -> None:
        self._tables = tables
        self._links = links
        self._ifindex: int | None = None
        self._wanted = ""
        self._retry_at = 0.0
        self._told = False

    @property
    def ifindex(self) -> int:
        """The device in use, 0 when inline or not decided yet."""
        return self._ifindex or 0

    def without_clear_text(self, desired: Desired, ipsec: bool) -> Desired:
        """No tunnels rather than some that IPsec does not see.

        What the program encapsulates itself passes the kernel's xfrm by.  ipsec: whether
        the CMS wants it.  Told once, when there is something to lose.
        """
        if not ipsec or self._ifindex:
            self._told = False
            return desired
        if desired.tunnels and self._ifindex is not None and not self._told:
            self._told = True
            _log.err("ipsec=true needs a tunnel device: no traffic to other chassis")
        return replace(desired, tunnels={})

    def refresh(self, wanted: str, now: float) -> int:
        """Makes it so; returns the ifindex of the device, or 0 when inline.

        wanted: Config.tunnel.  now: seconds, monotonic.  Without a device both
        "auto" and "netdev" fall back to inline: the same packets leave.
        """
        changed, self._wanted = wanted != self._wanted, wanted
        if wanted == "inline":
            self._use(0, "chosen by ovn-bpf-tunnel")
        elif self._ifindex and self._links.index(self._ifindex) is not None and not changed:
            pass  # still there
        elif changed or self._ifindex or now >= self._retry_at:
            self._ensure(wanted, now)
        return self._ifindex or 0

    def moved(self, tables: Tables) -> None:
        """The tables were read anew, or are others."""
        self._tables = tables
        if self._ifindex is not None:
            self._tell()

    def remove(self) -> None:
        """Clean exit: the device goes if it was made for us."""
        try:
            if self._ifindex:
                tunnel_netdev.remove()
        except DataPlaneError as error:
            _log.warn(f"the tunnel device stays: {error}")

    def _ensure(self, wanted: str, now: float) -> None:
        try:
            ifindex = tunnel_netdev.ensure()
        except DataPlaneError as error:
            self._retry_at = now + RETRY_SECONDS
            if wanted == "netdev":
                _log.warn(f"ovn-bpf-tunnel=netdev cannot be had: {error}")
            self._use(0, str(error))
        else:
            self._use(ifindex, "")

    def _use(self, ifindex: int, why: str) -> None:
        if ifindex == self._ifindex:
            return
        self._ifindex = ifindex
        self._tell()
        if ifindex:
            _log.info(f"tunnels go through device {ifindex}")
        else:
            _log.info(f"tunnel headers are written by the program itself: {why}")

    def _tell(self) -> None:
        mode = lib.OVN_TUNNEL_NETDEV if self.ifindex else lib.OVN_TUNNEL_INLINE
        self._tables.set_tunnel_mode(mode, self.ifindex, probe.has_decap_flags())
