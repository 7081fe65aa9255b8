# SPDX-License-Identifier: Apache-2.0
"""One line on a terminal that tells how far long work has come.

The daemon in the foreground shows what it waits for, the command-line tools what the
agent is at.  The cursor stays at the line's beginning, so that whatever is printed next
takes its place.  Nothing is written to what is no terminal.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

_ERASE = "\x1b[K"


class Progress:
    """stream: where it goes; standard error by default."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shown = ""

    def __bool__(self) -> bool:
        """Whether somebody can see it."""
        try:
            return self._stream.isatty()
        except ValueError:  # closed, as by --detach
            return False

    def show(self, text: str) -> None:
        """In the place of what was shown before; "" for nothing."""
        if text == self._shown or not self:
            return
        self._shown = text
        width = os.get_terminal_size(self._stream.fileno()).columns or 80
        self._stream.write(f"{_ERASE}{text[: width - 1]}\r")
        self._stream.flush()
