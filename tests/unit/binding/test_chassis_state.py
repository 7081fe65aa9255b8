# SPDX-License-Identifier: Apache-2.0
"""Chassis rows that somebody alters, after OVN's ovn-controller.at; ours and the real one.

Neither has an ovs-vswitchd: what a bridge's datapath type does to its ports is no
matter here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.node import Node
from tests.support.ovsdb import Daemon, LocalServer, OvnCentral, wait_until

IP = "192.0.2.1"


class Real(Daemon):
    """The real ovn-controller on a local database of its own."""

    def __init__(self, directory: Path, remote: str) -> None:
        super().__init__(directory, "ovn-controller")
        self.server = LocalServer(directory)
        self.remote = remote

    def start(self) -> None:
        self.server.start()
        ids = {"system-id": "hv1", "hostname": "hv1", "ovn-encap-type": "geneve"}
        ids |= {"ovn-encap-ip": IP, "ovn-remote": self.remote}
        self.vsctl("set", "open", ".", *(f'external_ids:{k}="{v}"' for k, v in ids.items()))
        self.spawn(["ovn-controller", "-vconsole:info", "-vfile:off", self.server.remote])

    def stop(self) -> None:
        super().stop()
        self.server.stop()

    def vsctl(self, *args: str) -> str:
        return self.server.vsctl(*args)


@contextmanager
def controller(kind: str, directory: Path, remote: str) -> Iterator[Node | Real]:
    if kind == "real":
        with Real(directory, remote) as real:
            yield real
    else:
        with Node(directory, "hv1", remote, ip=IP) as node:
            yield node


class Host:
    """A chassis and the Southbound that it is in."""

    def __init__(self, central: OvnCentral, agent: Node | Real) -> None:
        self.sbctl = central.sbctl
        self.vsctl = agent.vsctl

    def ids(self, **pairs: str) -> None:
        self.vsctl("set", "open", ".", *(f'external_ids:{k}="{v}"' for k, v in pairs.items()))

    def names(self, table: str) -> list[str]:
        return sorted(self.sbctl("--bare", "--columns=name", "list", table).split())

    def other_config(self, name: str = "hv1") -> dict[str, str]:
        found = json.loads(
            self.sbctl("--format=json", "--columns=other_config", "find", "Chassis", f"name={name}")
        )["data"]
        return dict(found[0][0][1]) if found else {}

    def datapath_type(self) -> set[str]:
        """As the bridge and the Southbound have it: one, if they agree."""
        bridge = self.vsctl("get", "bridge", "br-int", "datapath_type").strip('"')
        return {bridge, self.other_config().get("datapath-type", "")}

    def until_type(self, wanted: str) -> None:
        wait_until(lambda: self.datapath_type() == {wanted}, f"the datapath type {wanted}")


@pytest.fixture(scope="module", params=["ours", "real"])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    directory = tmp_path_factory.mktemp(request.param)
    with (
        OvnCentral(directory / "central") as central,
        controller(request.param, directory / "agent", central.sb.remote) as agent,
    ):
        host = Host(central, agent)
        wait_until(lambda: host.names("Chassis_Private") == ["hv1"], "the registration")
        yield host


def test_the_datapath_type_follows_the_bridge_unless_it_is_configured(host: Host) -> None:
    """`ovn-controller - Chassis other_config`, its first part."""
    host.until_type("system")
    for wish, becomes in (("foo", "foo"), ("bar", "bar"), ('""', "system")):
        host.vsctl("set", "bridge", "br-int", f"datapath_type={wish}")
        host.until_type(becomes)
        host.ids(**{"ovn-bridge-mappings": f"{becomes}:{becomes}"})
        wait_until(
            lambda: host.other_config()["ovn-bridge-mappings"] == f"{becomes}:{becomes}",  # noqa: B023
            "the mapping",
        )
        assert host.datapath_type() == {becomes}
    host.ids(**{"ovn-bridge-datapath-type": "foo"})
    host.until_type("foo")
    host.vsctl("set", "bridge", "br-int", "datapath_type=bar")
    host.until_type("foo")
    host.ids(**{"ovn-bridge-datapath-type": "foobar"})
    host.until_type("foobar")
    host.vsctl("remove", "open", ".", "external_ids", "ovn-bridge-datapath-type")


@pytest.mark.parametrize("key", ["iface-types", "datapath-type", "port-up-notif"])
def test_what_somebody_writes_into_other_config_is_put_right(host: Host, key: str) -> None:
    """Its second part, for a feature flag as well."""
    right = host.other_config()[key]
    host.sbctl("set", "chassis", "hv1", f"other_config:{key}=wrong")
    wait_until(lambda: host.other_config()[key] == right, f"{key}={right}")


def test_features_are_told(host: Host) -> None:
    """`features`."""
    assert host.other_config()["port-up-notif"] == "true"


def test_a_chassis_row_that_is_deleted_comes_back(host: Host) -> None:
    """`ovn-controller - Chassis self record`."""
    before = host.sbctl("get", "chassis", "hv1", "_uuid")
    host.sbctl("chassis-del", "hv1")
    wait_until(lambda: host.names("Chassis") == ["hv1"], "the row")
    assert host.sbctl("get", "chassis", "hv1", "_uuid") != before


def test_another_system_id_is_another_chassis_once_the_old_rows_are_gone(host: Host) -> None:
    """`Chassis other_config`, its last part: the operator removes the rows of the old name."""
    rename(host, "other")
    try:
        assert host.sbctl("get", "chassis", "other", "hostname").strip('"') == "other"
    finally:
        rename(host, "hv1")


def rename(host: Host, name: str) -> None:
    """The rows of other names are removed until the agent makes none of them any more."""
    host.ids(**{"system-id": name, "hostname": name})

    def renamed() -> bool:
        for table in ("Chassis_Private", "Chassis"):
            for stale in set(host.names(table)) - {name}:
                host.sbctl("--if-exists", "destroy", table, stale)
        return host.names("Chassis") == host.names("Chassis_Private") == [name]

    wait_until(renamed, f"the rows of {name} alone")
