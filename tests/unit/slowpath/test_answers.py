# SPDX-License-Identifier: Apache-2.0
"""DHCPv4 options on the wire, and checksums."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.slowpath import dhcpv4
from ovn_bpf_controller.slowpath.checksums import whole
from ovn_bpf_controller.slowpath.dhcp_options import encode
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge

WORDS = tuple(1 if word == lib.OW_DP else 0 for word in range(lib.OVN_WORDS))
KNOWN = Knowledge(
    dhcp_options={"router": (3, "ipv4"), "lease_time": (51, "uint32")},
    dns={1: {"vm.ovn.org": ("10.0.0.4 aef0::4", False)}},
)
ARGUMENT = {
    "options": [
        ["offerip", [["IP4", 0x0A000005, None]]],
        ["router", [["IP4", 0x0A000001, None]]],
        ["lease_time", [["DEC", 3600, None]]],
    ]
}
MAC = bytes.fromhex("0a0000000001")
DISCOVER = bytes(
    Ether(src="0a:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
    / IP(src="0.0.0.0", dst="255.255.255.255")
    / UDP(sport=68, dport=67)
    / BOOTP(chaddr=MAC)
    / DHCP(options=[("message-type", "discover"), ("param_req_list", [1, 3]), "end"])
)


def test_an_offer_has_the_flow_s_options() -> None:
    [punt] = dhcpv4.handle(Punt(DISCOVER, WORDS), ARGUMENT, KNOWN)
    reply = Ether(punt.frame)
    options: dict[str, object] = dict(o[:2] for o in reply[DHCP].options if isinstance(o, tuple))
    assert options == {"message-type": 2, "router": "10.0.0.1", "lease_time": 3600}
    assert (reply[BOOTP].op, reply[BOOTP].yiaddr) == (2, "10.0.0.5")
    sent = reply[IP].chksum
    del reply[IP].chksum
    assert Ether(bytes(reply))[IP].chksum == sent


@pytest.mark.parametrize(
    ("code", "kind", "values", "wire"),
    [
        (19, "bool", [["DEC", 1, None]], "13 01 01"),
        (26, "uint16", [["DEC", 1400, None]], "1a 02 0578"),
        (51, "uint32", [["DEC", 3600, None]], "33 04 00000e10"),
        (6, "ipv4", [["IP4", 0x8080808, None], ["IP4", 0x1010101, None]], "0608 0808080801010101"),
        (15, "str", [["STRING", "ab", None]], "0f 02 6162"),
        (66, "host_id", [["IP4", 0x0A000001, None]], "42 04 0a000001"),
        (66, "host_id", [["STRING", "h", None]], "42 01 68"),
        # RFC 3442: 10.0.0.0/8 via 10.0.0.1, and the default route.
        (
            121,
            "static_routes",
            [
                ["IP4", 0x0A000000, 0xFF000000],
                ["IP4", 0x0A000001, None],
                ["IP4", 0, 0],
                ["IP4", 0x0A000002, None],
            ],
            "79 0b 08 0a 0a000001 00 0a000002",
        ),
        # ovn-sb(5)'s example of compression: abc.com and xyz.abc.com.
        (119, "domains", [["STRING", "abc.com,xyz.abc.com", None]],
         "77 0f 03616263 03636f6d 00 0378797a c000"),
    ],
)  # fmt: skip
def test_options_have_their_form(code: int, kind: str, values: list[object], wire: str) -> None:
    assert encode(code, kind, values) == bytes.fromhex(wire)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "values"),
    [("uint8", [["DEC", 256, None]]), ("str", [["STRING", "x" * 256, None]]), ("dance", [])],
)
def test_values_that_do_not_fit_are_rejected(kind: str, values: list[object]) -> None:
    with pytest.raises(RejectedError):
        encode(1, kind, values)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [TCP, UDP])
@pytest.mark.parametrize("network", [IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(dst="fd00::2")])
def test_checksums_left_to_a_device_are_made_whole(
    make: Callable[..., TCP | UDP], network: IP | IPv6
) -> None:
    good = bytes(Ether() / network / make(sport=1, dport=2) / b"payload")
    at = 14 + len(network) + (16 if make is TCP else 6)
    length = len(good) - 14 - len(network)
    pseudo = IP(good[14:]) if network.version == 4 else IPv6(good[14:])
    addresses = good[26:34] if network.version == 4 else good[22:54]
    proto = pseudo.proto if network.version == 4 else pseudo.nh
    total = sum(
        int.from_bytes((addresses + length.to_bytes(4, "big") + bytes((0, 0, 0, proto)))[i : i + 2],
                       "big")
        for i in range(0, len(addresses) + 8, 2)
    )  # fmt: skip
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    partial = good[:at] + total.to_bytes(2, "big") + good[at + 2 :]
    assert partial != good
    assert whole(partial) == good
    assert whole(good) == good
