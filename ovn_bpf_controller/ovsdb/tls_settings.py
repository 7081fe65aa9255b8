# SPDX-License-Identifier: Apache-2.0
"""How to speak TLS: versions, ciphers, the name to ask for, certificates to send along.

The command line's --ssl-protocols and so on, which the SSL table has no columns for.
tls.py obeys them.  What cannot be obeyed is said once, when it is read, and the
default taken, as Open vSwitch does (stream-ssl.c).
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Final

import ovs.vlog

from ovn_bpf_controller.plaindata import dataclass

vlog = ovs.vlog.Vlog("stream_ssl")

_DEPRECATED: Final = ("tlsv1", "tlsv1.1")
_VERSIONS: Final = {"tlsv1.2": "TLSv1_2", "tlsv1.3": "TLSv1_3"}  # members of ssl.TLSVersion
_ORDER: Final = (*_DEPRECATED, *_VERSIONS)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """Texts of the options, "" for those not given.

    protocols: a list (`TLSv1.2,TLSv1.3`), a range (`TLSv1.2-TLSv1.3`) or `TLSv1.2+`.
    ciphers: OpenSSL's list for TLS 1.2; suites: for TLS 1.3.  server_name: what to ask
    for instead of the remote's host name.  peer_ca_cert: file to send with ours.
    """

    protocols: str = ""
    ciphers: str = ""
    suites: str = ""
    server_name: str = ""
    peer_ca_cert: str = ""


def versions(text: str) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    """(lowest, highest) to speak; ValueError says what is wrong.

    TLS 1.0 and 1.1 are left out whoever asks for them (RFC 8996).
    """
    words, open_end = _words(text.strip())
    unknown = [word for word in words if word.lower() not in _ORDER]
    if unknown or not words:
        raise ValueError(f"{', '.join(unknown) or text!r}: SSL/TLS protocol not recognized")
    places = [_ORDER.index(word.lower()) for word in words]
    last = len(_ORDER) - 1 if open_end else max(places)
    asked = [_VERSIONS[word] for word in _ORDER[min(places) : last + 1] if word in _VERSIONS]
    allowed = [ssl.TLSVersion[name] for name in asked]
    if not allowed:
        raise ValueError(f"{text}: deprecated by RFC 8996, not supported")
    return allowed[0], ssl.TLSVersion.MAXIMUM_SUPPORTED if open_end else allowed[-1]


def _words(text: str) -> tuple[list[str], bool]:
    if text.endswith("+"):
        return [text[:-1]], True
    return text.replace("-", " ").replace(",", " ").split(), False


def checked(settings: TlsSettings) -> TlsSettings:
    """The settings without those that cannot be obeyed, each of which is logged."""
    good = {"peer_ca_cert": settings.peer_ca_cert}
    for name in ("protocols", "ciphers", "suites", "server_name"):
        value = getattr(settings, name)
        if not value:
            continue  # and a host without TLS need not load ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            apply(context, TlsSettings(**{name: value}))
        except (ValueError, ssl.SSLError) as error:
            vlog.err(f"TLS {name}: {error}")
        else:
            good[name] = value
    return TlsSettings(**good)


def apply(context: ssl.SSLContext, settings: TlsSettings) -> None:
    """Have a context obey; ValueError or ssl.SSLError if it cannot.

    Of the server's name, which is a connection's, it is only seen whether it can be one.
    """
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.protocols:
        context.minimum_version, context.maximum_version = versions(settings.protocols)
    if settings.ciphers:
        context.set_ciphers(settings.ciphers)
    if settings.server_name:
        context.check_hostname = False
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=settings.server_name)
    if settings.suites:
        if not hasattr(context, "set_ciphersuites"):
            raise ValueError("this Python cannot choose cipher suites of TLS 1.3")
        context.set_ciphersuites(settings.suites)


def load_identity(context: ssl.SSLContext, certificate: str, private_key: str, more: str) -> None:
    """Our certificate and key; `more`: a file of certificates to send after it, or "".

    OSError, ssl.SSLError: they cannot be read or do not fit.
    """
    if not more:
        context.load_cert_chain(certificate, private_key)
        return
    chain = Path(certificate).read_text() + Path(more).read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(chain)
        file.flush()
        context.load_cert_chain(file.name, private_key)
