# SPDX-License-Identifier: Apache-2.0
"""Runs a program of ours once, by PROG_TEST_RUN: traces and flushes are asked so.

Those look at maps, never at the frame that the kernel insists on; what the slow path
sends (punts.py) is the frame.
"""

from __future__ import annotations

from typing import Any, Final

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import check

_FRAME: Final = bytes(64)
_CONTEXT_WORDS: Final = 48  # struct __sk_buff
_ROOM: Final = 4096


def run_once(program: int, what: str, data: bytes = _FRAME) -> int:
    """What the program behind fd `program` returned.

    data: the frame, at most a page less what the kernel keeps there.
    Raises DataPlaneError, beginning with `what`, if the kernel refuses.
    """
    run: Any = ffi.new("struct ovn_test_run *")
    frame = ffi.from_buffer(data)
    context = ffi.new("uint32_t[]", _CONTEXT_WORDS)
    out = ffi.new("char[]", _ROOM)
    run.prog_fd, run.repeat = program, 1
    run.data_in, run.data_in_len = frame, len(data)
    run.data_out, run.data_out_len = out, _ROOM
    run.ctx, run.ctx_len = context, 4 * _CONTEXT_WORDS
    check(lib.ovn_test_run(run), what)
    return int(run.retval)
