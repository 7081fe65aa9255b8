# SPDX-License-Identifier: Apache-2.0
"""Verbs with a block: its actions run on another packet, a copy or one that is made.

`actions` builds them; `compile.actions` lowers them to a copy that is turned into the
answer, or to a question to the slow path where only that can make the packet.
"""

from __future__ import annotations

from ovn_bpf_controller.lang.nodes.action import Nested


class Clone(Nested):
    """clone { … }"""

    __slots__ = ()


class Arp(Nested):
    """arp { … }"""

    __slots__ = ()


class Icmp4(Nested):
    """icmp4 { … }"""

    __slots__ = ()


class Icmp4Error(Nested):
    """icmp4_error { … }"""

    __slots__ = ()


class Icmp6(Nested):
    """icmp6 { … }"""

    __slots__ = ()


class Icmp6Error(Nested):
    """icmp6_error { … }"""

    __slots__ = ()


class TcpReset(Nested):
    """tcp_reset { … }"""

    __slots__ = ()


class SctpAbort(Nested):
    """sctp_abort { … }"""

    __slots__ = ()


class Reject(Nested):
    """reject { … }"""

    __slots__ = ()


class NdNa(Nested):
    """nd_na { … }"""

    __slots__ = ()


class NdNaRouter(Nested):
    """nd_na_router { … }"""

    __slots__ = ()


class NdNs(Nested):
    """nd_ns { … }"""

    __slots__ = ()
