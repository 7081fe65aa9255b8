# SPDX-License-Identifier: Apache-2.0
"""The data plane with flows, ports and groups of a test's choice.

Frames go in and come out by real veth devices; only what no device can carry goes
in by PROG_TEST_RUN.  Rules come from the compiler, maps from Tables: what is left
to test is the BPF program.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from pyroute2 import IPRoute

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.compiler import FlowCompiler, LogicalFlow
from ovn_bpf_controller.datapath.attach import Attachments
from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.counters import Counters
from ovn_bpf_controller.datapath.loader import Plane
from ovn_bpf_controller.datapath.reasons import reason_text
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.model import Datapath, McGroup, Port, PortKind, Tunnel
from tests.support.kernel import Kernel, Result, private_kernel, test_run
from tests.support.world import World

OUTGOING = 4  # PACKET_OUTGOING of packet(7)
DEADLINE = 30.0  # seconds that a frame may take


def mac(port: int) -> str:
    """The MAC address of port `port`."""
    return f"02:00:00:00:00:{port:02x}"


class Bed:
    """One chassis' data plane.  Datapath 1 has the ports that plug() makes.

    Port n is device v<n>, and p<n> is what its guest has.
    """

    def __init__(self, kernel: Kernel, sizes: Mapping[str, int]) -> None:
        self.kernel = kernel
        self.plane = Plane("test", sizes=sizes)
        self.tables = Tables(self.plane.maps)
        self.world = World()
        self.compiler = FlowCompiler(self.world)
        self.attachments = Attachments(self.plane)
        self.devices: dict[str, int] = {}
        self._wanted: set[tuple[int, str]] = set()
        self._sockets: dict[str, socket.socket] = {}
        self._numbers = 0
        self.last_flow = ""  # what flow() named the last one
        self.apply(datapaths_added=[Datapath(1)])

    def close(self) -> None:
        """Gives all fds back; the namespaces take the rest."""
        for each in self._sockets.values():
            each.close()
        self.tables.close()
        self.plane.close()

    # --- what there is ----------------------------------------------------------

    def apply(self, **change: list[object]) -> int:
        """Tables.apply of a TableChange with these fields."""
        generation = self.tables.apply(TableChange(**change))  # type: ignore[arg-type]
        assert not self.tables.rejected
        return generation

    def device(self, name: str, peer: str, program: str) -> int:
        """A veth whose `name` end runs `program`; frames are seen at `peer`."""
        ifindex, _ = self.kernel.veth(name, peer)
        with IPRoute() as netlink:
            for end in (name, peer):
                index = netlink.link_lookup(ifname=end)[0]
                netlink.link("set", index=index, mtu=9000)
        self.attach(name, ifindex, program)
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.bind((peer, 0))
        self._sockets[peer] = tap
        return ifindex

    def attach(self, name: str, ifindex: int, program: str) -> None:
        """Lets a device that there is run `program`."""
        self._wanted.add((ifindex, program))
        self.attachments.set_wanted(self._wanted)
        self.attachments.reconcile()
        assert not self.attachments.failed
        self.devices[name] = ifindex

    def plug(self, *ports: int, dp: int = 1) -> None:
        """Ports with a device each."""
        rows = []
        for port in ports:
            ifindex = self.device(f"v{port}", f"p{port}", "ovn_vif")
            rows.append(Port(dp, port, PortKind.VIF, ifindex=ifindex))
            self.world.ports[dp, f"vm{port}"] = port
        self.apply(ports_added=rows)  # type: ignore[arg-type]

    def group(self, key: int, name: str, local: tuple[int, ...], *remote: str, dp: int = 1) -> None:
        """A multicast group."""
        self.world.ports[dp, name] = key
        self.apply(groups_added=[McGroup(dp, key, local, remote)])

    def tunnel(self, name: str, ifindex: int, **fields: object) -> Tunnel:
        """A chassis behind `ifindex`."""
        known: dict[str, object] = {
            "local": "192.0.2.1",
            "remote": "192.0.2.2",
            "mtu": 1500,
            "src_mac": bytes.fromhex("0a0000000001"),
            "dst_mac": bytes.fromhex("0a0000000002"),
        }
        made = Tunnel(name, ifindex=ifindex, **(known | fields))  # type: ignore[arg-type]
        self.apply(tunnels_added=[made])
        return made

    def flow(
        self,
        pipeline: int,
        table: int,
        priority: int,
        match: str,
        actions: str,
        dp: int = 1,
        meter: str = "",
    ) -> None:
        """A logical flow, in OVN's words; live after flows_live()."""
        self._numbers += 1
        self.last_flow = str(self._numbers)
        row = LogicalFlow(self.last_flow, pipeline, table, priority, match, actions, meter=meter)
        self.compiler.set_flow(self.last_flow, row, [dp])

    def flows_live(self) -> None:
        """Compiles and writes what flow() said."""
        changes = self.compiler.flush()
        assert not list(self.compiler.unsupported())
        self.apply(
            rules_added=list(changes.added),
            rules_removed=list(changes.removed),
            sets_added=list(changes.sets_added),
            sets_removed=list(changes.sets_removed),
        )

    def switch(self, *ports: int, dp: int = 1) -> None:
        """The least of a logical switch: known MACs, flooding, egress that outputs."""
        self.flow(0, 0, 100, "vlan.present", "drop;", dp)
        self.flow(0, 0, 50, "1", "next;", dp)
        for port in ports:
            self.flow(0, 1, 50, f"eth.dst == {mac(port)}", f'outport = "vm{port}"; output;', dp)
        if (dp, "_MC_flood") in self.world.ports:
            self.flow(0, 1, 70, "eth.mcast", 'outport = "_MC_flood"; output;', dp)
        self.flow(1, 0, 0, "1", "output;", dp)
        self.flows_live()

    # --- frames -----------------------------------------------------------------

    def send(self, peer: str, frame: bytes) -> None:
        """A frame from the guest's (or the underlay's) end of a device."""
        self._sockets[peer].send(frame)

    def received(self, count: int) -> list[tuple[str, bytes]]:
        """The next `count` frames that came out, with where; in no order.

        Fails when fewer come in time; that no more come is the caller's to show
        with a frame sent afterwards, or with drops().
        """
        found: list[tuple[str, bytes]] = []
        end = time.monotonic() + DEADLINE
        while len(found) < count:
            left = end - time.monotonic()
            ready, _, _ = select.select(list(self._sockets.values()), [], [], max(left, 0))
            assert ready, f"{len(found)} of {count} frames in {DEADLINE} s: {found}"
            for name, tap in self._sockets.items():
                if tap in ready:
                    data, address = tap.recvfrom(1 << 16)
                    if address[2] != OUTGOING:
                        found.append((name, data))
        return found

    def nothing_received(self) -> bool:
        """True if no frame waits anywhere.  Veth delivers before sendto() returns."""
        for tap in self._sockets.values():
            while select.select([tap], [], [], 0)[0]:
                if tap.recvfrom(1 << 16)[1][2] != OUTGOING:
                    return False
        return True

    def run(self, program: str, data: bytes, ifindex: int, repeat: int = 1) -> Result:
        """PROG_TEST_RUN."""
        return test_run(self.plane.programs[program], data, ifindex=ifindex, repeat=repeat)

    def drops(self) -> dict[str, int]:
        """Packets dropped since the beginning, by reason."""
        used = Counters("ovn_drops", self.plane.maps["ovn_drops"]).used()
        return {reason_text(index): count.packets for index, count in used.items()}

    def dropped(self, reason: int) -> int:
        """Packets dropped for one reason."""
        return Counters("ovn_drops", self.plane.maps["ovn_drops"]).read(reason).packets

    def all_dropped(self) -> int:
        """Packets dropped for any reason."""
        return sum(self.drops().values())


@contextmanager
def bed(sizes: Mapping[str, int] = MappingProxyType({})) -> Iterator[Bed]:
    """A Bed in namespaces of its own.  sizes: of maps; the least unless given."""
    with private_kernel() as kernel:
        # Devices that speak by themselves would spoil what is counted.
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        made = Bed(kernel, sizes)
        try:
            yield made
        finally:
            made.close()


def reason(name: str) -> int:
    """Number of a drop reason by its name in the header."""
    return int(getattr(lib, name))
