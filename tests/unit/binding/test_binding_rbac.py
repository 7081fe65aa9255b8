# SPDX-License-Identifier: Apache-2.0
"""Writes under the RBAC role of a production Southbound, and on one that takes none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ovn_bpf_controller.ovsdb import tls
from tests.support.node import Node, binding_of, until_up
from tests.support.ovsdb import OvnCentral, run_tool, wait_until


def certificate(directory: Path, name: str, ca: Path | None = None) -> tuple[Path, Path]:
    """(key, certificate) for common name `name`, signed by the CA or by itself."""
    key, cert = directory / f"{name}-key.pem", directory / f"{name}-cert.pem"
    signer = ("-CA", ca / "ca-cert.pem", "-CAkey", ca / "ca-key.pem") if ca is not None else ()
    run_tool(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", cert, *signer,
    )  # fmt: skip
    return key, cert


class Central(OvnCentral):
    """A Southbound whose TCP listeners are in a node's network namespace."""

    def __init__(self, directory: Path, node: Node) -> None:
        certificate(directory, "ca")
        key, cert = certificate(directory, "server", directory)
        extra = (
            "--remote=db:OVN_Southbound,SB_Global,connections",
            f"--private-key={key}",
            f"--certificate={cert}",
            f"--ca-cert={directory / 'ca-cert.pem'}",
        )
        super().__init__(directory / "central", sb_extra=extra)
        spawn = self.sb.spawn

        def inside(argv: Sequence[str | Path]) -> None:
            spawn([*node.enter, *argv])

        self.sb.spawn = inside  # type: ignore[method-assign]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path, "hv1") as node:
        yield node


@pytest.fixture
def central(tmp_path: Path, node: Node) -> Iterator[OvnCentral]:
    with Central(tmp_path, node) as central:
        wait_until(lambda: "ovn-controller" in central.sbctl("list", "RBAC_Role"), "the role")
        central.nbctl("ls-add", "sw0", "--", "lsp-add", "sw0", "lp1")
        central.sync()
        yield central


def listen(central: OvnCentral, *connection: str) -> int:
    """Open a listener through the Connection table; returns its port."""
    before = len(central.sb.log.read_text())
    central.sbctl("set-connection", *connection)

    def port() -> int:
        found = re.search(r"listening on port (\d+)", central.sb.log.read_text()[before:])
        return int(found[1]) if found else 0

    found: int = wait_until(port, "the listener")
    return found


@pytest.fixture
def identity(tmp_path: Path, central: OvnCentral) -> Iterator[None]:
    """The chassis's own key, whose common name is what RBAC compares with."""
    key, cert = certificate(tmp_path, "hv1", tmp_path)
    tls.configure(tls.TlsFiles(str(key), str(cert), str(tmp_path / "ca-cert.pem")))
    yield
    tls.configure(tls.TlsFiles())


def test_everything_we_write_is_within_the_role(
    central: OvnCentral, node: Node, identity: None
) -> None:
    port = listen(central, "role=ovn-controller", "pssl:0:127.0.0.1")
    node.set_ids(**{"ovn-remote": f"ssl:127.0.0.1:{port}"})
    node.plug("tap1", "lp1")
    until_up(node, central, "lp1")
    central.nbctl("--wait=hv", "sync")
    node.set_ids(**{"ovn-encap-ip": "192.0.2.7", "ovn-transport-zones": "tz1"})
    node.until(lambda: "192.0.2.7" in central.sbctl("list", "Encap"), "the new encap")
    node.until(lambda: "tz1" in central.sbctl("list", "Chassis"), "the transport zone")
    node.set_ids(**{"hostname": "forbidden", "ovn-cms-options": "allowed"})
    node.until(lambda: "allowed" in central.sbctl("list", "Chassis"), "other_config")

    def refused() -> int:
        return node.call(lambda: node.binding._registration._hostname.refused)

    node.until(refused, "the refusal of the hostname")
    assert "forbidden" not in central.sbctl("list", "Chassis")
    node.unplug("tap1")
    node.until(lambda: binding_of(central, "lp1") == "", "the release")
    central.nbctl("--wait=hv", "sync")


def test_a_read_only_server_delays_writes_without_losing_them(
    central: OvnCentral, node: Node
) -> None:
    port = listen(central, "read-only", "ptcp:0:127.0.0.1")
    node.set_ids(**{"ovn-remote": f"tcp:127.0.0.1:{port}"})

    def failures() -> int:
        return node.call(lambda: node.binding._registration._rows._back_off.failures)

    node.until(failures, "the refusal of the chassis")
    node.plug("tap1", "lp1")
    assert "hv1" not in central.sbctl("list", "Chassis")
    node.set_ids(**{"ovn-remote": central.sb.remote})
    until_up(node, central, "lp1")
    central.nbctl("--wait=hv", "sync")
