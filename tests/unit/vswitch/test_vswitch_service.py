# SPDX-License-Identifier: Apache-2.0
"""The agent in ovs-vswitchd's place, seen through the real ovs-vsctl and ovs-vswitchd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.node import Node
from tests.support.ovsdb import Daemon


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path, "hv1") as node:
        node.until(lambda: node.call(lambda: node.vswitch.on_duty), "the duties")
        node.until(lambda: "br-int" in node.vsctl("list-br"), "br-int")
        yield node


class Vswitchd(Daemon):
    """The real ovs-vswitchd on a node's database, with no datapath of its own."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.server.directory, "ovs-vswitchd")
        self.node = node

    def start(self) -> None:
        self.spawn(
            [
                *self.node.enter,
                "ovs-vswitchd",
                "-vconsole:info",
                "-vfile:off",
                "-vsyslog:off",
                "--disable-system",
                f"--pidfile={self.node.pidfile}",
                f"--unixctl={self.ctl}",
                self.node.server.remote,
            ]
        )


def column(node: Node, device: str, name: str) -> str:
    return node.vsctl("get", "Interface", device, name).strip('"')


def test_br_int_is_made_as_ovn_controller_makes_it(node: Node) -> None:
    assert node.vsctl("get", "Bridge", "br-int", "fail_mode") == "secure"
    assert node.vsctl("get", "Bridge", "br-int", "other_config:disable-in-band") == '"true"'
    node.until(lambda: column(node, "br-int", "ofport") == "65534", "the local port")
    assert column(node, "br-int", "type") == "internal"
    assert node.vsctl("get", "Bridge", "br-int", "datapath_type") == "system"
    mac = node.vsctl("get", "Bridge", "br-int", "other_config:hwaddr").strip('"')
    identity = node.vsctl("get", "Bridge", "br-int", "datapath_id").strip('"')
    assert identity == "0000" + mac.replace(":", "")


def test_add_port_returns_at_once_with_an_ofport(node: Node) -> None:
    node.add_device("tap1")
    node.vsctl("add-port", "br-int", "tap1", wait=True)
    assert int(column(node, "tap1", "ofport")) == 1
    assert column(node, "tap1", "link_state") == "up"
    assert column(node, "tap1", "admin_state") == "up"
    assert column(node, "tap1", "mtu") == "1500"
    assert int(column(node, "tap1", "ifindex")) > 1
    cfg = node.vsctl("get", "Open_vSwitch", ".", "cur_cfg")
    assert cfg == node.vsctl("get", "Open_vSwitch", ".", "next_cfg")
    node.vsctl("del-port", "br-int", "tap1", wait=True)


def test_a_port_without_a_device_says_so_and_recovers(node: Node) -> None:
    done = subprocess.run(
        ["ovs-vsctl", f"--db={node.server.remote}", "-t20", "add-port", "br-int", "tap9"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "could not open network device tap9 (No such device)" in done.stderr
    assert column(node, "tap9", "ofport") == "-1"
    node.add_device("tap9")
    node.until(lambda: column(node, "tap9", "ofport") == "1", "the ofport")
    assert column(node, "tap9", "error") == "[]"


def test_a_device_that_returns_has_its_ofport_back(node: Node) -> None:
    for device in ("tap1", "tap2"):
        node.add_device(device)
        node.vsctl("add-port", "br-int", device, wait=True)
    node.ip("link", "del", "tap1")
    node.until(lambda: column(node, "tap1", "ofport") == "-1", "the loss")
    node.add_device("tap3")
    node.vsctl("add-port", "br-int", "tap3", wait=True)
    third = column(node, "tap3", "ofport")
    node.add_device("tap1")
    node.until(lambda: column(node, "tap1", "ofport") != "-1", "the return")
    ports = {name: column(node, name, "ofport") for name in ("tap1", "tap2", "tap3")}
    assert ports["tap2"] == "2" and ports["tap3"] == third
    assert len(set(ports.values())) == 3


def test_a_requested_ofport_is_granted_when_free(node: Node) -> None:
    for device in ("tap1", "tap2"):
        node.add_device(device)
        row = ["set", "Interface", device, "ofport_request=7"]
        node.vsctl("add-port", "br-int", device, "--", *row, wait=True)
    assert column(node, "tap1", "ofport") == "7"
    assert column(node, "tap2", "ofport") not in ("7", "-1")


def test_link_changes_are_followed(node: Node) -> None:
    node.add_device("tap1")
    node.vsctl("add-port", "br-int", "tap1", wait=True)
    node.ip("link", "set", "tap1_p", "down")
    node.until(lambda: column(node, "tap1", "link_state") == "down", "the carrier to go")
    node.ip("link", "set", "tap1", "mtu", "1400", "down")
    node.until(lambda: column(node, "tap1", "admin_state") == "down", "admin down")
    node.until(lambda: column(node, "tap1", "mtu") == "1400", "the MTU")


def test_what_neutron_reads_of_the_switch_is_there(node: Node) -> None:
    node.until(lambda: node.vsctl("get", "Open_vSwitch", ".", "ovs_version") != "[]", "a version")
    types = node.vsctl("get", "Open_vSwitch", ".", "iface_types")
    assert "system" in types and "geneve" in types and "dpdk" not in types
    assert node.vsctl("get", "Open_vSwitch", ".", "datapath_types") == "[netdev, system]"


def test_other_bridges_are_served_too(node: Node) -> None:
    node.vsctl("add-br", "br-ex", wait=True)
    node.vsctl("add-port", "br-ex", "to-int", "--", "set", "Interface", "to-int", "type=patch",
               "options:peer=to-ex", wait=True)  # fmt: skip
    assert column(node, "to-int", "ofport") == "1"
    node.vsctl("del-br", "br-ex", wait=True)


def test_the_duties_go_to_a_real_ovs_vswitchd_and_come_back(node: Node) -> None:
    with Vswitchd(node) as daemon:
        node.until(lambda: not node.call(lambda: node.vswitch.on_duty), "the hand-over")
        # Nothing wakes the loop here but its own timer.
        node.until(lambda: node.local.lock_contended, "the queue")
        node.vsctl("set", "Open_vSwitch", ".", "external_ids:touch=1", wait=True)
        assert node.vsctl("get", "Open_vSwitch", ".", "ovs_version") != "[]"
        os.kill(daemon.pid, 0)
    node.until(lambda: node.call(lambda: node.vswitch.on_duty), "the return")
    node.add_device("tap1")
    node.vsctl("add-port", "br-int", "tap1", wait=True)
    assert int(column(node, "tap1", "ofport")) > 0


def test_beside_an_ovs_vswitchd_nothing_is_written(tmp_path: Path) -> None:
    with Node(tmp_path, "hv1", vswitchd=False) as node, Vswitchd(node) as daemon:
        daemon.wait_log("connected")
        node.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=dummy")
        node.call(lambda: setattr(node, "vswitchd", True))
        node.until(lambda: node.call(lambda: node.local.lock_contended), "the queue")
        assert not node.call(lambda: node.vswitch.on_duty)
        daemon.pause()
        node.vsctl("set", "Open_vSwitch", ".", "next_cfg=99")
        node.until(
            lambda: node.call(
                lambda: (row := node.local.open_vswitch) is not None and row.next_cfg == 99
            ),
            "the change to arrive",
        )
        before = node.iterations
        node.wake()
        node.until(lambda: node.iterations > before, "an iteration")
        assert not node.call(lambda: node.vswitch.on_duty)
        assert node.vsctl("get", "Open_vSwitch", ".", "cur_cfg") != "99"
        daemon.resume()
        node.until(lambda: node.vsctl("get", "Open_vSwitch", ".", "cur_cfg") == "99", "vswitchd")
