# SPDX-License-Identifier: Apache-2.0
"""Verbs that the slow path carries out, and those that tell of packets: log, meter, sample.

`verbs` and `results` build them; `compile.punts` writes what the slow path is asked,
`compile.telling` what is logged and metered.
"""

from __future__ import annotations

from ovn_bpf_controller.lang.nodes.action import Action, Result
from ovn_bpf_controller.lang.nodes.match import Const, Field
from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One `name = value` of an option list; a set gives several values."""

    name: str
    values: tuple[Const, ...]


@dataclass(frozen=True, slots=True)
class PutOpts(Action):
    """Base of the option verbs; dst is one bit, the verb's result."""

    dst: Field
    options: tuple[Option, ...]


class PutDhcpOpts(PutOpts):
    """R = put_dhcp_opts(…); the first option is named "offerip"."""

    __slots__ = ()


class PutDhcpv6Opts(PutOpts):
    """R = put_dhcpv6_opts(…)"""

    __slots__ = ()


class PutNdRaOpts(PutOpts):
    """R = put_nd_ra_opts(…)"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class DhcpRelay(Action):
    """Base of the relay checks; addresses are IPv4 integers."""

    dst: Field
    relay_ip: int
    server_ip: int


class DhcpRelayReqChk(DhcpRelay):
    """R = dhcp_relay_req_chk(relay, server)"""

    __slots__ = ()


class DhcpRelayRespChk(DhcpRelay):
    """R = dhcp_relay_resp_chk(relay, server)"""

    __slots__ = ()


class DnsLookup(Result):
    """R = dns_lookup()"""

    __slots__ = ()


class Igmp(Action):
    """igmp"""

    __slots__ = ()


class HandleDhcpv6Reply(Action):
    """handle_dhcpv6_reply"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class HandleSvcCheck(Action):
    """handle_svc_check(P)"""

    port: Field


class HandleBfdMsg(Action):
    """handle_bfd_msg()"""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class TriggerEvent(Action):
    """trigger_event(event = "…", …)"""

    event: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Log(Action):
    """log(…).  verdict: allow, drop, reject or pass.

    severity: alert, warning, notice, info or debug.
    """

    verdict: str
    name: str | None = None
    severity: str = "info"
    meter: str | None = None


@dataclass(frozen=True, slots=True)
class SetMeter(Action):
    """set_meter(rate[, burst]), in kbit/s; burst 0 when none was written."""

    rate: int
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Sample(Action):
    """sample(probability, collector_set, obs_domain, obs_point).

    obs_point: a number, a 32-bit field, or "$cookie".
    """

    probability: int
    collector_set: int
    obs_domain: int
    obs_point: int | Field | str
