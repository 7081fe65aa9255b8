# SPDX-License-Identifier: Apache-2.0
"""DNS rows: the names of each datapath, for the slow path's answers (slowpath.dns).

All records of the rows go over, as dns_lookup() of a flow says only where to ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovn_bpf_controller.duties.duty import Duty, View
from ovn_bpf_controller.ovsdb.tables import DNS, DatapathBinding


class Names(Duty):
    """DNS records by datapath key: lower-case name -> (record, whether OVN owns it)."""

    name = "dns"
    tables = (DNS, DatapathBinding)

    def told(self, view: View) -> Mapping[str, Any]:
        """See Duty."""
        found: dict[str, dict[str, list[Any]]] = {}
        datapaths = view.southbound.table(DatapathBinding)
        for row in view.southbound.table(DNS).values():
            owned = row.options.get("ovn-owned", "") == "true"
            for uuid in row.datapaths:
                if uuid in datapaths:
                    names = found.setdefault(str(datapaths[uuid].tunnel_key), {})
                    names |= {name.lower(): [value, owned] for name, value in row.records.items()}
        return {"dns": found}
