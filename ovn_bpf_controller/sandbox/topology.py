# SPDX-License-Identifier: Apache-2.0
"""Reads the sandbox's YAML file into a Topology.

`up` calls it before anything is made.  Everything a user can get wrong is found
here and told in one line with its place in the file; what OVN itself checks
(matches, names of options) is left to ovn-nbctl.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox.spec import (
    AGENTS,
    AclSpec,
    ChassisSpec,
    Interface,
    PortSpec,
    RouterPortSpec,
    RouterSpec,
    SwitchSpec,
    Topology,
)

T = TypeVar("T")

_CHASSIS = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}")
_MAC = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")
_RESERVED = ("underlay", "ports", "manifest")


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML takes the last of two equal keys; a second port vm1 is a mistake here."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            line = key.start_mark.line + 1
            if not isinstance(name, Hashable):
                raise SandboxError(f"line {line}: a key cannot be a list or a mapping")
            if name in seen:
                raise SandboxError(f"line {line}: {name!r} is there twice")
            seen.add(name)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Topology:
    """The topology in YAML file `path`; SandboxError names the file and the place."""
    try:
        text = path.read_text()
    except OSError as error:
        raise SandboxError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SandboxError(f"{path}: not UTF-8 text") from error
    try:
        return parse(text)
    except SandboxError as error:
        raise SandboxError(f"{path}: {error}") from error


def parse(text: str) -> Topology:
    """The topology in YAML `text`; SandboxError says where and why it is wrong."""
    try:
        document = yaml.load(text, _UniqueKeyLoader)  # noqa: S506 - derived from SafeLoader
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise SandboxError(f"line {where.line + 1}: {what}" if where else what) from error
    except RecursionError:
        raise SandboxError("too many lists or mappings in each other") from None
    return _Reader(_Node("", document)).topology()


class _Node:
    """A YAML value with its place ("ports.vm1.mac") for messages."""

    def __init__(self, place: str, value: Any) -> None:
        self.place = place
        self.value = value

    def fail(self, message: str) -> NoReturn:
        raise SandboxError(f"{self.place or 'topology'}: {message}")

    def mapping(self, allowed: tuple[str, ...] | None = None) -> dict[str, _Node]:
        value = {} if self.value is None else self.value
        if not isinstance(value, dict):
            self.fail("expected a mapping")
        children = {}
        for key, child in value.items():
            name = str(key)
            if allowed is not None and name not in allowed:
                self.fail(f"unknown key {name!r} (known: {', '.join(allowed)})")
            children[name] = _Node(f"{self.place}.{name}".lstrip("."), child)
        return children

    def items(self) -> list[_Node]:
        value = [] if self.value is None else self.value
        if not isinstance(value, list):
            self.fail("expected a list")
        return [_Node(f"{self.place}[{index}]", child) for index, child in enumerate(value)]

    def text(self) -> str:
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            self.fail("expected text")
        return str(self.value)

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def command(self) -> str:
        """Text that a shell would take apart into words."""
        text = self.text()
        try:
            shlex.split(text)
        except ValueError as error:
            self.fail(str(error))
        return text

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail("expected true or false")
        return self.value

    def integer(self, low: int, high: int) -> int:
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.fail("expected a whole number")
        if not low <= self.value <= high:
            self.fail(f"{self.value} is not between {low} and {high}")
        return self.value

    def choice(self, *choices: str) -> str:
        if self.value not in choices:
            self.fail(f"{self.value!r} is none of {', '.join(choices)}")
        return str(self.value)

    def mac(self) -> str:
        text = self.text()
        if not _MAC.fullmatch(text):
            self.fail(f"{text!r} is not an Ethernet address (quote it: YAML reads 1:2 as a number)")
        return text.lower()

    def address(self, make: Callable[[str], T]) -> T:
        text = self.text()
        try:
            return make(text)
        except ValueError as error:
            self.fail(str(error))

    def strings(self) -> dict[str, str]:
        """A mapping for a column of OVSDB type map; true and false as OVN spells them."""
        result = {}
        for name, child in self.mapping().items():
            value = child.value
            result[name] = str(value).lower() if isinstance(value, bool) else child.text()
        return result


class _Reader:
    """One pass over the document; later sections refer to earlier ones."""

    _SECTIONS = (
        "underlay", "mtu", "chassis", "switches", "routers", "ports",
        "address_sets", "port_groups", "acls", "nbctl",
    )  # fmt: skip

    def __init__(self, root: _Node) -> None:
        keys = root.mapping(self._SECTIONS)
        self._section = {name: keys.get(name, _Node(name, None)) for name in self._SECTIONS}
        self._switches: dict[str, SwitchSpec] = {}
        self._routers: dict[str, RouterSpec] = {}
        self._chassis: dict[str, ChassisSpec] = {}
        self._ports: dict[str, PortSpec] = {}
        self._used: set[str] = set()

    def topology(self) -> Topology:
        section = self._section
        for name, node in section["chassis"].mapping().items():
            self._chassis[name] = self._one_chassis(name, node)
        for name, node in section["switches"].mapping().items():
            self._switches[name] = self._one_switch(name, node)
        for name, node in section["routers"].mapping().items():
            self._routers[name] = self._one_router(name, node)
        self._reserve_addresses()
        for number, (name, node) in enumerate(section["ports"].mapping().items(), 1):
            self._ports[name] = self._one_port(number, name, node)
        if not self._chassis:
            section["chassis"].fail("at least one is needed")
        groups = {n: self._group(node) for n, node in section["port_groups"].mapping().items()}
        sets = {n: node.texts() for n, node in section["address_sets"].mapping().items()}
        underlay, mtu = section["underlay"], section["mtu"]
        return Topology(
            chassis=self._chassis,
            switches=self._switches,
            routers=self._routers,
            ports=self._ports,
            address_sets=sets,
            port_groups=groups,
            acls=tuple(self._acl(node, set(groups)) for node in section["acls"].items()),
            nbctl=tuple(node.command() for node in section["nbctl"].items()),
            underlay="ipv4" if underlay.value is None else underlay.choice("ipv4", "ipv6"),
            mtu=1500 if mtu.value is None else mtu.integer(1400, 9000),
        )

    def _one_chassis(self, name: str, node: _Node) -> ChassisSpec:
        if not _CHASSIS.fullmatch(name) or name in _RESERVED:
            node.fail("a chassis name is a letter, then up to 14 letters, digits or '-'")
        keys = node.mapping(("agent", "vswitchd", "datapath", "external_ids"))
        agent = keys["agent"].choice(*AGENTS) if "agent" in keys else AGENTS[0]
        real = agent == "ovn-controller"
        vswitchd = keys["vswitchd"].flag() if "vswitchd" in keys else real
        if real and not vswitchd:
            keys["vswitchd"].fail("ovn-controller does not work without it")
        datapath = keys["datapath"].choice("netdev", "system") if "datapath" in keys else "netdev"
        if datapath == "system" and not vswitchd:
            keys["datapath"].fail("means nothing without vswitchd")
        ids = keys["external_ids"].strings() if "external_ids" in keys else {}
        return ChassisSpec(name, agent, vswitchd, datapath, ids)

    def _one_switch(self, name: str, node: _Node) -> SwitchSpec:
        keys = node.mapping(("ipv4", "ipv6", "other_config"))
        return SwitchSpec(
            name,
            keys["ipv4"].address(ipaddress.IPv4Network) if "ipv4" in keys else None,
            keys["ipv6"].address(ipaddress.IPv6Network) if "ipv6" in keys else None,
            keys["other_config"].strings() if "other_config" in keys else {},
        )

    def _one_router(self, name: str, node: _Node) -> RouterSpec:
        keys = node.mapping(("ports",))
        ports = []
        for leg, child in keys.get("ports", _Node("", None)).mapping().items():
            part = child.mapping(("switch", "mac", "networks"))
            for needed in ("switch", "mac", "networks"):
                if needed not in part:
                    child.fail(f"{needed} is missing")
            networks = tuple(n.address(ipaddress.ip_interface) for n in part["networks"].items())
            switch = self._known_switch(part["switch"])
            ports.append(RouterPortSpec(leg, switch, part["mac"].mac(), networks))
        return RouterSpec(name, tuple(ports))

    def _one_port(self, number: int, name: str, node: _Node) -> PortSpec:
        keys = node.mapping(
            ("switch", "chassis", "mac", "ips", "addresses", "port_security", "options")
        )
        if "switch" not in keys:
            node.fail("switch is missing")
        switch = self._switches[self._known_switch(keys["switch"])]
        chassis = keys["chassis"].text() if "chassis" in keys else ""
        if chassis and chassis not in self._chassis:
            keys["chassis"].fail(f"no chassis {chassis!r}")
        mac = (
            keys["mac"].mac()
            if "mac" in keys
            else f"0a:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        )
        ips = (
            tuple(ip.address(ipaddress.ip_interface) for ip in keys["ips"].items())
            if "ips" in keys
            else self._draw(switch)
        )
        own = " ".join([mac, *(str(ip.ip) for ip in ips)])
        addresses = keys["addresses"].texts() if "addresses" in keys else (own,)
        security: tuple[str, ...] = ()
        if "port_security" in keys:
            value = keys["port_security"]
            security = value.texts() if isinstance(value.value, list) else (own,) * value.flag()
        options = keys["options"].strings() if "options" in keys else {}
        return PortSpec(name, switch.name, mac, ips, chassis, addresses, security, options)

    def _known_switch(self, node: _Node) -> str:
        name = node.text()
        if name not in self._switches:
            node.fail(f"no switch {name!r}")
        return name

    def _reserve_addresses(self) -> None:
        """What is written down is not given to ports that draw theirs."""
        for router in self._routers.values():
            for leg in router.ports:
                self._used.update(str(network.ip) for network in leg.networks)
        for node in self._section["ports"].mapping().values():
            keys = node.mapping()
            for ip in keys["ips"].items() if "ips" in keys else ():
                self._used.add(str(ip.address(ipaddress.ip_interface).ip))

    def _draw(self, switch: SwitchSpec) -> tuple[Interface, ...]:
        """The next free host of each of the switch's networks; .1 is left to a router."""
        drawn: list[Interface] = []
        for network in (switch.ipv4, switch.ipv6):
            if network is None:
                continue
            for offset in range(2, min(network.num_addresses - 1, 65536)):
                address = network[offset]
                if str(address) not in self._used:
                    self._used.add(str(address))
                    drawn.append(ipaddress.ip_interface(f"{address}/{network.prefixlen}"))
                    break
            else:
                raise SandboxError(f"switches.{switch.name}: {network} has no free address")
        return tuple(drawn)

    def _group(self, node: _Node) -> tuple[str, ...]:
        for item in node.items():
            if item.text() not in self._ports:
                item.fail(f"no port {item.text()!r}")
        return node.texts()

    def _acl(self, node: _Node, groups: set[str]) -> AclSpec:
        keys = node.mapping(("switch", "port_group", "direction", "priority", "match", "action"))
        for needed in ("direction", "match", "action"):
            if needed not in keys:
                node.fail(f"{needed} is missing")
        if ("switch" in keys) == ("port_group" in keys):
            node.fail("give either switch or port_group")
        if "switch" in keys:
            entity = self._known_switch(keys["switch"])
        else:
            entity = keys["port_group"].text()
            if entity not in groups:
                keys["port_group"].fail(f"no port group {entity!r}")
        return AclSpec(
            entity,
            keys["direction"].choice("from-lport", "to-lport"),
            keys["priority"].integer(0, 32767) if "priority" in keys else 1000,
            keys["match"].text(),
            keys["action"].choice("allow", "allow-related", "allow-stateless", "drop", "reject"),
        )
