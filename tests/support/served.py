# SPDX-License-Identifier: Apache-2.0
"""A port that asks what the program answers by itself, and what becomes of each frame.

Requests come in by port 1.  What is answered leaves by port 2, what goes on as it was
by port 3; `of_process()` says what the slow-path process makes of the same frame.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.punts import Punt
from ovn_bpf_controller.datapath.served import Answers
from ovn_bpf_controller.model import Port, PortKind
from ovn_bpf_controller.slowpath import templates
from ovn_bpf_controller.slowpath.duty import Handler, RejectedError
from ovn_bpf_controller.slowpath.knowledge import Knowledge
from tests.support.asked import KNOWN
from tests.support.dataplane import Bed
from tests.support.taps import Tap

DEADLINE = 30.0
ANSWERED, WENT_ON, LEFT, MALFORMED = "answered", "went on", "left", "malformed"
WORDS = tuple(1 if word == lib.OW_DP else 0 for word in range(lib.OVN_WORDS))


class Veth:
    """A veth device, used as a Tap is; where there are no taps, too."""

    def __init__(self, name: str, made: Bed) -> None:
        self.ifindex, _ = made.kernel.veth(name, f"{name}-peer")
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.bind((f"{name}-peer", 0))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def received(self, count: int) -> list[bytes]:
        self._socket.settimeout(DEADLINE)
        return [self._socket.recv(1 << 16) for _ in range(count)]


class Network:
    """Port 1 asks; 2 gets what was answered, 3 what went on as it was."""

    def __init__(self, made: Bed, taps: Mapping[int, Tap | Veth]) -> None:
        self.bed = made
        self.taps = taps
        self.flows = 0
        for port, tap in taps.items():
            made.attach(f"tap{port}", tap.ifindex, "ovn_vif")
            made.world.ports[1, f"vm{port}"] = port
        rows = [Port(1, port, PortKind.VIF, ifindex=tap.ifindex) for port, tap in taps.items()]
        made.apply(ports_added=list(rows))
        made.flow(0, 1, 2, "reg0[3]", 'outport = "vm2"; output;')
        made.flow(0, 1, 1, "1", 'outport = "vm3"; output;')
        made.flow(1, 0, 0, "1", "output;")
        made.plane.programs.make_callable("ovn_serve")
        self.answers = Answers(made.plane.maps)

    def ask(self, match: str, verb: str) -> None:
        """A flow with the verb."""
        self.flows += 1
        self.bed.flow(0, 0, self.flows, match, f"reg0[3] = {verb}; next;")

    def arguments(self) -> dict[int, dict[str, Any]]:
        """Of all flows, once they are live; what the program has is then made of them."""
        self.bed.flows_live()
        said = {n: json.loads(text) for n, text in self.bed.compiler.arguments().items()}
        made = {}
        for number, argument in said.items():
            made.update(templates.templates(number, argument, KNOWN))
        gone = self.answers.templates() - made.keys()
        assert not self.answers.change_templates(gone, made)
        return said

    def outcome(
        self, frame: bytes, send: Callable[[bytes], None] | None = None
    ) -> tuple[str, bytes]:
        """What became of a frame."""
        before = self.bed.drops()
        (send or self.taps[1].send)(frame)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            ready, _, _ = select.select([self.taps[2], self.taps[3]], [], [], 0.02)
            if ready:
                [data] = ready[0].received(1)
                return (ANSWERED if ready[0] is self.taps[2] else WENT_ON), data
            drops = self.bed.drops()
            if drops != before:
                return self._why(before, drops), b""
        raise AssertionError(f"nothing became of {frame.hex()}")

    def _why(self, before: dict[str, int], drops: dict[str, int]) -> str:
        [why] = [name for name, count in drops.items() if count != before.get(name, 0)]
        if "nobody serves" in why:
            return LEFT
        assert why == "malformed frame", why
        return MALFORMED


def of_process(
    handler: Handler, frame: bytes, argument: object, known: Knowledge
) -> tuple[str, bytes]:
    """What the process makes of it."""
    found = []
    try:
        for punt in handler(Punt(frame, WORDS), argument, known):  # type: ignore[arg-type]
            found.append(punt)
    except RejectedError:
        pass
    [punt] = found
    return (ANSWERED if punt.answer else WENT_ON), punt.frame
