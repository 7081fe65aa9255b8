# SPDX-License-Identifier: Apache-2.0
"""A program with a terminal for its standard error."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from select import select


class Terminal:
    """Starts the command; shown() collects what it has written so far."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._master, theirs = pty.openpty()
        self._text = ""
        try:
            self.process = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True
            )
        finally:
            os.close(theirs)

    def shown(self) -> str:
        """Never blocks."""
        while select([self._master], [], [], 0)[0]:
            try:
                self._text += os.read(self._master, 4096).decode()
            except OSError:  # the other end is closed
                break
        return self._text

    def close(self) -> None:
        """Ends the program, if it still runs."""
        self.process.terminate()
        self.process.communicate()
        os.close(self._master)
