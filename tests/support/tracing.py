# SPDX-License-Identifier: Apache-2.0
"""A whole Southbound in real maps, with all ports local, and traces of it.

ovn-trace takes every port for local; here they are, too, so that both see the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ovn_bpf_controller.datapath.change import TableChange
from ovn_bpf_controller.datapath.learnt import Learnt
from ovn_bpf_controller.datapath.loader import SIZES, Plane
from ovn_bpf_controller.datapath.tables import Tables
from ovn_bpf_controller.datapath.trace import NOTHING_GIVEN, Given, Tracer
from ovn_bpf_controller.model import Datapath, Port, PortKind
from ovn_bpf_controller.observe import microflow, trace
from tests.support.kernel import private_kernel
from tests.support.ovsdb import OvsdbServer
from tests.support.southbound import Southbound, read, rows

SIZE = 1 << 15  # elements of a map, at most
FIRST_IFINDEX = 1000  # of devices that need not be there: nothing is sent


def ports(server: OvsdbServer, sb: Southbound) -> list[Port]:
    """Every Port_Binding as a port of this chassis.

    A patch port without its peer, which is disabled, is a device to ovn-trace.
    """
    found = []
    for number, row in enumerate(rows(server, "Port_Binding").values()):
        dp, key = sb.keys[row["logical_port"]]
        peer = row["options"].get("peer")
        distributed = row["options"].get("distributed-port")
        if row["type"] == "chassisredirect" and distributed:
            made = Port(dp, key, PortKind.ALIAS, peer_port=sb.keys[distributed][1])
        elif peer in sb.keys:
            peer_dp, peer_key = sb.keys[peer]
            made = Port(dp, key, PortKind.PATCH, peer_dp=peer_dp, peer_port=peer_key)
        else:
            local = row["type"] == "localport"
            made = Port(dp, key, PortKind.VIF, localport=local, ifindex=FIRST_IFINDEX + number)
        found.append(made)
    return found


class Chassis:
    """See the module.  maps: fds by name, for who wants to look at them."""

    def __init__(self, server: OvsdbServer) -> None:
        self.sb = read(server)
        self.plane = Plane("trace", sizes={name: min(SIZE, n) for name, n in SIZES.items()})
        self.tables = Tables(self.plane.maps)
        changes = self.sb.compiler.flush()
        change = TableChange(
            rules_added=changes.added,
            sets_added=changes.sets_added,
            ports_added=ports(server, self.sb),
            groups_added=self.sb.groups,
            datapaths_added=[Datapath(dp) for dp in self.sb.datapaths.values()],
        )
        self.tables.apply(change)
        assert not self.tables.rejected, list(self.tables.rejected)[:3]
        learnt = Learnt(self.plane.maps)
        for row in rows(server, "FDB").values():
            mac = bytes.fromhex(row["mac"].replace(":", ""))
            learnt.put_fdb(row["dp_key"], mac, row["port_key"])
        self.tracer = Tracer(self.plane.maps, self.plane.programs["ovn_trace"])
        names = {key: name for name, key in self.sb.datapaths.items()}
        members = {(g.dp, g.key): g.local for g in self.sb.groups}
        self.env = self.sb.compiler._env
        groups = {(g.dp, g.key): str(g.key) for g in self.sb.groups}
        self.world = trace.World(
            self.sb.compiler,
            self.env,
            lambda dp: names.get(dp, ""),
            lambda dp, key: self.sb.ports.get((dp, key)) or groups.get((dp, key), ""),
            lambda dp, key: members.get((dp, key), ()),
            lambda index: str(index),
        )

    def trace(self, datapath: str, text: str, given: Given = NOTHING_GIVEN) -> trace.Result:
        """What ovn-bpf/trace would answer."""
        expr = microflow.parse(text, self.env)
        return trace.run(self.tracer, self.world, self.sb.datapaths[datapath], expr, given)

    def minimal(self, datapath: str, text: str, given: Given = NOTHING_GIVEN) -> str:
        """As ovn-trace --minimal."""
        return self.trace(datapath, text, given).text(["minimal"])

    def close(self) -> None:
        """Gives everything back."""
        self.tracer.close()
        self.tables.close()
        self.plane.close()


@contextmanager
def chassis(server: OvsdbServer) -> Iterator[Chassis]:
    """A Chassis in namespaces of its own."""
    with private_kernel():
        made = Chassis(server)
        try:
            yield made
        finally:
            made.close()
