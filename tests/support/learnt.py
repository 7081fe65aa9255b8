# SPDX-License-Identifier: Apache-2.0
"""What stations say of themselves, and what the Southbound has learnt of it.

The switch is sw1, its router r0 with port r0-sw1: ROUTER, 10.1.0.1 and fd01::1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

ROUTER = "0e:00:00:00:00:02"
ARRIVES = 60.0


def announcement(address: str, mac: str, group: bool = True) -> bytes:
    """A gratuitous ARP reply, or an unsolicited advertisement; or the same to the router."""
    if ":" in address:
        dst = "33:33:00:00:00:01" if group else ROUTER
        to = "ff02::1" if group else "fd01::1"
        frame = Ether(src=mac, dst=dst) / IPv6(src=address, dst=to, hlim=255)
        frame = frame / ICMPv6ND_NA(tgt=address, R=0, S=not group, O=1)
        return bytes(frame / ICMPv6NDOptDstLLAddr(lladdr=mac))
    dst = "ff:ff:ff:ff:ff:ff" if group else ROUTER
    arp = ARP(op=2, hwsrc=mac, psrc=address, hwdst=dst, pdst=address if group else "10.1.0.1")
    return bytes(Ether(src=mac, dst=dst) / arp)


def bindings(bed: Sandbox, address: str) -> list[tuple[str, str]]:
    """(port, MAC address) of each MAC_Binding row of an address."""
    columns = "--columns=logical_port,mac"
    found = bed.sbctl("--bare", columns, "find", "mac_binding", f'ip="{address}"').split()
    return list(zip(found[::2], found[1::2], strict=True))


def stations(bed: Sandbox, mac: str) -> list[str]:
    """Name of the port of each FDB row of an address."""
    keys = bed.sbctl("--bare", "--columns=port_key", "find", "fdb", f'mac="{mac}"').split()
    dp = bed.sbctl("--bare", "--columns=_uuid", "find", "datapath_binding", "external_ids:name=sw1")
    return [
        bed.sbctl(
            *("--bare", "--columns=logical_port", "find", "port_binding"),
            *(f"datapath={dp.strip()}", f"tunnel_key={key}"),
        )
        for key in keys
    ]


def told(
    bed: Sandbox, vm: str, say: Callable[[], None], known: Callable[[], bool], what: str
) -> None:
    """A guest says something, until it is known and every chassis has it.

    Once where our chassis listens: a real one may lose what its switch hands up, which
    queues a hundred packets for its controller and no more.
    """
    ours = bed.chassis[bed.ports[vm].chassis].ours
    for last in (True,) if ours else (False, False, False, True):
        say()
        try:
            process.wait_until(known, ARRIVES if last else 10.0, what)
            break
        except SandboxError:
            if last:
                raise
    bed.sync()


def announced(bed: Sandbox, vm: str, address: str, mac: str, group: bool = True) -> None:
    """A guest announces an address; until its row is there, and every chassis has it."""
    say = partial(traffic.send_raw, bed, vm, announcement(address, mac, group))
    wanted = [("r0-sw1", mac)]
    told(bed, vm, say, lambda: bindings(bed, address) == wanted, f"{address} at {mac}")


def moved(bed: Sandbox, vm: str, address: str, mac: str) -> None:
    """A station announces itself; until its row is at this guest's port."""
    say = partial(traffic.send_raw, bed, vm, announcement(address, mac))
    told(bed, vm, say, lambda: stations(bed, mac) == [vm], f"{mac} at {vm}")
