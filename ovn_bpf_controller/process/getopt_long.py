# SPDX-License-Identifier: Apache-2.0
"""getopt_long(3) with optional arguments, as ovn-controller's users know it.

process.options calls it.  argparse cannot bundle `-vSPEC`, tell `--log-file` from
`--log-file=F`, or report an ambiguous abbreviation in glibc's words, and scripts
rely on all three; the standard getopt module has no optional arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.plaindata import dataclass


class Arg(Enum):
    """Whether an option takes an argument."""

    NONE = 0
    REQUIRED = 1
    OPTIONAL = 2


@dataclass(frozen=True, slots=True)
class Option:
    """One row of the table.  short: a single letter, or empty."""

    long: str
    arg: Arg = Arg.NONE
    short: str = ""


def getopt_long(
    argv: Sequence[str], table: Sequence[Option], positional: list[str]
) -> Iterator[tuple[Option, str | None]]:
    """Yield (option, argument) from argv (without the program's name) in order.

    Options and operands may mix; operands are appended to positional.  Raises
    StartupError with glibc's text at the first bad option, so that what came
    before it has been yielded: `-h --bogus` is a request for help.
    """
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            positional.extend(rest)
            return
        if word.startswith("--"):
            yield _long(word, rest, table)
        elif word.startswith("-") and word != "-":
            yield from _short(word[1:], rest, table)
        else:
            positional.append(word)


def _long(word: str, rest: list[str], table: Sequence[Option]) -> tuple[Option, str | None]:
    name, equals, value = word[2:].partition("=")
    option = _find(name, word, table)
    shown = f"--{option.long}"
    if equals:
        if option.arg is Arg.NONE:
            raise StartupError(f"option '{shown}' doesn't allow an argument")
        return option, value
    if option.arg is Arg.REQUIRED:
        if not rest:
            raise StartupError(f"option '{shown}' requires an argument")
        return option, rest.pop(0)
    return option, None


def _find(name: str, word: str, table: Sequence[Option]) -> Option:
    """The option called name, or the only one that begins so."""
    for option in table:
        if option.long == name:
            return option
    found = [option for option in table if option.long.startswith(name)]
    if not found:
        raise StartupError(f"unrecognized option '{word}'")
    if len(found) > 1:
        names = " ".join(f"'--{option.long}'" for option in found)
        raise StartupError(f"option '{word}' is ambiguous; possibilities: {names}")
    return found[0]


def _short(
    letters: str, rest: list[str], table: Sequence[Option]
) -> Iterator[tuple[Option, str | None]]:
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((o for o in table if o.short == letter), None)
        if option is None:
            raise StartupError(f"invalid option -- '{letter}'")
        if option.arg is Arg.NONE:
            yield option, None
        elif letters or option.arg is Arg.OPTIONAL:
            yield option, letters or None
            return
        elif rest:
            yield option, rest.pop(0)
        else:
            raise StartupError(f"option requires an argument -- '{letter}'")
