# SPDX-License-Identifier: Apache-2.0
"""Rows of the local database that a chassis makes, after OVN's ovn-controller.at.

Two agents of ours and a real ovn-controller share one Southbound: what the real one
writes for its tunnels and patch ports is what the others must write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from ovn_bpf_controller.sandbox.chassis import Chassis
from ovn_bpf_controller.sandbox.topology import parse
from tests.support import traffic
from tests.support.beds import AGENTS

TOPOLOGY = f"""
chassis: {{alone: {AGENTS["alone"]}, beside: {AGENTS["beside"]}, oracle: {AGENTS["oracle"]}}}
switches: {{sw0: {{ipv4: 10.0.0.0/24}}}}
ports:
  vm1: {{switch: sw0, chassis: alone}}
  vm2: {{switch: sw0, chassis: beside}}
  vm3: {{switch: sw0, chassis: oracle}}
"""
EVERY = pytest.mark.parametrize("name", tuple(AGENTS))
IFACE = ("type", "options", "ofport", "admin_state", "link_state", "error", "ifindex", "mtu")
OTHER = "192.0.2.99"
FAKE = "ovn-fakech-0"
Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def bed() -> Iterator[Sandbox]:
    """Chassis named after their kinds, and one more that is rows only."""
    with Sandbox(parse(TOPOLOGY)) as sandbox:
        sandbox.sbctl("chassis-add", "fakechassis", "geneve", OTHER)
        yield sandbox


def until(condition: Callable[[], bool], what: str) -> None:
    process.wait_until(condition, 30, what)


def table(chassis: Chassis, name: str, *columns: str) -> Rows:
    """name -> columns of the rows, maps as dicts, sets as lists."""
    answer = json.loads(
        chassis.vsctl("--format=json", f"--columns=name,{','.join(columns)}", "list", name)
    )
    return {row[0]: dict(zip(columns, map(plain, row[1:]), strict=True)) for row in answer["data"]}


def plain(value: Any) -> Any:
    if isinstance(value, list) and value[0] == "map":
        return dict(value[1])
    return value[1] if isinstance(value, list) else value


def tunnels(chassis: Chassis) -> Rows:
    """Ports with ovn-chassis-id, and their interfaces."""
    ports, ifaces = table(chassis, "Port", "external_ids"), table(chassis, "Interface", *IFACE)
    return {
        name: {**port, **ifaces[name]}
        for name, port in ports.items()
        if "ovn-chassis-id" in port["external_ids"] and name in ifaces  # read one after the other
    }


def fake(chassis: Chassis) -> dict[str, Any]:
    """Columns of the tunnel to the chassis that does not exist."""
    return table(chassis, "Interface", *IFACE).get(FAKE, {})


def becomes(chassis: Chassis, **columns: Any) -> None:
    """Wait for the tunnel to the chassis that does not exist to have these columns."""

    def there() -> bool:
        found = fake(chassis)
        return all(found.get(column) == value for column, value in columns.items())

    process.wait_until(there, 30, f"{FAKE} with {columns}: {fake(chassis)}")


# --- tunnels ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alone", "beside"])
def test_tunnels_look_like_the_real_controllers(bed: Sandbox, name: str) -> None:
    """All columns but ofport, which is any number above 0 that no other port has."""
    ours, oracle = bed.chassis[name], bed.chassis["oracle"]
    until(lambda: len(tunnels(ours)) == len(tunnels(oracle)) == 3, "three tunnels each")
    until(lambda: all(row["ofport"] for row in tunnels(ours).values()), "ofports")
    mine, theirs = tunnels(ours), tunnels(oracle)
    common = mine.keys() & theirs.keys()
    assert len(common) == 2  # the fake one and the other one of ours
    numbers = [row.pop("ofport") for row in mine.values()]
    assert len(set(numbers)) == 3 and min(numbers) > 0
    for row in theirs.values():
        del row["ofport"]
    for key in common:
        assert mine[key] == theirs[key]
    # Of each other they have the same but for whose they are.
    swap = {f"ovn-{name[:6]}-0": "ovn-oracle-0"}
    (other,) = theirs.keys() - common
    text = json.dumps(theirs[other]).replace(name, "oracle")
    text = text.replace(ours.addresses.ipv4, oracle.addresses.ipv4)
    assert json.loads(text) == mine[swap[other]]
    assert FAKE in ours.vsctl("show")


@EVERY
def test_encaps_that_change_change_the_tunnel(bed: Sandbox, name: str) -> None:
    """`ovn-controller - change Encap properties`."""
    chassis = bed.chassis[name]
    chassis.vsctl("set", "open", ".", "external_ids:ovn-encap-type=geneve,vxlan")
    # A change on one side or the other is put right, whoever made it.
    becomes(chassis, type="geneve")
    bed.sbctl("set", "chassis", "fakechassis", "other_config:x=1", "--", "--id=@e", "create",
              "encap", "type=vxlan", f"ip={OTHER}", "chassis_name=fakechassis", "--", "add",
              "chassis", "fakechassis", "encaps", "@e")  # fmt: skip
    geneve = bed.sbctl("--bare", "--columns=_uuid", "find", "encap", f'ip="{OTHER}"', "type=geneve")
    try:
        becomes(chassis, type="geneve")
        bed.sbctl("set", "encap", geneve, "type=stt")
        becomes(chassis, type="vxlan")
        if name == "alone":  # where nobody else would say that it does not work
            why = f"{FAKE}: type vxlan is not supported without ovs-vswitchd"
            becomes(chassis, ofport=-1, error=why)
            assert why in chassis.vsctl("show")
    finally:
        bed.sbctl("set", "encap", geneve, "type=geneve")
        vxlan = bed.sbctl("--bare", "--columns=_uuid", "find", "encap", "type=vxlan",
                          "chassis_name=fakechassis")  # fmt: skip
        bed.sbctl("remove", "chassis", "fakechassis", "encaps", vxlan)
        chassis.vsctl("set", "open", ".", "external_ids:ovn-encap-type=geneve")
    becomes(chassis, type="geneve")
    chassis.vsctl("--no-wait", "set", "interface", FAKE, "type=vxlan")
    becomes(chassis, type="geneve")
    chassis.vsctl("--no-wait", "del-port", FAKE)
    becomes(chassis, type="geneve")


@EVERY
def test_a_local_address_is_shown_when_asked_for(bed: Sandbox, name: str) -> None:
    """`ovn-controller - change Encap properties`, its last part."""
    chassis = bed.chassis[name]
    plainly = {"csum": "true", "key": "flow", "remote_ip": OTHER}
    becomes(chassis, options=plainly)
    wanted = {**plainly, "local_ip": chassis.addresses.ipv4}
    chassis.vsctl("set", "open", ".", "external_ids:ovn-set-local-ip=true")
    becomes(chassis, options=wanted)
    chassis.vsctl("--no-wait", "set", "interface", FAKE, "options:local_ip=1.1.1.1")
    becomes(chassis, options=wanted)
    chassis.vsctl("remove", "open", ".", "external_ids", "ovn-set-local-ip")
    becomes(chassis, options=plainly)


@EVERY
@pytest.mark.parametrize(
    ("key", "option", "values"),
    [
        ("ovn-encap-tos", "tos", ("inherit", "61")),
        ("ovn-encap-df_default", "df_default", ("false",)),
    ],
)
def test_options_of_encaps_are_shown(
    bed: Sandbox, name: str, key: str, option: str, values: tuple[str, ...]
) -> None:
    """`ovn-controller - change Encap ToS option`, and the other option of this kind."""
    chassis = bed.chassis[name]
    plainly = {"csum": "true", "key": "flow", "remote_ip": OTHER}
    for value in values:
        chassis.vsctl("set", "open", ".", f"external_ids:{key}={value}")
        becomes(chassis, options={**plainly, option: value})
    chassis.vsctl("remove", "open", ".", "external_ids", key)
    becomes(chassis, options=plainly)


@EVERY
def test_ipsec_names_the_peer(bed: Sandbox, name: str) -> None:
    """What ovn-monitor-ipsec makes policies of."""
    chassis = bed.chassis[name]
    bed.nbctl("set", "nb_global", ".", "ipsec=true", "options:ipsec_encapsulation=true")
    becomes(chassis, options={"csum": "true", "key": "flow", "remote_ip": OTHER,
                              "remote_name": "fakechassis", "ipsec_encapsulation": "yes",
                              "local_ip": chassis.addresses.ipv4})  # fmt: skip
    bed.nbctl("set", "nb_global", ".", "ipsec=false", "--", "remove", "nb_global", ".", "options",
              "ipsec_encapsulation")  # fmt: skip
    becomes(chassis, options={"csum": "true", "key": "flow", "remote_ip": OTHER})


# --- patch ports --------------------------------------------------------------------


@pytest.fixture
def provider(bed: Sandbox) -> Iterator[None]:
    """Provider bridges everywhere, without mappings, and localnet ports on two switches."""
    for chassis in bed.chassis.values():
        for name in ("br-eth0", "br-eth1"):
            chassis.vsctl("add-br", name, "--", "set", "bridge", name, "datapath_type=netdev")
    for switch, lport in (("sw0", "ln0"), ("sw9", "ln9")):
        bed.nbctl("--may-exist", "ls-add", switch, "--", "lsp-add", switch, lport, "--",
                  "lsp-set-type", lport, "localnet", "--", "lsp-set-options", lport,
                  "network_name=physnet1", "--", "lsp-set-addresses", lport, "unknown")  # fmt: skip
    bed.sync()
    yield
    for chassis in bed.chassis.values():
        chassis.appctl("debug/ignore-startup-delay")
        chassis.vsctl("--if-exists", "remove", "open", ".", "external_ids", "ovn-bridge-mappings")
    bed.nbctl("lsp-del", "ln0", "--", "ls-del", "sw9")
    bed.sync()
    for chassis in bed.chassis.values():
        until(lambda: not patches(chassis), "the patch ports' end")  # noqa: B023
        chassis.vsctl("del-br", "br-eth0", "--", "del-br", "br-eth1")


def patches(chassis: Chassis) -> set[tuple[str, str, str, str, str]]:
    """(bridge, name, type, peer, lport) of each patch port."""
    ports, ifaces = table(chassis, "Port", "external_ids"), table(chassis, "Interface", *IFACE)
    return {
        (
            bridge,
            name,
            ifaces[name]["type"],
            ifaces[name]["options"]["peer"],
            ports[name]["external_ids"].get("ovn-localnet-port", ""),
        )
        for bridge in chassis.vsctl("list-br").split()
        for name in chassis.vsctl("list-ports", bridge).split()
        if name in ports and ifaces.get(name, {}).get("type") == "patch"
    }


NEAR, FAR = "patch-br-int-to-ln0", "patch-ln0-to-br-int"
PAIR = {("br-int", NEAR, "patch", FAR, "ln0"), ("br-eth0", FAR, "patch", NEAR, "ln0")}


@EVERY
def test_a_mapped_localnet_port_of_a_local_switch_has_patch_ports(
    bed: Sandbox, provider: None, name: str
) -> None:
    """`ovn-controller - ovn-bridge-mappings`; sw9 is not local, so ln9 gets none."""
    chassis = bed.chassis[name]
    assert not patches(chassis)
    mapping = "physnet1:br-eth0,physnet2:br-eth1"
    chassis.vsctl("set", "open", ".", f"external_ids:ovn-bridge-mappings={mapping}")
    key = ("get", "chassis", name, "other_config:ovn-bridge-mappings")
    until(lambda: bed.sbctl(*key).strip('"') == mapping, "the mapping in the Southbound")
    until(lambda: patches(chassis) == PAIR, f"the pair, not {patches(chassis)}")
    until(
        lambda: all((table(chassis, "Interface", "ofport")[n]["ofport"] or 0) for n in (NEAR, FAR)),
        "ofports, which ovn-kubernetes waits for",
    )
    # Logical patch ports are none of the switch's.
    bed.nbctl("lr-add", "lr0", "--", "lrp-add", "lr0", "lr0-sw0", "00:00:00:00:00:01",
              "10.0.0.99/24", "--", "lsp-add", "sw0", "sw0-lr0", "--", "lsp-set-type", "sw0-lr0",
              "router", "--", "lsp-set-addresses", "sw0-lr0", "router", "--", "lsp-set-options",
              "sw0-lr0", "router-port=lr0-sw0")  # fmt: skip
    bed.sync()
    assert patches(chassis) == PAIR
    bed.nbctl("--wait=hv", "lr-del", "lr0", "--", "lsp-del", "sw0-lr0")
    chassis.appctl("debug/ignore-startup-delay")
    chassis.vsctl("remove", "open", ".", "external_ids", "ovn-bridge-mappings")
    until(lambda: not patches(chassis), "the pair's end")
    assert bed.sbctl(*key).strip('"') == ""


@EVERY
def test_a_restart_keeps_patch_ports_and_tunnels(bed: Sandbox, provider: None, name: str) -> None:
    """`ovn-controller - restart should not delete patch ports`; the rows stay the same ones."""
    chassis = bed.chassis[name]

    def uuids() -> dict[str, Any]:
        return table(chassis, "Port", "_uuid")

    chassis.vsctl("set", "open", ".", "external_ids:ovn-bridge-mappings=physnet1:br-eth0")
    until(lambda: patches(chassis) == PAIR, "the pair")
    before = uuids()
    chassis.exit_agent("--restart")
    assert uuids() == before
    chassis.start_agent()
    for _ in range(3):
        bed.sync()
    assert uuids() == before


@EVERY
def test_exit_takes_patch_ports_away(bed: Sandbox, provider: None, name: str) -> None:
    """Of ours; the real one leaves them."""
    chassis = bed.chassis[name]
    chassis.vsctl("set", "open", ".", "external_ids:ovn-bridge-mappings=physnet1:br-eth0")
    until(lambda: patches(chassis) == PAIR, "the pair")
    chassis.exit_agent()
    try:
        assert patches(chassis) == (set() if chassis.ours else PAIR)
    finally:
        chassis.start_agent()
    until(lambda: patches(chassis) == PAIR, "the pair again")


# --- other rows ---------------------------------------------------------------------


@EVERY
def test_the_switch_has_the_keys_and_the_datapath_of_a_chassis(bed: Sandbox, name: str) -> None:
    chassis = bed.chassis[name]
    config = ("get", "open", ".", "other_config")
    wanted = f'{{ovn-chassis-idx-{name}="", vlan-limit="0"}}'
    until(lambda: chassis.vsctl(*config) == wanted, wanted)
    kind = chassis.vsctl("get", "bridge", "br-int", "datapath_type")
    datapaths = chassis.vsctl("get", "open", ".", "datapaths")
    assert datapaths.startswith(f"{{{kind}=") and datapaths.count("=") == 1


@EVERY
def test_exit_takes_tunnels_away(bed: Sandbox, name: str) -> None:
    chassis = bed.chassis[name]
    until(lambda: len(tunnels(chassis)) == 3, "the tunnels")
    chassis.exit_agent()
    try:
        assert not tunnels(chassis)
        assert chassis.vsctl("--no-wait", "get", "open", ".", "other_config") == '{vlan-limit="0"}'
    finally:
        chassis.start_agent()
    until(lambda: len(tunnels(chassis)) == 3, "the tunnels again")


@pytest.fixture
def underlay_of_ovs(bed: Sandbox) -> Iterator[Chassis]:
    """The underlay's address on a bridge of ovs-vswitchd's userspace data path."""
    chassis = bed.chassis["beside"]
    address = f"{chassis.addresses.ipv4}/24"
    mac = chassis.run("cat", "/sys/class/net/eth0/address").strip()
    chassis.run("ip", "addr", "del", address, "dev", "eth0")
    chassis.vsctl("add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev",
                  f'other_config:hwaddr="{mac}"', "--", "add-port", "br-phy", "eth0")  # fmt: skip
    chassis.run("ip", "addr", "add", address, "dev", "br-phy")
    chassis.run("ip", "link", "set", "br-phy", "up")
    yield chassis
    chassis.vsctl("del-br", "br-phy")
    chassis.run("ip", "addr", "add", address, "dev", "eth0")
    until(lambda: len(tunnels(chassis)) == 3, "the tunnels again")


def test_no_tunnel_ports_where_ovs_would_take_the_packets(
    bed: Sandbox, underlay_of_ovs: Chassis
) -> None:
    """With them its userspace data path ends tunnels on its bridges before we see them."""
    until(lambda: not tunnels(underlay_of_ovs), "the ports' end")
    assert "no tunnel ports on br-int" in underlay_of_ovs.log()
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm1", "vm2"))
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm2", "vm1"))
