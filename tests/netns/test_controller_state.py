# SPDX-License-Identifier: Apache-2.0
"""State that a chassis keeps in the databases, after OVN's ovn-controller.at.

Scenarios of its tests of nb_cfg, types of port bindings, recreated localports, conntrack
zones and template variables (census 11.1), for every kind of chassis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox

TOPOLOGY = """
chassis: {hv1: $agent}
switches: {sw0: {ipv4: 10.0.0.0/24}}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
"""
ANNOUNCED = ("Parsing of ovn-chassis-mac-mappings failed",)
LLONG_MAX = (1 << 63) - 1
TYPES = (
    *("patch", "chassisredirect", "l3gateway", "localnet", "localport", "l2gateway"),
    *("virtual", "external", "remote", "vtep"),
)
RULE = "-" * 40


def until(condition: Callable[[], bool], what: str) -> None:
    process.wait_until(condition, 30, what)


def column(bed: Sandbox, table: str, name: str) -> list[str]:
    return bed.sbctl("--bare", f"--columns={name}", "list", table).split()


def test_nb_cfg_goes_to_chassis_private_alone(bed: Sandbox) -> None:
    bed.nbctl("set", "NB_Global", ".", "nb_cfg=999")
    until(lambda: column(bed, "Chassis_Private", "nb_cfg") == ["999"], "nb_cfg")
    assert column(bed, "Chassis", "nb_cfg") == ["0"]
    ids = ("get", "bridge", "br-int", "external_ids:ovn-nb-cfg")
    until(lambda: bed.chassis["hv1"].vsctl(*ids).strip('"') == "999", "ovn-nb-cfg of br-int")
    stamp = bed.chassis["hv1"].vsctl("get", "bridge", "br-int", "external_ids:ovn-nb-cfg-ts")
    assert column(bed, "Chassis_Private", "nb_cfg_timestamp") == [stamp.strip('"')]


def test_nb_cfg_begins_anew_behind_its_largest_value(bed: Sandbox) -> None:
    bed.nbctl("set", "NB_Global", ".", f"nb_cfg={LLONG_MAX - 1}")
    bed.nbctl("--wait=hv", "--timeout=60", "sync")
    bed.nbctl("--wait=hv", "--timeout=60", "sync")  # ends at once: what there was is greater
    for table in ("SB_Global", "Chassis_Private"):
        until(lambda: column(bed, table, "nb_cfg") == ["1"], f"1 in {table}")  # noqa: B023
    assert column(bed, "Chassis", "nb_cfg") == ["0"]


@pytest.fixture
def foo(bed: Sandbox) -> Iterator[None]:
    """A chassis that is rows only, whose mapping of MAC addresses is mostly nonsense."""
    mapping = "invalid1,invalid2,br1:00:00:00:00:00:00"
    bed.sbctl("chassis-add", "foo", "geneve", "192.0.2.99", "--", "set", "chassis", "foo",
              f'other_config:ovn-chassis-mac-mappings="{mapping}"')  # fmt: skip
    yield
    bed.sbctl("chassis-del", "foo")


def test_what_other_chassis_say_of_their_macs_is_checked(bed: Sandbox, foo: None) -> None:
    bed.nbctl("--wait=hv", "sync")
    lines = bed.chassis["hv1"].log().splitlines()
    told = [line for line in lines if "Parsing of ovn-chassis-mac-mappings failed" in line]
    assert all("|WARN|" in line for line in told)
    for entry, wrong in (("invalid1", True), ("invalid2", True), ("br1", False)):
        assert any(f'"{entry}' in line for line in told) == wrong


# --- connection to the Southbound -----------------------------------------------------


def test_connection_status_follows_the_remote(bed: Sandbox) -> None:
    hv1 = bed.chassis["hv1"]
    remote = hv1.vsctl("get", "open", ".", "external_ids:ovn-remote")

    def status(wanted: str) -> None:
        until(lambda: hv1.appctl("connection-status") == wanted, wanted)

    status("connected")
    hv1.vsctl("set", "open", ".", "external_ids:ovn-remote=tcp:127.0.0.9:6642")
    try:
        status("not connected")
    finally:
        hv1.vsctl("set", "open", ".", f"external_ids:ovn-remote={remote}")
    status("connected")
    bed.sync()


# --- types of bindings ------------------------------------------------------------


@pytest.fixture
def paused(bed: Sandbox) -> Iterator[None]:
    """northd does not put right what a test writes."""
    northd = bed.layout.root / "ovn-northd.pid"
    control = f"{bed.layout.root}/ovn-northd.{northd.read_text().strip()}.ctl"
    bed.run_in_underlay("ovn-appctl", "-t", control, "pause")
    yield
    bed.run_in_underlay("ovn-appctl", "-t", control, "resume")
    bed.sync()


def bindings(bed: Sandbox, lport: str, kind: str) -> str:
    """What debug/dump-local-bindings is to say of a plugged port of this type."""
    head = f"name: [{lport}], OVS interface name : [{bed.ports[lport].vif}], num binding lports : "
    if kind in ("", "localport"):
        word = "primary" if not kind else "localport"
        return f"{head}[1]\n{word} lport : [{lport}]\n{RULE}"
    return f"{head}[0]\n{RULE}"


@pytest.mark.parametrize("changed", TYPES)
def test_a_binding_changes_its_type_and_back(bed: Sandbox, paused: None, changed: str) -> None:
    hv1 = bed.chassis["hv1"]
    for now in (changed, ""):
        bed.sbctl("set", "port_binding", "vm2", f'type="{now}"')
        mark = f"external_ids:ovn-cms-options=is-{now or 'vif'}"
        hv1.vsctl("set", "open", ".", mark)
        bed.sbctl("--timeout=30", "wait-until", "chassis", "hv1",
                  f"other_config:ovn-cms-options=is-{now or 'vif'}")  # fmt: skip
        expected = bindings(bed, "vm2", now)
        until(lambda: expected in hv1.appctl("debug/dump-local-bindings"), f"{now}: {expected}")  # noqa: B023


# --- localports ---------------------------------------------------------------------


def test_a_localport_can_be_made_again(bed: Sandbox) -> None:
    """While its switch is not local; it answers as soon as that is local again."""
    hv1 = bed.chassis["hv1"]
    make = ("lsp-add", "sw1", "meta", "--", "lsp-set-type", "meta", "localport", "--",
            "lsp-set-addresses", "meta", "0a:00:00:00:02:01 10.0.2.1")  # fmt: skip
    bed.nbctl("ls-add", "sw1", "--", "lsp-add", "sw1", "late", "--",
              "lsp-set-addresses", "late", "0a:00:00:00:02:02 10.0.2.2")  # fmt: skip
    bed.nbctl(*make)
    for _ in range(2):
        bed.plug("late", "hv1")
        bed.plug("meta", "hv1", wait=False)
        bed.sync()
        until(lambda: "meta" in hv1.appctl("debug/dump-local-bindings"), "the localport")
        bed.unplug("late")
        bed.sync()
        hv1.appctl("inc-engine/recompute")
        bed.nbctl("--wait=hv", "lsp-del", "meta")
        bed.unplug("meta", wait=False)
        until(lambda: "meta" not in hv1.appctl("debug/dump-local-bindings"), "its end")
        bed.nbctl(*make)
    bed.nbctl("--wait=hv", "ls-del", "sw1")


# --- zones --------------------------------------------------------------------------


def zones(bed: Sandbox) -> dict[str, int]:
    lines = bed.chassis["hv1"].appctl("ct-zone-list").splitlines()
    return {name: int(zone) for name, zone in (line.rsplit(" ", 1) for line in lines)}


@pytest.fixture
def router(bed: Sandbox) -> Iterator[str]:
    """A gateway router port on hv1; yields the name of its SNAT zone."""
    bed.nbctl("lr-add", "lr0", "--", "lrp-add", "lr0", "lr0-sw0", "00:00:00:00:00:01",
              "10.0.0.1/24", "--", "lsp-add", "sw0", "sw0-lr0", "--", "lsp-set-type", "sw0-lr0",
              "router", "--", "lsp-set-addresses", "sw0-lr0", "router", "--", "lsp-set-options",
              "sw0-lr0", "router-port=lr0-sw0")  # fmt: skip
    bed.nbctl("lrp-add", "lr0", "lr0-gw", "00:00:00:00:01:01", "172.16.0.1/24")
    bed.nbctl("--wait=hv", "lrp-set-gateway-chassis", "lr0-gw", "hv1")
    uuid = bed.sbctl("--bare", "--columns=_uuid", "find", "datapath_binding",
                     "external_ids:name=lr0")  # fmt: skip
    yield f"{uuid}_snat"
    bed.nbctl("--wait=hv", "lr-del", "lr0", "--", "lsp-del", "sw0-lr0")


def stored(bed: Sandbox, name: str) -> int:
    ids = ("get", "bridge", "br-int", f"external_ids:ct-zone-{name}")
    return int(bed.chassis["hv1"].vsctl(*ids).strip('"'))


def check_zones(bed: Sandbox, snat: str) -> dict[str, int]:
    """Three zones that differ, and that the bridge's row has."""
    found = zones(bed)
    names = ("vm1", "vm2", snat)
    assert len({found[name] for name in names}) == 3
    for name in names:
        until(lambda: stored(bed, name) == found[name], f"ct-zone-{name}")  # noqa: B023
    return found


def test_a_requested_zone_is_taken_from_whoever_has_it(bed: Sandbox, router: str) -> None:
    before = check_zones(bed, router)
    wanted = before["vm1"]
    bed.nbctl("--wait=hv", "set", "logical_router", "lr0", f"options:snat-ct-zone={wanted}")
    assert check_zones(bed, router)[router] == wanted
    # Somebody writes a conflict into the database: the agent has what it had.
    for name in ("vm1", "vm2"):
        bed.chassis["hv1"].vsctl("set", "bridge", "br-int", f"external_ids:ct-zone-{name}={wanted}")
    bed.chassis["hv1"].appctl("inc-engine/recompute")
    bed.sync()
    assert check_zones(bed, router)[router] == wanted


def test_a_zone_may_be_requested_when_the_router_is_made(bed: Sandbox) -> None:
    bed.nbctl("lr-add", "lr9", "--", "set", "logical_router", "lr9", "options:snat-ct-zone=666",
              "--", "lrp-add", "lr9", "lr9-gw", "00:00:00:00:01:09", "172.16.9.1/24", "--",
              "lrp-set-gateway-chassis", "lr9-gw", "hv1")  # fmt: skip
    bed.sync()
    uuid = bed.sbctl("--bare", "--columns=_uuid", "find", "datapath_binding",
                     "external_ids:name=lr9")  # fmt: skip
    until(lambda: zones(bed).get(f"{uuid}_snat") == 666, "the zone")
    bed.nbctl("--wait=hv", "lr-del", "lr9")


# --- templates ------------------------------------------------------------------------


def test_template_variables_of_this_chassis_are_followed(bed: Sandbox) -> None:
    def shown() -> list[str]:
        text = bed.chassis["hv1"].appctl("debug/dump-local-template-vars")
        return sorted(line for line in text.splitlines() if line.startswith("name:"))

    assert shown() == []
    bed.nbctl("--wait=hv", "create", "Chassis_Template_Var", "chassis=hv1")
    for command, wanted in (
        (("set", "variables:foo=a", "variables:bar=b"), ["bar' value: 'b'", "foo' value: 'a'"]),
        (("set", "variables:bar=c"), ["bar' value: 'c'", "foo' value: 'a'"]),
        (("remove", "variables", "bar"), ["foo' value: 'a'"]),
        (("remove", "variables", "foo"), []),
    ):
        bed.nbctl("--wait=hv", command[0], "Chassis_Template_Var", "hv1", *command[1:])
        assert shown() == [f"name: '{each}" for each in wanted]
    bed.nbctl("--wait=hv", "destroy", "Chassis_Template_Var", "hv1")
