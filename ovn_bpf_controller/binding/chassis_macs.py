# SPDX-License-Identifier: Apache-2.0
"""What other chassis say of their MAC addresses on provider networks.

Chassis.other_config:ovn-chassis-mac-mappings is `NETWORK:MAC,…`, which every chassis
reads of every other one.  Routers on VLANs are not supported yet, so nothing is made
of it but the complaint that operators and OVN's tests look for.  Called by topology;
format and complaint: physical.c of OVN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ovn_bpf_controller.ovsdb.tables import Chassis

KEY = "ovn-chassis-mac-mappings"


def complaints(rows: Iterable[tuple[Chassis | None, Chassis | None]], name: str) -> Iterator[str]:
    """A line for each entry without a MAC of a mapping that is new.

    rows: each (before, after) a change.  name: this chassis, whose own is not read.
    """
    for old, new in rows:
        if new is None or new.name == name:
            continue
        text = _mapping(new)
        if old is None or text != _mapping(old):
            for entry in filter(None, text.split(",")):
                network, _, mac = entry.partition(":")
                if not network or not mac:
                    yield (
                        f'Parsing of {KEY} failed for: "{entry}", '
                        'the correct format is "br-name1:MAC1".'
                    )


def _mapping(row: Chassis) -> str:
    """KEY-<its name> beats KEY, as in the local database."""
    config = row.other_config
    return config.get(f"{KEY}-{row.name}", config.get(KEY, ""))
