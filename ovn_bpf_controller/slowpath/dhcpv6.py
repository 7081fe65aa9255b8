# SPDX-License-Identifier: Apache-2.0
"""put_dhcpv6_opts: a DHCPv6 request becomes the reply that the flow's options make.

The flow turns addresses and ports round by itself and sends it; here only the
message is made (RFC 8415).  Behaviour: ovn-controller's pinctrl.c, newer releases:
an address for ever, so nobody renews, and what it does not answer goes on
unchanged, with answer 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.plaindata import dataclass, replace
from ovn_bpf_controller.slowpath import dhcpv6_options as opts
from ovn_bpf_controller.slowpath.duty import RejectedError
from ovn_bpf_controller.slowpath.frames import datagram
from ovn_bpf_controller.slowpath.knowledge import Knowledge

_SOLICIT, _ADVERTISE, _REQUEST, _CONFIRM, _REPLY = 1, 2, 3, 4, 7
_RELEASE, _DECLINE, _INFORMATION = 8, 9, 11
_REPLIES: Final = {
    _SOLICIT: _ADVERTISE,
    _REQUEST: _REPLY,
    _CONFIRM: _REPLY,
    _DECLINE: _REPLY,
    _INFORMATION: _REPLY,
    _RELEASE: _REPLY,
}
_HEADER: Final = 4  # type and transaction
_IAID: Final = 12  # bytes of an identity association in front of its options
# Flags of option 39 (RFC 4704, section 4.1).
_S, _O, _N = 1, 2, 4


@dataclass(slots=True)
class _Asked:
    """What a request says.  fqdn: flags of its name option."""

    client: bytes | None = None
    iaid: bytes | None = None
    ipxe: bool = False
    fqdn: int | None = None


def handle(punt: Punt, argument: Mapping[str, Any], known: Knowledge) -> Iterator[Punt]:
    """See duty.Handler: always one packet, with the answer."""
    try:
        frame = _answer(punt.frame, argument["options"], known)
    except RejectedError:
        yield replace(punt, answer=0)
        raise
    yield replace(punt, frame=frame, answer=1)


def _answer(frame: bytes, options: Sequence[Sequence[Any]], known: Knowledge) -> bytes:
    udp = datagram(frame)
    request = udp.payload
    if udp.version != 6 or len(request) < _HEADER:
        raise RejectedError("truncated DHCPv6 message")
    reply = _REPLIES.get(request[0])
    if reply is None:
        raise RejectedError("DHCPv6 message that is not to be answered")
    asked = _read(request[_HEADER:])
    if asked.client is None:
        raise RejectedError("DHCPv6 message without a client identifier")
    if asked.iaid is None and request[0] != _INFORMATION:
        raise RejectedError("DHCPv6 message that asks for no address")
    said = [opts.option(opts.CLIENT_ID, asked.client)]
    for name, values in options:
        code, kind = known.dhcpv6_options.get(name, (0, ""))
        if not kind:
            raise RejectedError("option that DHCPv6_Options does not have")
        if request[0] != _RELEASE or code == opts.SERVER_ID:
            said.append(_said(code, opts.value(kind, values), asked))
    if request[0] == _RELEASE:
        said.append(opts.option(opts.STATUS, bytes(2)))
    return udp.answer(bytes((reply,)) + request[1:_HEADER] + b"".join(said))


def _read(data: bytes) -> _Asked:
    """The last option of a kind counts, as in ovn-controller."""
    asked = _Asked()
    for code, value in opts.parse(data):
        if code == opts.CLIENT_ID:
            if len(value) > opts.MAX_DUID:
                raise RejectedError("DHCPv6 client identifier longer than there are")
            asked.client = value
        elif code == opts.IA_NA and len(value) >= _IAID:
            asked.iaid = value[:4]
        elif code == opts.USER_CLASS and value[2:6] == b"iPXE":
            asked.ipxe = True
        elif code == opts.FQDN and value:
            asked.fqdn = value[0]
    return asked


def _said(code: int, value: bytes, asked: _Asked) -> bytes:
    """An option of the flow as this client is told it; empty: not at all."""
    if code == opts.SERVER_ID:
        return opts.option(code, opts.link_layer_duid(value))
    if code == opts.IA_ADDRESS:
        return _address(value, asked)
    if code == opts.DOMAIN_LIST:
        return opts.option(code, _domains(value))
    if code in (opts.BOOT_URL, opts.BOOT_URL_ALT):
        wanted = asked.ipxe == (code == opts.BOOT_URL)
        return opts.option(opts.BOOT_URL, value) if wanted else b""
    if code == opts.FQDN:
        if asked.fqdn is None:
            return b""
        # The server registers nothing; who asked it to is told so.
        flags = _N | (_O if asked.fqdn & _S else 0)
        return opts.option(code, bytes((flags,)) + value)
    if code == opts.DNS_SERVERS:
        return opts.option(code, value)
    raise RejectedError("option that ovn-controller does not have")


def _address(value: bytes, asked: _Asked) -> bytes:
    """Who asks for information alone has no identity to give an address to."""
    if asked.iaid is None:
        return b""
    if len(value) != 16:
        raise RejectedError("more than one address for a client")
    times = struct.pack("!II", opts.FOREVER, opts.FOREVER)
    return opts.option(opts.IA_NA, asked.iaid + times + opts.option(opts.IA_ADDRESS, value + times))


def _domains(value: bytes) -> bytes:
    """In labels.  ovn-controller makes one label of the whole text, which is the same
    for a name without a dot, and none that resolvers take otherwise."""
    try:
        return opts.names(value.decode())
    except ValueError as error:
        raise RejectedError("option whose value does not fit its type") from error
