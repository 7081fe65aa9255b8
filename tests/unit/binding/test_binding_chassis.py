# SPDX-License-Identifier: Apache-2.0
"""Our rows in the Southbound: compared with the real ovn-controller's, and contested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ovn_bpf_controller.binding.chassis import FEATURES
from tests.support.node import Node
from tests.support.ovsdb import Daemon, LocalServer, OvnCentral, wait_until


@pytest.fixture
def central(tmp_path: Path) -> Iterator[OvnCentral]:
    with OvnCentral(tmp_path / "central") as central:
        yield central


class OvnController(Daemon):
    """The real one, on a local database of its own."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__(server.directory, "ovn-controller")
        self.server = server

    def start(self) -> None:
        self.spawn(["ovn-controller", "-vconsole:info", "-vfile:off", self.server.remote])


def row(central: OvnCentral, table: str, name: str) -> dict[str, Any]:
    """The row of this name with every column; {} if there is none."""
    text = central.sbctl("--format=json", "find", table, f"name={name}")
    found = json.loads(text)
    return dict(zip(found["headings"], found["data"][0], strict=True)) if found["data"] else {}


def encaps(central: OvnCentral, name: str) -> list[tuple[str, str, dict[str, str]]]:
    text = central.sbctl(
        "--format=json", "--columns=type,ip,options", "find", "Encap", f"chassis_name={name}"
    )
    return sorted((t, ip, dict(options[1])) for t, ip, options in json.loads(text)["data"])


SETTINGS = {
    "ovn-encap-type": "geneve,vxlan",
    "ovn-encap-ip": "192.0.2.1,198.51.100.1",
    "ovn-bridge-mappings": "physnet1:br-ex",
    "ovn-cms-options": "enable-chassis-as-gw",
    "ovn-chassis-mac-mappings": "physnet1:aa:bb:cc:dd:ee:ff",
    "ovn-monitor-all": "true",
    "ovn-is-interconn": "true",
    "ovn-transport-zones": "tz1,tz2",
    "ovn-encap-csum": "false",
    "ovn-limit-lflow-cache": "1000",
}


@pytest.mark.parametrize("settings", [{}, SETTINGS], ids=["defaults", "everything"])
def test_chassis_rows_equal_the_real_controllers(
    central: OvnCentral, tmp_path: Path, settings: dict[str, str]
) -> None:
    with LocalServer(tmp_path / "real") as server:
        pairs = {
            "system-id": "real",
            "hostname": "host.example",
            "ovn-remote": central.sb.remote,
            "ovn-encap-type": "geneve",
            "ovn-encap-ip": "192.0.2.9",
        } | settings
        if settings:
            pairs["ovn-encap-ip"] = "192.0.2.9,198.51.100.9"
        server.vsctl(
            "set", "Open_vSwitch", ".", *(f'external_ids:{k}="{v}"' for k, v in pairs.items())
        )
        with OvnController(server) as daemon:
            wait_until(lambda: row(central, "Chassis", "real"), "the real chassis")
            wait_until(
                lambda: row(central, "Chassis_Private", "real"), "the real one's private row"
            )
            assert daemon.alive()
            real, private = row(central, "Chassis", "real"), row(central, "Chassis_Private", "real")
            real_encaps = encaps(central, "real")
    with Node(
        tmp_path,
        "ours",
        central.sb.remote,
        vswitchd=False,
        ids=settings | {"hostname": "host.example"},
    ) as node:
        node.until(lambda: row(central, "Chassis_Private", "ours"), "our chassis")

        def settled() -> bool:
            config = dict(row(central, "Chassis", "ours")["other_config"][1])
            return config.get("datapath-type") == "system"

        node.until(settled, "the datapath type")
        ours, our_private = row(central, "Chassis", "ours"), row(central, "Chassis_Private", "ours")
        our_encaps = encaps(central, "ours")
    real_config, our_config = dict(real["other_config"][1]), dict(ours["other_config"][1])
    assert {key: our_config.get(key) for key in real_config} == real_config
    assert our_config.keys() - real_config.keys() <= {
        *FEATURES,
        "ovn-evpn-vxlan-ports",
        "ovn-evpn-local-ip",
    }
    assert all(our_config[flag] == "true" for flag in FEATURES)
    for column in ("hostname", "transport_zones", "external_ids", "nb_cfg"):
        assert ours[column] == real[column], column
    assert [(t, o) for t, _, o in our_encaps] == [(t, o) for t, _, o in real_encaps]
    assert our_private["chassis"] == ours["_uuid"]
    assert our_private["external_ids"] == private["external_ids"] == ["map", []]


def test_configuration_changes_reach_the_rows_and_spare_what_others_wrote(
    central: OvnCentral, tmp_path: Path
) -> None:
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.until(lambda: row(central, "Chassis", "hv1"), "the chassis")
        central.sbctl("set", "Chassis", "hv1", "external_ids:cms=theirs", "other_config:theirs=1")
        central.sbctl("set", "Chassis_Private", "hv1", "external_ids:neutron=agent")
        node.set_ids(**{"ovn-cms-options": "enable-chassis-as-gw", "hostname": "renamed"})

        def changed() -> bool:
            found = row(central, "Chassis", "hv1")
            config = dict(found["other_config"][1])
            return (config["ovn-cms-options"], found["hostname"]) == (
                "enable-chassis-as-gw",
                "renamed",
            )

        node.until(changed, "the change")
        found = row(central, "Chassis", "hv1")
        assert dict(found["other_config"][1])["theirs"] == "1"
        assert found["external_ids"] == ["map", [["cms", "theirs"]]]
        private = row(central, "Chassis_Private", "hv1")
        assert private["external_ids"] == ["map", [["neutron", "agent"]]]
        central.sbctl("remove", "Chassis", "hv1", "other_config", "port-up-notif")
        node.until(
            lambda: dict(row(central, "Chassis", "hv1")["other_config"][1]).get("port-up-notif"),
            "the feature flag to come back",
        )


def test_a_change_of_encaps_keeps_the_rows_that_stay(central: OvnCentral, tmp_path: Path) -> None:
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.until(lambda: encaps(central, "hv1"), "the encap")
        before = central.sbctl("--bare", "--columns=_uuid", "find", "Encap", "ip=192.0.2.1")
        node.set_ids(**{"ovn-encap-ip": "192.0.2.1,192.0.2.3", "ovn-encap-ip-default": "192.0.2.3"})
        wanted = [
            ("geneve", "192.0.2.1", {"csum": "true"}),
            ("geneve", "192.0.2.3", {"csum": "true", "is_default": "true"}),
        ]
        node.until(lambda: encaps(central, "hv1") == wanted, "both encaps")
        after = central.sbctl("--bare", "--columns=_uuid", "find", "Encap", "ip=192.0.2.1")
        assert after == before
        node.set_ids(**{"ovn-encap-ip": "192.0.2.3"})
        node.until(lambda: len(encaps(central, "hv1")) == 1, "one encap")


def test_an_encap_ip_that_another_chassis_has_is_refused_until_it_is_free(
    central: OvnCentral, tmp_path: Path
) -> None:
    central.sbctl("chassis-add", "stale", "geneve", "192.0.2.1")
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.until(lambda: node.call(lambda: node.cache.synced), "the Southbound")
        node.until(lambda: node.call(lambda: node.binding._registration._said), "the refusal")
        [said] = node.call(lambda: node.binding._registration._said)
        assert "'stale' already has encap ip '192.0.2.1'" in said
        assert not row(central, "Chassis", "hv1")
        before = node.iterations
        node.wake()
        node.until(lambda: node.iterations > before, "an iteration")
        assert node.iterations < before + 20
        central.sbctl("chassis-del", "stale")
        node.until(lambda: row(central, "Chassis", "hv1"), "the registration")


def test_two_hosts_with_one_system_id_slow_down(central: OvnCentral, tmp_path: Path) -> None:
    with (
        Node(tmp_path / "a", "same", central.sb.remote, ip="192.0.2.1") as one,
        Node(tmp_path / "b", "same", central.sb.remote, ip="192.0.2.2") as other,
    ):

        def disputes(node: Node) -> int:
            return node.call(lambda: node.binding._registration._dispute.failures)

        one.until(lambda: disputes(one) + disputes(other) >= 3, "a dispute")
        assert one.iterations + other.iterations < 1000


def test_a_deleted_chassis_row_comes_back_and_the_ports_stay(
    central: OvnCentral, tmp_path: Path
) -> None:
    central.nbctl("ls-add", "sw0", "--", "lsp-add", "sw0", "lp1")
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.plug("tap1", "lp1")
        node.until(lambda: node.desired.resident == {"lp1"}, "the claim")
        gone: list[int] = []

        def watch() -> None:
            original = node.binding.run

            def run(changes: Any) -> Any:
                desired = original(changes)
                gone.append(len(desired.ports()))
                return desired

            node.binding.run = run  # type: ignore[method-assign]

        node.call(watch)
        uuid = central.sbctl("get", "Chassis", "hv1", "_uuid")
        central.sbctl("chassis-del", "hv1")
        node.until(lambda: row(central, "Chassis", "hv1"), "the chassis")
        assert central.sbctl("get", "Chassis", "hv1", "_uuid") != uuid
        node.until(lambda: node.desired.resident == {"lp1"}, "the claim")
        assert set(gone) == {1}


def test_a_server_restart_is_survived(central: OvnCentral, tmp_path: Path) -> None:
    central.nbctl("ls-add", "sw0", "--", "lsp-add", "sw0", "lp1", "--", "lsp-add", "sw0", "lp2")
    with Node(tmp_path, "hv1", central.sb.remote) as node:
        node.plug("tap1", "lp1")
        node.until(lambda: node.desired.resident == {"lp1"}, "the claim")
        central.sb.stop()
        node.until(lambda: not node.call(lambda: node.cache.connected), "the loss")
        node.plug("tap2", "lp2")
        assert [p.ifindex > 0 for p in node.desired.ports().values()].count(True) >= 1
        central.sb.start()
        node.until(lambda: node.desired.resident == {"lp1", "lp2"}, "both ports")
        central.nbctl("--wait=hv", "sync")


def test_what_is_not_configured_is_said_and_then_taken_up(
    central: OvnCentral, tmp_path: Path
) -> None:
    with Node(tmp_path, "hv1", central.sb.remote, ids={"ovn-encap-ip": "rubbish"}) as node:

        def said() -> tuple[str, ...]:
            return node.call(lambda: node.binding._registration._said)

        node.until(lambda: said() == ("Need to specify an encap type and ip",), "the note")
        node.set_ids(**{"ovn-encap-ip": "192.0.2.1", "ovn-encap-type": "geneve,carrier-pigeon"})
        node.until(lambda: said() == ("Unknown tunnel type: carrier-pigeon",), "the other note")
        wanted = [("geneve", "192.0.2.1", {"csum": "true"})]
        node.until(lambda: encaps(central, "hv1") == wanted, "the type that there is")
