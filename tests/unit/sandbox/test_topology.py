# SPDX-License-Identifier: Apache-2.0
"""The sandbox's YAML: what it means, and how it says that it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import demo, northbound
from ovn_bpf_controller.sandbox.layout import MAX_DIRECTORY, layout_of, token, vif_name
from ovn_bpf_controller.sandbox.port import gateways
from ovn_bpf_controller.sandbox.spec import DEFAULT, dump
from ovn_bpf_controller.sandbox.topology import load, parse

EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/*/topology.yaml"))

RICH = """
underlay: ipv6
mtu: 9000
chassis:
  hv1: {external_ids: {ovn-monitor-all: true}}
  hv2: {vswitchd: true}
  hv3: {agent: ovn-controller}
switches:
  sw0: {ipv4: 10.0.0.0/29, ipv6: "fd00::/64", other_config: {mcast_snoop: false}}
  sw1: {}
routers:
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "0a:00:00:00:ff:01", networks: [10.0.0.2/29, "fd00::1/64"]}
ports:
  a: {switch: sw0, chassis: hv1, port_security: true}
  b: {switch: sw0, ips: [10.0.0.3/29], port_security: ["0a:00:00:00:00:02"]}
  c: {switch: sw0, chassis: hv3, options: {requested-chassis: hv3}}
  d: {switch: sw1, mac: "0A:00:00:00:00:FF", addresses: [unknown]}
address_sets: {set1: [10.0.0.1, "fd00::1"], none: []}
port_groups: {pg1: [a, b]}
acls:
  - {port_group: pg1, direction: to-lport, priority: 7, match: 'ip4.src == $set1', action: drop}
  - {switch: sw0, direction: from-lport, match: ip6, action: allow-stateless}
nbctl: ["set logical_switch sw1 external_ids:'a b'=c"]
"""


def test_ports_draw_what_nobody_wrote_down() -> None:
    ports = parse(RICH).ports
    assert [str(ip) for ip in ports["a"].ips] == ["10.0.0.4/29", "fd00::2/64"]
    assert [str(ip) for ip in ports["c"].ips] == ["10.0.0.5/29", "fd00::3/64"]
    assert ports["a"].mac == "0a:00:00:00:00:01"
    assert ports["a"].addresses == ports["a"].port_security
    assert ports["a"].addresses == ("0a:00:00:00:00:01 10.0.0.4 fd00::2",)
    assert (ports["b"].chassis, ports["d"].mac) == ("", "0a:00:00:00:00:ff")


def test_what_is_left_out_has_the_documented_defaults() -> None:
    topology = parse("chassis: {hv1: {}, hv2: {agent: ovn-controller}}")
    assert (topology.underlay, topology.mtu, topology.vif_mtu) == ("ipv4", 1500, 1442)
    assert not topology.chassis["hv1"].vswitchd
    assert topology.chassis["hv2"].vswitchd
    assert topology.mixed


def test_the_guest_gets_what_geneve_leaves() -> None:
    assert parse(RICH).vif_mtu == 9000 - 78


def test_a_guest_is_routed_through_the_router_of_its_networks() -> None:
    topology = parse(RICH)
    assert gateways(topology, "sw0", topology.ports["a"].ips) == ("10.0.0.2", "fd00::1")
    assert gateways(topology, "sw0", topology.ports["b"].ips) == ("10.0.0.2",)
    assert gateways(topology, "sw1", topology.ports["a"].ips) == ()


@pytest.mark.parametrize(
    "text",
    [RICH, DEFAULT, demo.TOPOLOGY.format(vswitchd="true"), *(e.read_text() for e in EXAMPLES)],
)
def test_dump_is_read_back_as_the_same(text: str) -> None:
    assert parse(dump(parse(text))) == parse(text)


def test_there_are_three_examples_each_with_a_readme() -> None:
    assert len(EXAMPLES) == 3
    assert all((example.parent / "README.md").exists() for example in EXAMPLES)


def test_northbound_commands_say_all_of_it_in_order() -> None:
    lines = [" ".join(command) for command in northbound.commands(parse(RICH))]
    for line in (
        'set logical_switch sw0 other_config:mcast_snoop="false"',
        "lrp-add lr0 lr0-sw0 0a:00:00:00:ff:01 10.0.0.2/29 fd00::1/64",
        "lsp-set-options sw0-lr0-sw0 router-port=lr0-sw0",
        "lsp-set-port-security b 0a:00:00:00:00:02",
        "lsp-set-options c requested-chassis=hv3",
        "lsp-set-addresses d unknown",
        'create address_set name="set1" addresses="10.0.0.1","fd00::1"',
        'create address_set name="none"',
        "pg-add pg1 a b",
        "--type=port-group acl-add pg1 to-lport 7 ip4.src == $set1 drop",
        "--type=switch acl-add sw0 from-lport 1000 ip6 allow-stateless",
        "set logical_switch sw1 external_ids:a b=c",
    ):
        assert line in lines
    assert lines.index("ls-add sw0") < lines.index("lsp-add sw0 a") < lines.index("pg-add pg1 a b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "chassis: at least one is needed"),
        ("[]", "topology: expected a mapping"),
        ("chassis: [", "line 1: "),
        ("chasis: {hv1: {}}", "topology: unknown key 'chasis' (known: underlay"),
        ("chassis: {hv1: {}, hv1: {}}", "line 1: 'hv1' is there twice"),
        ("chassis: {[hv1]: {}}", "line 1: a key cannot be a list or a mapping"),
        ("\0", "unacceptable character #x0000"),
        ('chassis: {hv1: {}}\nnbctl: ["show \'s"]', "nbctl[0]: No closing quotation"),
        ("chassis: {hv_1: {}}", "chassis.hv_1: a chassis name is"),
        ("chassis: {underlay: {}}", "chassis.underlay: a chassis name is"),
        ("chassis: {hv1: {agent: ovs}}", "chassis.hv1.agent: 'ovs' is none of ovn-bpf-controller"),
        ("chassis: {hv1: {vswitchd: 1}}", "chassis.hv1.vswitchd: expected true or false"),
        (
            "chassis: {hv1: {agent: ovn-controller, vswitchd: false}}",
            "chassis.hv1.vswitchd: ovn-controller does not work without it",
        ),
        ("chassis: {hv1: {datapath: system}}", "chassis.hv1.datapath: means nothing without"),
        ("chassis: {hv1: {}}\nmtu: 99", "mtu: 99 is not between 1400 and 9000"),
        ("chassis: {hv1: {}}\nmtu: big", "mtu: expected a whole number"),
        ("chassis: {hv1: {}}\nunderlay: ipx", "underlay: 'ipx' is none of ipv4, ipv6"),
        ("chassis: {hv1: {}}\nports: {p: {}}", "ports.p: switch is missing"),
        ("chassis: {hv1: {}}\nports: {p: {switch: s}}", "ports.p.switch: no switch 's'"),
        (
            "chassis: {hv1: {}}\nswitches: {s: {}}\nports: {p: {switch: s, chassis: hv9}}",
            "ports.p.chassis: no chassis 'hv9'",
        ),
        (
            "chassis: {hv1: {}}\nswitches: {s: {}}\nports: {p: {switch: s, mac: nonsense}}",
            "ports.p.mac: 'nonsense' is not an Ethernet address",
        ),
        (
            "chassis: {hv1: {}}\nswitches: {s: {}}\nports: {p: {switch: s, ips: [10.0.0.1/33]}}",
            "ports.p.ips[0]: '10.0.0.1/33' does not appear",
        ),
        ("chassis: {hv1: {}}\nswitches: {s: {ipv4: 10.0.0.1/24}}", "switches.s.ipv4: 10.0.0.1/24"),
        (
            "chassis: {hv1: {}}\nswitches: {s: {ipv4: 10.0.0.0/31}}\nports: {p: {switch: s}}",
            "switches.s: 10.0.0.0/31 has no free address",
        ),
        ("chassis: {hv1: {}}\nport_groups: {g: [p]}", "port_groups.g[0]: no port 'p'"),
        (
            "chassis: {hv1: {}}\nacls: [{direction: to-lport, match: ip, action: drop}]",
            "acls[0]: give either switch or port_group",
        ),
        (
            "chassis: {hv1: {}}\nswitches: {s: {}}\n"
            "acls: [{switch: s, direction: sideways, match: ip, action: drop}]",
            "acls[0].direction: 'sideways' is none of from-lport, to-lport",
        ),
        ("chassis: {hv1: {}}\nnbctl: {}", "nbctl: expected a list"),
    ],
)
def test_a_mistake_is_named_with_its_place_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SandboxError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_too_deep_for_the_parser_is_a_mistake_too() -> None:
    with pytest.raises(SandboxError, match="too many lists or mappings in each other"):
        parse("[" * 5000)


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SandboxError, match="not UTF-8"):
        load(binary)
    with pytest.raises(SandboxError, match=r"missing.yaml: No such file"):
        load(tmp_path / "missing.yaml")


def test_a_directory_too_long_for_sockets_is_refused() -> None:
    with pytest.raises(SandboxError, match="longer than"):
        layout_of("/" + "x" * MAX_DIRECTORY)


def test_names_differ_by_directory_and_fit_the_kernel() -> None:
    one, two = layout_of("/run/a"), layout_of("/run/b")
    assert one.port_netns("vm1") != two.port_netns("vm1")
    assert vif_name("vm1") == "vm1"
    uuid = "f7dc6a1c-8c0e-4d43-9f0a-1c7f0a5c1f11"
    for lsp in ("eth0", "br-int", "a" * 16, uuid, "a/b", "\u00e9", ".", ".."):
        assert len(vif_name(lsp)) <= 15
        assert vif_name(lsp) != lsp
    assert "/" not in token("a/b")
