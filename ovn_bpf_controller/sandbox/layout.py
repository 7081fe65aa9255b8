# SPDX-License-Identifier: Apache-2.0
"""Where everything of one sandbox lives, derived from its directory alone.

Every other sandbox module asks here for paths and namespace names.  Nothing is
remembered elsewhere, so a later `down` finds all of it, and two sandboxes in two
directories cannot meet.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ovn_bpf_controller.errors import SandboxError

DEFAULT_DIRECTORY = "/run/ovn-bpf-sandbox"

# sockaddr_un takes 107 bytes; the longest socket below the directory is
# <chassis, 15>/ovn-controller.<pid, 7>.ctl, which leaves this much.
MAX_DIRECTORY = 60

_IFNAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
_TAKEN = ("br", "eth", "lo", "ovs", "gen", "vx", "ovn")


@dataclass(frozen=True)
class Layout:
    """Paths and names of the sandbox in `root` (absolute, short enough for sockets)."""

    root: Path

    @property
    def tag(self) -> str:
        """Six hex digits that tell this sandbox's namespaces from another's."""
        return hashlib.sha1(str(self.root).encode()).hexdigest()[:6]

    @property
    def manifest(self) -> Path:
        return self.root / "manifest"

    @property
    def topology(self) -> Path:
        return self.root / "topology.yaml"

    @property
    def ports(self) -> Path:
        return self.root / "ports"

    @property
    def nb(self) -> str:
        return f"unix:{self.root}/nb.sock"

    @property
    def sb(self) -> str:
        return f"unix:{self.root}/sb.sock"

    @property
    def netns_prefix(self) -> str:
        """What the names of this sandbox's namespaces begin with, and no other's."""
        return f"obs-{self.tag}-"

    @property
    def underlay_netns(self) -> str:
        return f"{self.netns_prefix}underlay"

    def chassis(self, name: str) -> Path:
        return self.root / name

    def chassis_netns(self, name: str) -> str:
        return f"{self.netns_prefix}chassis-{name}"

    def port_netns(self, lsp: str) -> str:
        return f"{self.netns_prefix}port-{token(lsp)}"


def layout_of(directory: str | os.PathLike[str] | None) -> Layout:
    """The layout for `directory`, else $OVN_BPF_SANDBOX_DIR, else the default.

    Raises SandboxError when sockets below it would have too long a name.
    """
    text = os.fspath(directory or os.environ.get("OVN_BPF_SANDBOX_DIR") or DEFAULT_DIRECTORY)
    root = Path(text).resolve()
    if len(str(root)) > MAX_DIRECTORY:
        raise SandboxError(f"{root}: longer than {MAX_DIRECTORY} characters, sockets need less")
    return Layout(root)


def token(lsp: str) -> str:
    """`lsp` where it can be part of a file name, else a digest of it."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", lsp):
        return lsp
    return hashlib.sha1(lsp.encode()).hexdigest()[:12]


def vif_name(lsp: str) -> str:
    """The chassis end's device name: `lsp` itself where the kernel takes it."""
    if _IFNAME.fullmatch(lsp) and not lsp.startswith(_TAKEN):
        return lsp
    return "vif" + hashlib.sha1(lsp.encode()).hexdigest()[:10]
