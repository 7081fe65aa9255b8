# SPDX-License-Identifier: Apache-2.0
"""Which backends are gone, of balancers whose connections are to be flushed."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ovn_bpf_controller.backends import Backends, split
from ovn_bpf_controller.datapath.conntrack import Pair, mapped
from ovn_bpf_controller.ovsdb.store import Changes
from ovn_bpf_controller.ovsdb.tables import ChassisTemplateVar, LoadBalancer


def row(uuid: str, vips: Mapping[str, str], flush: str = "true", proto: str | None = None) -> Any:
    return LoadBalancer(uuid=uuid, vips=dict(vips), protocol=proto, options={"ct_flush": flush})


class World:
    """Rows as the cache would have them."""

    def __init__(self) -> None:
        self.rows: dict[str, LoadBalancer] = {}
        self.backends = Backends(cast(Any, SimpleNamespace(table=lambda _table: self.rows)))

    def put(self, *rows: LoadBalancer) -> set[Pair]:
        changes = Changes()
        changes[LoadBalancer.TABLE] = {r.uuid: (self.rows.get(r.uuid), r) for r in rows}
        self.rows |= {r.uuid: r for r in rows}
        return self.backends.run(changes, {})

    def drop(self, uuid: str) -> set[Pair]:
        changes = Changes()
        changes[LoadBalancer.TABLE] = {uuid: (self.rows.pop(uuid), None)}
        return self.backends.run(changes, {})


def pair(vip: str, port: int, backend: str, backend_port: int, proto: int) -> Pair:
    return Pair(mapped(vip), port, mapped(backend), backend_port, proto)


@pytest.mark.parametrize(
    ("text", "ip", "port"),
    [
        ("10.0.0.1", "10.0.0.1", 0),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("fd00::1", "fd00::1", 0),
        ("[fd00::1]:443", "fd00::1", 443),
    ],
)
def test_addresses_with_and_without_port(text: str, ip: str, port: int) -> None:
    assert split(text) == (mapped(ip), port)


def test_a_backend_that_goes_is_told_once() -> None:
    world = World()
    assert not world.put(row("a", {"30.0.0.1:80": "10.0.0.1:8080,10.0.0.2:8080"}))
    gone = world.put(row("a", {"30.0.0.1:80": "10.0.0.2:8080"}))
    assert gone == {pair("30.0.0.1", 80, "10.0.0.1", 8080, 6)}
    assert not world.put(row("a", {"30.0.0.1:80": "10.0.0.2:8080"}))


def test_a_vip_or_a_balancer_that_goes_takes_its_backends_along() -> None:
    world = World()
    world.put(row("a", {"30.0.0.1": "10.0.0.1", "[fd00::1]:53": "[fd00::2]:53"}, proto="udp"))
    gone = world.put(row("a", {"[fd00::1]:53": "[fd00::2]:53"}, proto="udp"))
    assert gone == {pair("30.0.0.1", 0, "10.0.0.1", 0, 0)}
    assert world.drop("a") == {pair("fd00::1", 53, "fd00::2", 53, 17)}


def test_without_ct_flush_nothing_is_told() -> None:
    world = World()
    world.put(row("a", {"30.0.0.1": "10.0.0.1,10.0.0.2"}, flush="false"))
    assert not world.put(row("a", {"30.0.0.1": "10.0.0.1"}, flush="false"))
    assert not world.drop("a")


def test_what_another_balancer_still_has_stays() -> None:
    world = World()
    vips = {"30.0.0.1:80": "10.0.0.1:80"}
    world.put(row("a", vips), row("b", vips))
    assert not world.drop("a")
    assert world.drop("b")


def test_a_vip_that_cannot_be_read_costs_itself_only() -> None:
    world = World()
    world.put(row("a", {"nonsense": "10.0.0.1", "30.0.0.1": "10.0.0.1"}))
    assert world.drop("a") == {pair("30.0.0.1", 0, "10.0.0.1", 0, 0)}


def test_templates_are_followed() -> None:
    world = World()
    changes = Changes()
    made = row("a", {"^vip:80": "^backends"})
    changes[LoadBalancer.TABLE] = {"a": (None, made)}
    world.rows["a"] = made
    assert not world.backends.run(changes, {"vip": "30.0.0.1", "backends": "10.0.0.1:1,10.0.0.2:1"})
    changes = Changes()
    changes[ChassisTemplateVar.TABLE] = {}
    gone = world.backends.run(changes, {"vip": "30.0.0.1", "backends": "10.0.0.1:1"})
    assert gone == {pair("30.0.0.1", 80, "10.0.0.2", 1, 6)}
