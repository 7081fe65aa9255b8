# SPDX-License-Identifier: Apache-2.0
"""Load balancers written with template variables, which every chassis fills in itself.

vm1, vm2 - ls1 - rtr (on hv1) - ls2 - vm3 (on hv2)
vm4 (on hv2) -'
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import servers, talk
from tests.support.balancers import address, change, endpoint

TOPOLOGY = """
chassis: {hv1: $agent, hv2: $agent}
switches:
  ls1: {ipv4: 42.42.42.0/24, ipv6: "fd42::/64"}
  ls2: {ipv4: 43.43.43.0/24, ipv6: "fd43::/64"}
routers:
  rtr:
    ports:
      rtr-ls1: {switch: ls1, mac: "0e:00:00:00:01:00", networks: [42.42.42.1/24, "fd42::1/64"]}
      rtr-ls2: {switch: ls2, mac: "0e:00:00:00:02:00", networks: [43.43.43.1/24, "fd43::1/64"]}
ports:
  vm1: {switch: ls1, chassis: hv1}
  vm2: {switch: ls1, chassis: hv1}
  vm3: {switch: ls2, chassis: hv2}
  vm4: {switch: ls1, chassis: hv2}
nbctl:
  - set logical_router rtr options:chassis=hv1
"""
VERSIONS = (4, 6)
VIP = {4: "66.66.66.66", 6: "fd66::66"}
NEAREST = {4: "66.66.66.67", 6: "fd66::67"}
CLIENTS = ("vm1", "vm2", "vm3")
#: (protocol, virtual port, whether the backends are a variable, too)
SERVICES = {"one": ("tcp", 666, True), "two": ("udp", 777, True), "three": ("tcp", 888, False),
            "four": ("udp", 999, False)}  # fmt: skip
BACKEND_PORT = 4242


@pytest.fixture(scope="module", autouse=True)
def answering(bed: Sandbox) -> Iterator[None]:
    talk.warm(bed, ("vm1", "vm3"), ("vm2", "vm4"))
    with servers.Servers(bed) as everybody:
        for guest in ("vm1", "vm4"):
            everybody.serve(guest, BACKEND_PORT)
        yield


@pytest.fixture(scope="module", autouse=True)
def balanced(bed: Sandbox, answering: None) -> None:
    """Values for hv1, of which hv2 has but those of the nearest backend.

    Once for all tests: ovn-controller 23.03.1 dies of rows that go and come back.
    """
    values: dict[str, dict[str, str]] = {"hv1": {}, "hv2": {}}
    for version in VERSIONS:
        near, far = (endpoint(address(bed, n, version), BACKEND_PORT) for n in ("vm1", "vm4"))
        nearest = {f"near{version}": NEAREST[version]}
        values["hv1"] |= nearest | {f"near_backends{version}": near}
        values["hv2"] |= nearest | {f"near_backends{version}": far}
        values["hv1"] |= {f"vip{version}": VIP[version], f"backends{version}": near}
        for name, (_, port, _) in SERVICES.items():
            values["hv1"][f"port_{name}{version}"] = str(port)
    for chassis, variables in values.items():
        pairs = [f'variables:{key}="{value}"' for key, value in variables.items()]
        bed.nbctl("create", "chassis_template_var", f"chassis={chassis}", *pairs)
    for version in VERSIONS:
        family, backend = f"ipv{version}", endpoint(address(bed, "vm1", version), BACKEND_PORT)
        for name, (protocol, _, variable) in SERVICES.items():
            vip, own = f"^vip{version}:^port_{name}{version}", f"{name}{version}"
            backends = f"^backends{version}" if variable else backend
            bed.nbctl("--template", "lb-add", own, vip, backends, protocol, family,
                      "--", "ls-lb-add", "ls1", own, "--", "lr-lb-add", "rtr", own)  # fmt: skip
        vip, own = f"^near{version}:80", f"near{version}"
        bed.nbctl("--template", "lb-add", own, vip, f"^near_backends{version}", "tcp", family,
                  "--", "ls-lb-add", "ls1", own)  # fmt: skip
    change(bed, "sync")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("service", SERVICES)
def test_templated_services_answer(bed: Sandbox, version: int, service: str) -> None:
    """The backend itself, its neighbour, and a guest behind the gateway router."""
    protocol, port, _ = SERVICES[service]
    for client in CLIENTS:
        answer = servers.visit(bed, client, VIP[version], port, protocol)
        assert answer
        assert answer.server == "vm1"


@pytest.mark.parametrize("version", VERSIONS)
def test_each_chassis_has_its_own_values(bed: Sandbox, version: int) -> None:
    for client, server in (("vm1", "vm1"), ("vm2", "vm1"), ("vm4", "vm4")):
        answer = servers.visit(bed, client, NEAREST[version], 80)
        assert answer
        assert answer.server == server


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_chassis_has_no_value_for_it_does_not_balance(bed: Sandbox, version: int) -> None:
    assert servers.unheard(bed, "vm4", VIP[version], 666)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_changed_value_is_obeyed(bed: Sandbox, version: int) -> None:
    row = bed.nbctl("--bare", "--columns=_uuid", "find", "chassis_template_var", "chassis=hv1")
    change(bed, "set", "chassis_template_var", row, f"variables:port_two{version}=778")
    for client in CLIENTS:
        assert servers.visit(bed, client, VIP[version], 778, "udp")
        assert servers.unheard(bed, client, VIP[version], 777, "udp")
