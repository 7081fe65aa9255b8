# SPDX-License-Identifier: Apache-2.0
"""Plain data that passes between compile, binding and datapath.

`compile` makes Rules, `binding` makes the rest, `datapath` writes them to maps.
None of the three imports another: this is all they share, besides the numbers
of include/ovn_bpf (through ovn_bpf_controller._native).
"""

from __future__ import annotations

from enum import IntEnum

from ovn_bpf_controller.plaindata import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of one stage; (dp, table, mask, values) is unique.

    dp: tunnel key of the datapath.  table: 0..127, egress tables from 64.
    mask: ((word, mask), …) ascending by word, masks never 0; empty for the rule
    that matches all.  Words from OW_SETS on hold the number of a set.  values:
    one per mask entry, no bits outside its mask.  insns: struct ovn_insn records
    up to and including OP_END.  flow: number of the logical flow (see
    compile.flow_ids), 0 for rules the agent made itself.
    """

    dp: int
    table: int
    prio: int
    mask: tuple[tuple[int, int], ...]
    values: tuple[int, ...]
    insns: bytes
    flow: int


#: Key of the McGroup that flood_remote sends to: OVN_FLOOD_REMOTE.
FLOOD_REMOTE = 65536


class PortKind(IntEnum):
    """enum ovn_port_kind."""

    NONE = 0
    VIF = 1
    REMOTE = 2
    PATCH = 3
    ALIAS = 4


@dataclass(frozen=True, slots=True)
class Port:
    """A logical port; (dp, port) is unique.  See struct ovn_port.

    chassis: name of the Tunnel, for REMOTE.  vlan: 0 unless a nested container.
    mirror: copies go out of the device, frames of which are another port's.
    gateway: a PATCH that is here and nowhere else.  ALIAS: stands for peer_port of
    the same datapath.  wakes: nothing passes a VIF until its
    guest sends one of these: rarp, garp, na.
    """

    dp: int
    port: int
    kind: PortKind
    localport: bool = False
    nested: bool = False
    mirror: bool = False
    gateway: bool = False
    ifindex: int = 0
    vlan: int = 0
    ct_zone: int = 0
    chassis: str = ""
    peer_dp: int = 0
    peer_port: int = 0
    wakes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class McGroup:
    """A multicast group; (dp, key) is unique, key >= 32768.

    local: port keys to replicate to here.  remote: Tunnel names, one copy each.
    """

    dp: int
    key: int
    local: tuple[int, ...]
    remote: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetMember:
    """What one prefix of values or one port is a member of; (kind, plen, value) is unique.

    kind: enum ovn_set_kind.  value: as in struct ovn_set_key.  sets: numbers of
    address sets or port groups, ascending, never empty.
    """

    kind: int
    plen: int
    value: tuple[int, int, int, int]
    sets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Another chassis.  Addresses are text, MACs 6 bytes or empty while unknown.

    ifindex: underlay device.  mtu: bytes of outer IP packet the path takes.
    """

    name: str
    local: str
    remote: str
    ifindex: int
    mtu: int
    dst_port: int = 6081
    src_mac: bytes = b""
    dst_mac: bytes = b""
    tos: int = 0
    ttl: int = 64
    df: bool = True
    csum: bool = False


@dataclass(frozen=True, slots=True)
class Datapath:
    """A logical switch or router that is local; dp is unique."""

    dp: int
    dnat_zone: int = 0
    snat_zone: int = 0


@dataclass(frozen=True, slots=True)
class Meter:
    """A token bucket for each band; a packet must pass them all.

    packets: rates are of packets a second, else of kilobits.  bands: (rate, burst),
    burst 0 as much as the rate.
    """

    packets: bool
    bands: tuple[tuple[int, int], ...]
