# SPDX-License-Identifier: Apache-2.0
"""BIRD with one BFD session, in the namespace of a guest.

Its control socket and configuration are in a directory of its own, and it ends with
the block, by its pid.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from ovn_bpf_controller.sandbox import netns
from ovn_bpf_controller.sandbox.process import wait_until

_CONFIG = """
log "{log}" {{ trace }};
router id 192.0.2.1;
protocol device {{ }}
protocol bfd {{
  accept direct;
  debug {{ states, events }};
  interface "{device}" {{ min rx interval 100 ms; min tx interval 100 ms;
    multiplier {mult}; }};
  neighbor {peer} dev "{device}";
}}
"""
_STARTS = 60.0


class Bird:
    """A daemon that watches `peer` over `device`; see one_hop.bpf.c."""

    def __init__(self, namespace: str, device: str, peer: str, mult: int = 3) -> None:
        """mult: packets, ten a second, that the peer may miss."""
        self._namespace = namespace
        self._device = device
        self._directory = Path(tempfile.mkdtemp(prefix="bird-"))
        self._config = self._directory / "bird.conf"
        self._config.write_text(_CONFIG.format(device=device, peer=peer, log=self._log, mult=mult))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Bird:
        program = self._directory / "one_hop.o"
        source = Path(__file__).with_name("one_hop.bpf.c")
        include = f"-I/usr/include/{_triplet()}"
        netns.run(
            [
                "clang-16",
                "-O2",
                "-g",
                "-target",
                "bpf",
                include,
                "-c",
                str(source),
                "-o",
                str(program),
            ]
        )
        self._tc("qdisc", "replace", "dev", self._device, "clsact")
        self._tc(
            "filter", "replace", "dev", self._device, "ingress", "prio", "1", "handle", "1",
            "bpf", "da", "obj", str(program), "sec", "tc",
        )  # fmt: skip
        command = ["bird", "-f", "-c", str(self._config), "-s", str(self._socket)]
        self._process = subprocess.Popen(
            netns.argv(self._namespace, command),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._socket.exists, _STARTS, "BIRD's control socket")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._tc("qdisc", "del", "dev", self._device, "clsact")
        shutil.rmtree(self._directory)

    @property
    def _log(self) -> Path:
        return self._directory / "bird.log"

    @property
    def _socket(self) -> Path:
        return self._directory / "bird.ctl"

    def _tc(self, *words: str) -> None:
        netns.run(netns.argv(self._namespace, ["tc", *words]))

    def kill(self) -> None:
        """SIGKILL: the peer hears nothing of it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def state(self) -> str:
        """Of the session, in BIRD's word: "Up"."""
        out = netns.run(["birdc", "-s", str(self._socket), "show", "bfd", "sessions"])
        found = re.search(rf"\s{self._device}\s+(\w+)\s", out)
        return found[1] if found else out

    def changes(self) -> list[str]:
        """The session's changes of state until now, as BIRD has logged them.

        Not the time of the last one: BIRD makes it anew at each question, and it moves
        with the wall clock.
        """
        return [line for line in self._log.read_text().splitlines() if "changed state" in line]


def _triplet() -> str:
    return netns.run(["gcc", "-dumpmachine"]).strip()
