# SPDX-License-Identifier: Apache-2.0
"""`ovn-bpf-ctl monitor`: what becomes of packets, live; `capture`: the same with frames.

Both end after so many packets or seconds, or when they are interrupted.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ovn_bpf_controller.cli.watching import Seen
from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.observe.pcapng import Writer

HEAD: Final = 128  # bytes of a frame that monitor looks at


def limited(packets: Iterator[Seen | None], number: int, seconds: float) -> Iterator[Seen]:
    """At most `number` packets (0: any number), for `seconds` (0: without end)."""
    deadline = time.monotonic() + seconds if seconds else float("inf")
    left = number or -1
    for packet in packets:
        if packet is not None:
            yield packet
            left -= 1
        if not left or time.monotonic() >= deadline:
            return


def text(seen: Seen) -> str:
    """A packet on a line."""
    told = seen.told()
    way = f"{seen.inport or '-'} > {seen.outport or '-'}"
    why = " ".join(filter(None, (seen.stage, seen.acl and f"acl={seen.acl}", seen.flow[:8])))
    rest = f"  [{why}]" if why else ""
    return (
        f"{told['time'][11:26]} {seen.datapath} {way}: {seen.verdict}"
        f"  {told['eth_src']} > {told['eth_dst']} {told['eth_type']} {seen.length} bytes{rest}"
    )


def monitor(packets: Iterator[Seen], as_json: bool) -> None:
    """A line for each."""
    for seen in packets:
        sys.stdout.write((json.dumps(seen.told()) if as_json else text(seen)) + "\n")
        sys.stdout.flush()


def capture(packets: Iterator[Seen], file: str) -> None:
    """A pcapng file ("-": to standard output).  Raises StartupError."""
    try:
        out = sys.stdout.buffer if file == "-" else Path(file).open("wb")
    except OSError as error:
        raise StartupError(f"{file}: {error.strerror}") from error
    count = 0
    with out:
        writer = Writer(out, "ovn-bpf-ctl capture")
        try:
            for seen in packets:
                comment = f"{seen.verdict}; {seen.inport or '-'} > {seen.outport or '-'}"
                comment += f"; datapath {seen.datapath}"
                for word, value in (("stage", seen.stage), ("acl", seen.acl), ("flow", seen.flow)):
                    comment += f"; {word} {value}" if value else ""
                name = f"{seen.port or seen.datapath} {seen.point}"
                writer.packet(name, seen.at, seen.frame, seen.length, comment)
                count += 1
        finally:
            sys.stderr.write(f"{count} packets captured\n")
