# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-sandbox: the sandbox at a prompt.

Each command but `up` and `demo` attaches to what `up` left running in --dir.
Errors are one line and exit status 1 (when `up` fails, with the end of each agent's log);
`exec` has the status of its command.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ovn_bpf_controller import __version__
from ovn_bpf_controller.errors import OvnBpfError, SandboxError
from ovn_bpf_controller.sandbox import manifest
from ovn_bpf_controller.sandbox.layout import Layout, layout_of

Command = Callable[[argparse.Namespace, Layout], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    options = _parser().parse_args(arguments)
    command: Command = options.command
    try:
        if os.geteuid() != 0:
            raise SandboxError("network namespaces need root")
        return command(options, layout_of(options.dir))
    except OvnBpfError as error:
        # Notes: what agents logged before `up` took them down again.
        for text in (f"ovn-bpf-sandbox: {error}", *getattr(error, "__notes__", ())):
            print(text, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name != "yaml":
            raise
        print("ovn-bpf-sandbox: PyYAML is not installed (python3-yaml)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ovn-bpf-sandbox",
        description="A whole OVN deployment in network namespaces of this machine.",
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument("--dir", help="where it lives (default $OVN_BPF_SANDBOX_DIR, else /run)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Command, text: str) -> argparse.ArgumentParser:
        child = commands.add_parser(name, help=text, description=text)
        child.set_defaults(command=function)
        return child

    up = add("up", _up, "build and start a topology, and leave it running")
    up.add_argument("topology", nargs="?", metavar="TOPOLOGY.yaml", type=Path)
    plug = add("plug", _plug, "give a logical port a guest on a chassis")
    plug.add_argument("lsp", metavar="LSP")
    plug.add_argument("--chassis", default="", metavar="HV", help="default: the topology's")
    unplug = add("unplug", _unplug, "take a logical port's guest away")
    unplug.add_argument("lsp", metavar="LSP")
    execute = add("exec", _exec, "run a command in a port's guest, or inside a chassis")
    execute.add_argument("place", metavar="PORT")
    execute.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    shell = add("shell", _shell, "a shell in which OVN's tools talk to the sandbox")
    shell.add_argument("place", nargs="?", default="", metavar="PORT")
    add("status", _status, "what runs and what is plugged where")
    env = add("env", _env, "print what to eval so that OVN's tools talk to the sandbox")
    env.add_argument("chassis", nargs="?", default="", metavar="CHASSIS")
    add("down", _down, "stop and remove all of it")
    add("demo", _demo, "three chassis, one network: every port pings every other")
    return parser


def _up(options: argparse.Namespace, layout: Layout) -> int:
    from ovn_bpf_controller.sandbox import bed, spec, topology

    file = options.topology
    wanted = topology.load(file) if file else topology.parse(spec.DEFAULT)
    sandbox = bed.Sandbox(wanted, layout.root)
    sandbox.up()
    shown = sandbox.sbctl("show")
    sandbox.leave_running()  # the last step: until then Ctrl-C takes all of it down
    print(shown)
    return 0


def _plug(options: argparse.Namespace, layout: Layout) -> int:
    from ovn_bpf_controller.sandbox.bed import Sandbox

    Sandbox.attach(layout).plug(options.lsp, options.chassis)
    return 0


def _unplug(options: argparse.Namespace, layout: Layout) -> int:
    from ovn_bpf_controller.sandbox.bed import Sandbox

    Sandbox.attach(layout).unplug(options.lsp)
    return 0


def _exec(options: argparse.Namespace, layout: Layout) -> int:
    if not options.argv:
        raise SandboxError("exec: no command given")
    _become(layout, options.place, options.argv)


def _shell(options: argparse.Namespace, layout: Layout) -> int:
    _become(layout, options.place, [os.environ.get("SHELL", "/bin/sh")])


def _become(layout: Layout, place: str, command: list[str]) -> NoReturn:
    """Go on as `command` in the guest of port `place`, in the chassis of that name, or here.

    OVN's tools talk to the sandbox from there; those of a chassis to that chassis.
    """
    from ovn_bpf_controller.sandbox.bed import Sandbox

    sandbox, chassis = Sandbox.attach(layout), place
    if place in sandbox.ports:
        command, chassis = sandbox.ports[place].argv(*command), sandbox.ports[place].chassis
    elif place in sandbox.chassis:
        command = sandbox.chassis[place].argv(*command)
    elif place:
        raise SandboxError(f"{place}: neither a plugged port nor a chassis")
    sys.stdout.flush()
    os.execvpe(command[0], command, {**os.environ, **sandbox.environment(chassis)})


def _status(options: argparse.Namespace, layout: Layout) -> int:
    from ovn_bpf_controller.sandbox import status
    from ovn_bpf_controller.sandbox.bed import Sandbox

    print(status.text(Sandbox.attach(layout)))
    return 0


def _env(options: argparse.Namespace, layout: Layout) -> int:
    from ovn_bpf_controller.sandbox.bed import Sandbox

    for name, value in Sandbox.attach(layout).environment(options.chassis).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _down(options: argparse.Namespace, layout: Layout) -> int:
    if not manifest.cleanup(layout):
        print(f"ovn-bpf-sandbox: nothing is up in {layout.root}", file=sys.stderr)
    return 0


def _demo(options: argparse.Namespace, layout: Layout) -> int:
    from ovn_bpf_controller.sandbox import demo

    return demo.run()


if __name__ == "__main__":
    sys.exit(main())
