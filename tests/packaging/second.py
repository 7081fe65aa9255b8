# SPDX-License-Identifier: Apache-2.0
"""A second chassis of a container, in a network namespace, from the same package.

The first is the container itself.  This one has no Open vSwitch daemon but
ovsdb-server, and no systemd: it is started as ovn-ctl would start it.
"""

from __future__ import annotations

from tests.packaging.container import Container

NAME = "hv2"
RUN = f"/run/{NAME}"
FIRST, SECOND = "192.0.2.1", "192.0.2.2"
GUEST = "vm3"
ADDRESS = "10.0.0.3"
_MAC = "0a:00:00:00:00:03"
_NAMES = ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")
_ENVIRONMENT = [f"{side}_{name}={RUN}" for side in ("OVS", "OVN") for name in _NAMES]
# Its pins are its own: `ip netns exec` leaves a /sys without any.
_DAEMONS = f"""
set -e
mount -t bpf bpf /sys/fs/bpf
ovsdb-tool create {RUN}/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server {RUN}/conf.db --remote=punix:{RUN}/db.sock --pidfile --detach --log-file
ovs-vsctl --no-wait init -- set open . external-ids:system-id={NAME} \
    external-ids:ovn-remote=unix:/run/ovn/ovnsb_db.sock \
    external-ids:ovn-encap-type=geneve external-ids:ovn-encap-ip={SECOND}
ovn-controller -vconsole:emer --pidfile --detach --log-file
"""


def underlay(host: Container) -> None:
    """The wire between both."""
    host.run("ip", "netns", "add", NAME)
    host.run(*f"ip link add under1 type veth peer name under2 netns {NAME}".split())
    host.run(*f"ip addr add {FIRST}/24 dev under1".split())
    host.run("ip", "link", "set", "under1", "up")
    host.run(*f"ip -n {NAME} addr add {SECOND}/24 dev under2".split())
    host.run(*f"ip -n {NAME} link set under2 up".split())


def start(host: Container) -> None:
    """Its daemons, and one guest."""
    host.run("mkdir", "-p", RUN)
    _inside(host, "sh", "-c", _DAEMONS)
    host.run("ovn-nbctl", "lsp-add", "sw0", GUEST)
    host.run("ovn-nbctl", "lsp-set-addresses", GUEST, f"{_MAC} {ADDRESS}")
    host.run("ip", "netns", "add", GUEST)
    host.run(*f"ip -n {NAME} link add tap3 type veth peer name eth0 netns {GUEST}".split())
    host.run(*f"ip -n {NAME} link set tap3 up".split())
    host.run(*f"ip -n {GUEST} link set eth0 address {_MAC} mtu 1442 up".split())
    host.run(*f"ip -n {GUEST} addr add {ADDRESS}/24 dev eth0".split())
    _inside(
        host,
        *("ovs-vsctl", "--no-wait", "add-port", "br-int", "tap3"),
        *("--", "set", "interface", "tap3", f"external-ids:iface-id={GUEST}"),
    )


def stop(host: Container) -> None:
    """Takes the chassis out of the deployment, and its namespaces away."""
    _inside(host, "ovn-appctl", "-t", "ovn-controller", "exit")
    _inside(host, "ovs-appctl", "-t", "ovsdb-server", "exit")
    for name in (GUEST, NAME):
        host.run("ip", "netns", "del", name)
    host.run("ovn-nbctl", "lsp-del", GUEST)
    host.run("rm", "-r", RUN)


def _inside(host: Container, *command: str) -> str:
    return host.run("ip", "netns", "exec", NAME, "env", *_ENVIRONMENT, *command)
