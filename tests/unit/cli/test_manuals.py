# SPDX-License-Identifier: Apache-2.0
"""Manual pages, --help and bash completion say what the parsers take, and no more."""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovn_bpf_controller.cli import ctl, trace
from ovn_bpf_controller.process.dirs import Dirs
from ovn_bpf_controller.process.options import TABLE
from ovn_bpf_controller.process.usage import usage
from ovn_bpf_controller.sandbox import cli as sandbox

REPO = Path(__file__).parents[3]
PAGES = {
    "ovn-bpf-ctl": ctl._parser(),
    "ovn-bpf-trace": trace._parser(),
    "ovn-bpf-sandbox": sandbox._parser(),
}
CONTROLLER = "ovn-bpf-controller"
OPTION = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")


def page(name: str) -> str:
    """A manual page as man(1) shows it, in wide lines.  Fails if groff finds fault."""
    file = REPO / "docs" / "man" / f"{name}.8"
    done = subprocess.run(
        ["groff", "-man", "-Tascii", "-ww", "-P-cbou", "-rLL=300n", "-rHY=0", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def options(parser: argparse.ArgumentParser) -> set[str]:
    """All of a parser and its commands."""
    found = {name for action in parser._actions for name in action.option_strings}
    for _, child in commands(parser):
        found |= options(child)
    return found


def section(text: str, name: str) -> str:
    [found] = re.findall(rf"^{name}\n(.*?)(?=^\S|\Z)", text, re.S | re.M)
    return str(found)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_options_of_its_parser(name: str) -> None:
    text = page(name)
    told = set(OPTION.findall(section(text, "SYNOPSIS") + section(text, "OPTIONS")))
    if "COMMANDS\n" in text:
        told |= set(OPTION.findall(section(text, "COMMANDS")))
    assert told == options(PAGES[name])


@pytest.mark.parametrize("name", ["ovn-bpf-ctl", "ovn-bpf-sandbox"])
def test_a_page_has_the_commands_of_its_parser(name: str) -> None:
    told = re.findall(r"^ {7}(\w[\w-]*)", section(page(name), "COMMANDS"), re.M)
    assert sorted(told) == sorted(command for command, _ in commands(PAGES[name]))


def test_the_daemons_page_and_its_help_have_the_options_that_it_takes() -> None:
    taken = {f"--{option.long}" for option in TABLE}
    taken |= {f"-{option.short}" for option in TABLE if option.short}
    assert set(OPTION.findall(section(page(CONTROLLER), "OPTIONS"))) == taken
    helped = set(OPTION.findall(usage(CONTROLLER, Dirs())))
    assert helped >= {each for each in taken if each.startswith("--")}
    assert {each for each in helped if each.startswith("--")} <= taken


def completions(*words: str) -> list[str]:
    """What bash offers for the last word."""
    script = REPO / "packaging" / "bash-completion" / "ovn-bpf-ctl"
    line = " ".join(f"'{word}'" for word in words)
    text = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1};"
        ' _ovn_bpf_ctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())


def test_completion_offers_the_commands_and_their_options() -> None:
    parser = PAGES["ovn-bpf-ctl"]
    known = dict(commands(parser))
    own = {name for action in parser._actions for name in action.option_strings if name[1] == "-"}
    assert completions("ovn-bpf-ctl", "") == sorted({*known, *own})
    for name, child in known.items():
        expected = {each for each in options(child) if each.startswith("--")}
        assert set(completions("ovn-bpf-ctl", name, "--")) == expected, name
    assert completions("ovn-bpf-ctl", "ct", "") == ["flush", "list", "stats", "top"]
    assert completions("ovn-bpf-ctl", "-T", "3", "fl") == ["flows"]
