# SPDX-License-Identifier: Apache-2.0
"""Northbound contents of three deployments: S, M like ovn-kubernetes, L like OpenStack.

Each function fills a Northbound and returns the logical ports by the number of
the chassis that has them; chassis 0 is the one that is measured.
"""

from __future__ import annotations

import random

from tests.bench.scale.northbound import Northbound, Ref

Places = list[tuple[str, int]]


def mac(number: int) -> str:
    """A locally administered address."""
    return "0a:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(5, "big"))


def small(nb: Northbound) -> Places:
    """10 switches of 10 ports, a router, 20 load balancers, a few ACLs."""
    router = nb.insert("Logical_Router", name="lr0")
    group = nb.insert("Port_Group", name="pgS")
    nb.insert(
        "Address_Set", name="asS", addresses=[f"10.0.{n // 4}.{n % 4 + 10}" for n in range(20)]
    )
    balancers = nb.insert("Load_Balancer_Group", name="lbg")
    for n in range(20):
        backends = ",".join(f"10.0.{n % 10}.{x + 10}:8080" for x in range(3))
        nb.balancer(balancers, f"lb{n}", f"172.30.0.{n + 1}:80", backends)
    places = []
    for n in range(10):
        switch = nb.insert("Logical_Switch", name=f"ls{n}", load_balancer_group=[balancers])
        nb.attach(router, switch, f"lrp{n}", mac(0xFF0000 + n), f"10.0.{n}.1/24")
        for k in range(10):
            name = f"p{n}-{k}"
            nb.vm(switch, name, mac(n * 10 + k + 1), f"10.0.{n}.{k + 10}", [group])
            places.append((name, n if k > 7 else 0))
    nb.acl(group, 1000, "outport == @pgS && ip", "drop")
    nb.acl(group, 1001, "outport == @pgS && ip4.src == $asS && tcp.dst == 8080")
    nb.acl(group, 1001, "outport == @pgS && icmp4")
    nb.acl(group, 1001, "inport == @pgS && ip4", direction="from-lport")
    for n in range(16):
        source = f"ip4.src == 10.0.{n % 10}.0/24"
        nb.acl(group, 1002, f"outport == @pgS && ip4 && {source} && tcp && tcp.dst == {1000 + n}")
    return places


def medium(nb: Northbound, nodes: int = 100, pods: int = 50) -> Places:
    """100 nodes with gateway routers, 5,000 pods, 1,000 services, 200 policies."""
    cluster = nb.insert(
        "Logical_Router", name="ovn_cluster_router", options={"mcast_relay": "true"}
    )
    join = nb.insert("Logical_Switch", name="join")
    balancers = nb.insert("Load_Balancer_Group", name="clusterLBGroup")
    nb.attach(cluster, join, "rtoj-cluster", mac(0xFE000000), "100.64.0.1/16")
    places: Places = []
    ports: list[tuple[Ref, str]] = []
    for n in range(nodes):
        _node(nb, cluster, join, balancers, n)
        switch = nb.insert("Logical_Switch", name=f"node{n}", load_balancer_group=[balancers])
        candidate = nb.insert("Gateway_Chassis", name=f"rtos{n}-ch{n}", chassis_name=f"ch{n}",
                              priority=1)  # fmt: skip
        nb.attach(cluster, switch, f"rtos-node{n}", mac(0xFD000000 + n), f"10.128.{n}.1/24",
                  gateway_chassis=[candidate])  # fmt: skip
        for k in range(pods):
            name, address = f"pod{n}-{k}", f"10.128.{n}.{k + 10}"
            ports.append((nb.vm(switch, name, mac(n * pods + k + 1), address, []), address))
            places.append((name, 0 if n == 1 and k < 20 else n))
    for n in range(1000):
        backends = ",".join(f"{a}:8080" for _, a in random.sample(ports, 3))
        nb.balancer(balancers, f"svc{n}", f"10.96.{n // 250}.{n % 250 + 1}:80", backends)
    for n in range(200):
        _policy(nb, n, ports)
    everyone = nb.insert("Port_Group", name="clusterPortGroup", ports=[p for p, _ in ports])
    nb.acl(everyone, 1011, "inport == @clusterPortGroup && ip4.mcast", "drop", "from-lport")
    local = nb.insert("Port_Group", name="pgLocal", ports=[p for p, _ in ports[:pods]])
    addresses = [a for _, a in random.sample(ports, 50)]
    nb.insert("Address_Set", name="asLocal", addresses=addresses)
    nb.acl(local, 1001, "ip4.src == $asLocal && tcp && tcp.dst==9090 && outport == @pgLocal")
    return places


def _node(nb: Northbound, cluster: Ref, join: Ref, balancers: Ref, n: int) -> None:
    """A node's gateway router with its way in and out."""
    options = {"chassis": f"ch{n}", "lb_force_snat_ip": "router_ip", "snat-ct-zone": "0"}
    router = nb.insert("Logical_Router", name=f"GR_node{n}", options=options,
                       load_balancer_group=[balancers])  # fmt: skip
    inside, outside = f"100.64.0.{n + 2}", f"172.18.0.{n + 10}"
    nb.attach(router, join, f"rtoj-GR_node{n}", mac(0xFB000000 + n), f"{inside}/16")
    external = nb.insert("Logical_Switch", name=f"ext_node{n}")
    nb.attach(router, external, f"rtoe-GR_node{n}", mac(0xFA000000 + n), f"{outside}/16")
    nb.port(external, f"br-ex_node{n}", type="localnet", addresses=["unknown"],
            options={"network_name": "physnet"})  # fmt: skip
    nb.route(router, "10.128.0.0/14", "100.64.0.1")
    nb.route(router, "0.0.0.0/0", "172.18.0.1")
    nb.nat(router, "snat", outside, "10.128.0.0/14")
    nb.route(cluster, f"10.128.{n}.0/24", inside, policy="src-ip")
    nb.route(cluster, inside, inside)
    match = f'inport == "rtos-node{n}" && ip4.dst == {outside} /* node{n} */'
    nb.policy(cluster, 1004, match, "reroute", [f"10.128.{n}.2"])


def _policy(nb: Northbound, n: int, ports: list[tuple[Ref, str]]) -> None:
    """A network policy over 25 pods."""
    number = 10000 + n
    addresses = [a for _, a in random.sample(ports, 50)]
    nb.insert("Address_Set", name=f"a{number}", addresses=addresses)
    group = nb.insert("Port_Group", name=f"pg{n}", ports=[p for p, _ in random.sample(ports, 25)])
    other = 10000 + (n * 7 + 1) % 200
    sources = f"ip4.src == {{$a{number}, $a{other}}}"
    nb.acl(group, 1000, f"outport == @pg{n}", "drop")
    nb.acl(group, 1001, f"outport == @pg{n} && (arp || nd)", "allow")
    nb.acl(group, 1001, f"{sources} && tcp && tcp.dst==8080 && outport == @pg{n}")


def large(nb: Northbound, networks: int = 500, vms: int = 20) -> Places:
    """500 tenants with a network and a router, 10,000 ports and security rules."""
    public = nb.insert("Logical_Switch", name="public")
    nb.port(public, "provnet", type="localnet", addresses=["unknown"],
            options={"network_name": "physnet"})  # fmt: skip
    drop = nb.insert("Port_Group", name="neutron_pg_drop")
    nb.acl(drop, 1001, "inport == @neutron_pg_drop && ip", "drop", "from-lport")
    nb.acl(drop, 1001, "outport == @neutron_pg_drop && ip", "drop")
    places: Places = []
    for n in range(networks):
        places += _tenant(nb, public, drop, n, vms)
    return places


def _tenant(nb: Northbound, public: Ref, drop: Ref, n: int, vms: int) -> Places:
    net = f"10.{n // 256}.{n % 256}"
    switch = nb.insert("Logical_Switch", name=f"neutron-{n}")
    router = nb.insert(
        "Logical_Router", name=f"router-{n}", options={"dynamic_neigh_routers": "true"}
    )
    nb.attach(router, switch, f"lrp-{n}", mac(0xFD000000 + n), f"{net}.1/24")
    candidates = [
        nb.insert("Gateway_Chassis", name=f"ext-{n}_gw{g}", priority=g + 1,
                  chassis_name=f"ch{1 + (n + g) % 5}")
        for g in range(3)
    ]  # fmt: skip
    address = f"172.24.{4 * n // 250}.{4 * n % 250 + 2}"
    nb.attach(router, public, f"lrp-ext-{n}", mac(0xFC000000 + n), f"{address}/16",
              gateway_chassis=candidates)  # fmt: skip
    nb.nat(router, "snat", address, f"{net}.0/24")
    nb.route(router, "0.0.0.0/0", "172.24.255.1")
    options = {"server_id": f"{net}.1", "server_mac": mac(0xFD000000 + n), "lease_time": "43200",
               "mtu": "1442", "router": f"{net}.1", "dns_server": "{8.8.8.8}"}  # fmt: skip
    dhcp = nb.insert("DHCP_Options", cidr=f"{net}.0/24", options=options)
    nb.port(switch, f"meta-{n}", type="localport", addresses=[f"{mac(0xFB000000 + n)} {net}.2"])
    group = nb.insert("Port_Group", name=f"pg_sg_{n}")
    places = []
    for k in range(vms):
        name, number = f"vm{n}-{k}", n * vms + k
        nb.vm(switch, name, mac(number + 1), f"{net}.{k + 10}", [group, drop], dhcpv4_options=dhcp)
        places.append((name, 0 if k < 2 and n < 40 else 5 + number % 95))
        if k < 2:
            floating = 4 * n + 1 + k
            nb.nat(router, "dnat_and_snat", f"172.24.{floating // 250}.{floating % 250 + 2}",
                   f"{net}.{k + 10}", logical_port=name,
                   external_mac=mac(0xF0000000 + number))  # fmt: skip
    _security_group(nb, group, f"pg_sg_{n}")
    return places


def _security_group(nb: Northbound, group: Ref, name: str) -> None:
    for family in ("ip4", "ip6"):
        nb.acl(group, 1002, f"inport == @{name} && {family}", direction="from-lport")
        sources = f"{family}.src == ${name}_{family}"
        nb.acl(group, 1002, f"outport == @{name} && {family} && {sources}")
    start = f"outport == @{name} && ip4 && ip4.src == "
    nb.acl(group, 1002, f"{start}0.0.0.0/0 && icmp4")
    nb.acl(group, 1002, f"{start}0.0.0.0/0 && tcp && tcp.dst == 22")
    for n in range(14):
        protocol, low = "tcp" if n % 3 else "udp", 1000 + n * 50
        ports = f"{protocol}.dst == {low}"
        if n % 4 == 0:
            ports = f"{protocol}.dst >= {low} && {protocol}.dst <= {low + 20}"
        nb.acl(group, 1002, f"{start}192.168.{n}.0/24 && {protocol} && {ports}")


#: By name; LC is L with everything on the gateways (see databases.py).
TOPOLOGIES = {"S": small, "M": medium, "L": large, "LC": large}
