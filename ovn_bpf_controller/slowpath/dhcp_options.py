# SPDX-License-Identifier: Apache-2.0
"""DHCPv4 options on the wire, by the types of the Southbound's DHCP_Options table.

ovn-sb(5) names the types; RFC 2132 has the form, RFC 3442 that of routes, RFC 3397
and RFC 1035, section 4.1.4, that of search lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ovn_bpf_controller.slowpath.duty import RejectedError

#: [format, value, mask] of compile.punts: a constant of the action language.
Constant = Sequence[Any]

_MOST: Final = 255  # bytes of one option


def encode(code: int, kind: str, values: Sequence[Constant]) -> bytes:
    """An option with its code and length.  Raises RejectedError for what has no form."""
    form = _FORMS.get(kind)
    if form is None:
        raise RejectedError("option of an unknown type")
    try:
        body = form(values)
    except (IndexError, OverflowError, TypeError, UnicodeEncodeError, ValueError) as error:
        raise RejectedError("option whose value does not fit its type") from error
    if len(body) > _MOST:
        raise RejectedError("option longer than 255 bytes")
    return bytes((code, len(body))) + body


def _number(size: int) -> Callable[[Sequence[Constant]], bytes]:
    return lambda values: int(values[0][1]).to_bytes(size, "big")


def _addresses(values: Sequence[Constant]) -> bytes:
    return b"".join(int(value[1]).to_bytes(4, "big") for value in values)


def _text(values: Sequence[Constant]) -> bytes:
    return str(values[0][1]).encode()


def _host(values: Sequence[Constant]) -> bytes:
    return _text(values) if values[0][0] == "STRING" else _addresses(values[:1])


def _routes(values: Sequence[Constant]) -> bytes:
    """Pairs of network and router."""
    found = b""
    for network, router in zip(values[::2], values[1::2], strict=False):
        mask = 0xFFFFFFFF if network[2] is None else int(network[2])
        length = mask.bit_count()
        prefix = int(network[1]).to_bytes(4, "big")[: (length + 7) // 8]
        found += bytes((length,)) + prefix + int(router[1]).to_bytes(4, "big")
    return found


def _domains(values: Sequence[Constant]) -> bytes:
    """Names by commas; a suffix that was there before is pointed to."""
    found = b""
    known: dict[str, int] = {}
    for domain in str(values[0][1]).split(","):
        labels = [label for label in domain.strip().split(".") if label]
        while labels:
            suffix = ".".join(labels)
            if suffix in known:
                found += (0xC000 | known[suffix]).to_bytes(2, "big")
                break
            known[suffix] = len(found)
            label = labels.pop(0).encode()
            if len(label) > 63:
                raise ValueError("label of more than 63 bytes")
            found += bytes((len(label),)) + label
        else:
            found += b"\0"
    return found


_FORMS: Final[Mapping[str, Callable[[Sequence[Constant]], bytes]]] = {
    "bool": _number(1),
    "uint8": _number(1),
    "uint16": _number(2),
    "uint32": _number(4),
    "ipv4": _addresses,
    "static_routes": _routes,
    "str": _text,
    "host_id": _host,
    "domains": _domains,
}
