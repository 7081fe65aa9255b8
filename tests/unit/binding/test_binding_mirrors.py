# SPDX-License-Identifier: Apache-2.0
"""Mirrors that this version does not serve are told of; tests/netns has the others."""

from __future__ import annotations

from pathlib import Path

from tests.support.node import Node, until_up
from tests.support.ovsdb import OvnCentral


def test_a_mirror_out_of_the_logical_network_is_named(tmp_path: Path) -> None:
    with OvnCentral(tmp_path / "central") as central:
        central.nbctl("ls-add", "sw0")
        central.nbctl("lsp-add", "sw0", "lp1")
        central.nbctl("mirror-add", "m1", "gre", "7", "to-lport", "192.0.2.77")
        central.nbctl("lsp-attach-mirror", "lp1", "m1")
        central.sync()
        with Node(tmp_path, "hv1", central.sb.remote, ip="192.0.2.1") as hv1:
            hv1.plug("tap1", "lp1")
            until_up(hv1, central, "lp1")
            said = hv1.call(lambda: hv1.binding._topology._omitted)
            assert ("mirror m1", "no copies by gre in this version") in said
