# SPDX-License-Identifier: Apache-2.0
"""A process that takes a sandbox down when its maker dies without doing so.

Sandbox.up() starts it and holds a pipe to its standard input.  The pipe closes
however the maker ends, SIGKILL included; only a byte written before says that
the sandbox is to stay, or is already gone.
"""

from __future__ import annotations

import os
import sys

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import manifest, process
from ovn_bpf_controller.sandbox.layout import Layout, layout_of

_DISMISS = b"x"


class Janitor:
    """The maker's end of the pipe."""

    def __init__(self, layout: Layout) -> None:
        reader, self._writer = os.pipe()
        try:
            # Not in the sandbox directory: cleanup removes that under its feet.
            arguments = [sys.executable, "-m", __name__, str(layout.root)]
            actions = [(os.POSIX_SPAWN_DUP2, reader, 0)]
            self._pid = os.posix_spawn(
                sys.executable, arguments, process.environment(), file_actions=actions, setsid=True
            )
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            os.close(reader)

    def dismiss(self) -> None:
        """Nothing is left to clean up, or it is wanted: the janitor goes."""
        if self._writer < 0:
            return
        try:
            os.write(self._writer, _DISMISS)
        except BrokenPipeError:
            pass  # somebody killed it: there is nothing to tell
        os.close(self._writer)
        self._writer = -1
        process.wait_dead(self._pid)


def main() -> int:
    """Wait for the pipe's end; clean up unless dismissed."""
    layout = layout_of(sys.argv[1])
    if os.read(0, 1) == _DISMISS:
        return 0
    try:
        manifest.cleanup(layout)
    except SandboxError as error:
        print(f"ovn-bpf-sandbox: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
