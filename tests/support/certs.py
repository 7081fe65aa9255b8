# SPDX-License-Identifier: Apache-2.0
"""A private CA and certificates for tests, made by openssl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support.ovsdb import run_tool


@dataclass(frozen=True)
class Pem:
    """Paths of a private key and its certificate."""

    key: Path
    cert: Path


class Authority:
    """A CA; issue() signs certificates whose common name matters to OVSDB's RBAC."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.pem = Pem(directory / f"{name}.key", directory / f"{name}.pem")
        run_tool(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", self.pem.key, "-out", self.pem.cert,
        )  # fmt: skip

    def issue(self, name: str, days: int = 2) -> Pem:
        """A key and a certificate for this common name; days < 0: that has expired."""
        pem = Pem(self._directory / f"{name}.key", self._directory / f"{name}.pem")
        request = self._directory / f"{name}.csr"
        run_tool(
            "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={name}", "-keyout", pem.key, "-out", request,
        )  # fmt: skip
        run_tool(
            "openssl", "x509", "-req", "-days", str(days), "-in", request, "-CA", self.pem.cert,
            "-CAkey", self.pem.key, "-CAcreateserial", "-out", pem.cert,
        )  # fmt: skip
        return pem

    def server_options(self, name: str = "server") -> list[str]:
        """ovsdb-server's arguments for TLS; it also sends the CA to who bootstraps."""
        pem = self.issue(name)
        return [
            f"--private-key={pem.key}",
            f"--certificate={pem.cert}",
            f"--ca-cert={self.pem.cert}",
            f"--peer-ca-cert={self.pem.cert}",
        ]
