# SPDX-License-Identifier: Apache-2.0
"""What is asked of the Southbound, and that the loop sleeps when nothing happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ovs.poller
import pytest

from ovn_bpf_controller.ovsdb.tables import ChassisPrivate, LogicalFlow, PortBinding
from tests.support.node import Node, until_up
from tests.support.ovsdb import OvnCentral


@pytest.fixture
def central(tmp_path: Path) -> Iterator[OvnCentral]:
    with OvnCentral(tmp_path / "central") as central:
        for name in ("sw0", "sw1"):
            central.nbctl("ls-add", name)
            for port in range(3):
                lport = f"{name}-{port}"
                central.nbctl("lsp-add", name, lport)
                central.nbctl("lsp-set-addresses", lport, f"02:00:00:00:0{name[-1]}:0{port}")
        central.sbctl("chassis-add", "other", "geneve", "192.0.2.99")
        central.sync()
        yield central


def names(node: Node) -> set[str]:
    return node.call(lambda: {row.logical_port for row in node.cache.table(PortBinding).values()})


def flow_datapaths(node: Node) -> set[str | None]:
    return node.call(
        lambda: {row.logical_datapath for row in node.cache.table(LogicalFlow).values()}
    )


@pytest.mark.parametrize("monitor_all", ["false", "true"])
def test_only_local_rows_are_read_unless_all_are_wanted(
    central: OvnCentral, tmp_path: Path, monitor_all: str
) -> None:
    ids = {"ovn-monitor-all": monitor_all}
    with Node(tmp_path, "hv1", central.sb.remote, ids=ids) as node:
        node.plug("tap1", "sw0-1")
        until_up(node, central, "sw0-1")
        everything = {f"{switch}-{port}" for switch in ("sw0", "sw1") for port in range(3)}
        local = {f"sw0-{port}" for port in range(3)}
        node.until(lambda: names(node) == (everything if monitor_all == "true" else local), "ports")
        [datapath] = node.desired.datapaths
        if monitor_all == "false":
            assert flow_datapaths(node) <= {datapath, None}
            private = node.call(lambda: list(node.cache.table(ChassisPrivate).values()))
            assert [row.name for row in private] == ["hv1"]
        else:
            assert len(flow_datapaths(node)) > 2
        central.nbctl("--wait=hv", "sync")


def test_monitor_all_can_be_switched_while_running(central: OvnCentral, tmp_path: Path) -> None:
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.until(lambda: node.desired.complete, "the first synchronisation")
        assert names(node) == set()
        node.set_ids(**{"ovn-monitor-all": "true"})
        node.until(lambda: len(names(node)) == 6, "all ports")
        node.set_ids(**{"ovn-monitor-all": "false"})
        node.until(lambda: names(node) == set(), "none")
        central.nbctl("--wait=hv", "sync")


def test_a_quiet_node_does_not_spin(central: OvnCentral, tmp_path: Path) -> None:
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.plug("tap1", "sw0-1")
        until_up(node, central, "sw0-1")
        central.nbctl("--wait=hv", "sync")
        # Without the duties' look at a pidfile nothing is due at any time.
        node.call(lambda: setattr(node, "vswitchd", False))

        def timeout() -> int:
            poller = ovs.poller.Poller()
            node.binding.wait(poller)
            return int(poller.timeout)

        node.until(lambda: node.call(timeout) == -1, "no timer")
