# SPDX-License-Identifier: Apache-2.0
"""Look-ups and learning -> instructions: neighbours, FDB, virtual ports, port security.

compile.actions takes HANDLERS into its own table.  What a side table or the learnt
entries are asked for is put where they look for it: the words OW_ARG_*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.compile.layout import ROOTS, WORD_BITS, Place
from ovn_bpf_controller.compile.lists import InsnList, bit, home, scratch
from ovn_bpf_controller.lang import nodes


def _check_in_port_sec(made: InsnList, action: nodes.CheckInPortSec) -> None:
    _call(made, action.dst, lib.OVN_TABLE_IN_PORT_SEC)


def _check_out_port_sec(made: InsnList, action: nodes.CheckOutPortSec) -> None:
    _call(made, action.dst, lib.OVN_TABLE_OUT_PORT_SEC)


def _call(made: InsnList, result: nodes.Field, table: int) -> None:
    word, shift = bit(result)
    made.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_DROP)


def _get_fdb(made: InsnList, action: nodes.GetFdb) -> None:
    """OVN's look-up leaves its answer in outport, whatever field it is for."""
    made.emit(lib.OP_GET_FDB, src=_mac(made, action.mac))
    dst, outport = home(action.dst), ROOTS["outport"]
    if dst != outport:
        made.copy(dst, outport)


def _get_remote_fdb(made: InsnList, action: nodes.GetRemoteFdb) -> None:
    """What was learnt from VTEPs by EVPN: nothing, here."""
    made.load(home(action.dst), 0, 0xFFFFFFFF)


def _chk_evpn_arp(made: InsnList, action: nodes.ChkEvpnArp) -> None:
    word, shift = bit(action.dst)
    made.emit(lib.OP_SET, dst=word, a=1 << shift)


def _lookup_fdb(made: InsnList, action: nodes.LookupFdb) -> None:
    port = home(action.port).word
    word, shift = bit(action.dst)
    made.emit(lib.OP_LOOKUP_FDB, dst=word, a=shift, src=_mac(made, action.mac), b=port)


def _bind_vport(made: InsnList, action: nodes.BindVport) -> None:
    """Nothing, as in OVN, while the virtual port is not known here."""
    key = made.port_key(action.vport)
    if key:
        made.emit(lib.OP_BIND_VPORT, src=home(action.parent).word, a=key)


def _put_fdb(made: InsnList, action: nodes.PutFdb) -> None:
    port = home(action.port).word
    made.emit(lib.OP_PUT_FDB, src=_mac(made, action.mac), b=port)


def _get_mac_bind(made: InsnList, action: nodes.GetMacBind) -> None:
    """eth.dst of a neighbour, 0 when it is unknown."""
    _neighbour(made, action.port, action.ip)
    made.emit(lib.OP_CALL, aux=lib.OVN_TABLE_MAC_BINDING)
    made.copy(ROOTS["eth.dst"], ROOTS["arg.mac"])


def _lookup_mac_bind(made: InsnList, action: nodes.LookupMacBind) -> None:
    _neighbour(made, action.port, action.ip, action.mac)
    word, shift = bit(action.dst)
    table = lib.OVN_TABLE_MAC_LOOKUP
    made.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)


def _lookup_mac_bind_ip(made: InsnList, action: nodes.LookupMacBindIp) -> None:
    _neighbour(made, action.port, action.ip)
    word, shift = bit(action.dst)
    table = lib.OVN_TABLE_MAC_BINDING
    made.emit(lib.OP_CALL, dst=word, a=shift, aux=table, b=lib.OVN_RES_FOUND)


def _put_mac_bind(made: InsnList, action: nodes.PutMacBind) -> None:
    _neighbour(made, action.port, action.ip, action.mac)
    made.emit(lib.OP_MAC_PUT)


def _mac_cache_use(made: InsnList, _: nodes.MacCacheUse) -> None:
    made.emit(lib.OP_MAC_USE)


def _neighbour(
    made: InsnList, port: nodes.Field, ip: nodes.Field, mac: nodes.Field | None = None
) -> None:
    """Arguments to where the side tables and the learnt neighbours look for them."""
    made.copy(ROOTS["arg.port"], home(port))
    at = home(ip)
    if at.width == WORD_BITS:  # as ::ffff:a.b.c.d
        for word, value in enumerate((0, 0, 0xFFFF), lib.OW_ARG_IP):
            made.emit(lib.OP_SET, dst=word, a=0xFFFFFFFF, b=value)
        made.copy(Place(lib.OW_ARG_IP + 3, 0, WORD_BITS), at)
    else:
        made.copy(ROOTS["arg.ip"], at)
    if mac is not None:
        made.copy(ROOTS["arg.mac"], home(mac))


def _mac(made: InsnList, field: nodes.Field) -> int:
    """First of the two words that hold a MAC and nothing else."""
    at = home(field)
    if ROOTS[field.root].width == at.width:
        return at.word - 1
    mac = scratch(at.width)
    made.emit(lib.OP_SET, dst=mac.word - 1, a=0xFFFFFFFF)
    made.copy(mac, at)
    return mac.word - 1


HANDLERS: Final[dict[type[nodes.Action], Callable[[InsnList, Any], None]]] = {
    nodes.CheckInPortSec: _check_in_port_sec,
    nodes.CheckOutPortSec: _check_out_port_sec,
    nodes.GetFdb: _get_fdb,
    nodes.GetRemoteFdb: _get_remote_fdb,
    nodes.ChkEvpnArp: _chk_evpn_arp,
    nodes.LookupFdb: _lookup_fdb,
    nodes.PutFdb: _put_fdb,
    nodes.BindVport: _bind_vport,
    nodes.GetArp: _get_mac_bind,
    nodes.GetNd: _get_mac_bind,
    nodes.LookupArp: _lookup_mac_bind,
    nodes.LookupNd: _lookup_mac_bind,
    nodes.LookupArpIp: _lookup_mac_bind_ip,
    nodes.LookupNdIp: _lookup_mac_bind_ip,
    nodes.PutArp: _put_mac_bind,
    nodes.PutNd: _put_mac_bind,
    nodes.MacCacheUse: _mac_cache_use,
}
