# SPDX-License-Identifier: Apache-2.0
"""The console script ovn-bpf-ctl: ask the running agent what it does.

It finds the agent as ovn-appctl does, by the pidfile in OVN_RUNDIR, and sends one
control command; ovn-appctl can send the same.  Exit status 1: no agent to talk
to; 2: the agent refused.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from ovn_bpf_controller import __version__
from ovn_bpf_controller.cli import monitor, samples, southbound, top, watching
from ovn_bpf_controller.cli.asking import Refused, transact
from ovn_bpf_controller.datapath import leftovers
from ovn_bpf_controller.errors import DataPlaneError, StartupError
from ovn_bpf_controller.process.dirs import PROGRAM, Dirs
from ovn_bpf_controller.process.pidfile import PidFile


def main(argv: Sequence[str] | None = None) -> int:
    """Carry one subcommand out; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        sys.stdout.write(_run(arguments))
        sys.stdout.flush()
    except Refused as error:
        sys.stderr.write(f"ovn-bpf-ctl: {str(error).rstrip()}\n")
        return 2
    except (StartupError, DataPlaneError) as error:
        sys.stderr.write(f"ovn-bpf-ctl: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # `ovn-bpf-ctl flows | head`: stdout is gone, and Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ovn-bpf-ctl", description="Ask the running ovn-bpf-controller what it does."
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "-t",
        "--target",
        metavar="PATH",
        default=PROGRAM,
        help="control socket, or name of a pidfile in $OVN_RUNDIR (default: %(default)s)",
    )
    parser.add_argument(
        "-T",
        "--timeout",
        metavar="SECS",
        type=int,
        default=0,
        help="give up after SECS seconds (default: wait for ever)",
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON instead of text")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    flows = commands.add_parser("flows", parents=[common], help="logical flows in the data plane")
    flows.add_argument(
        "datapath", nargs="?", help="only those of this datapath (UUID or tunnel key)"
    )
    flows.add_argument(
        "--unsupported",
        action="store_true",
        help="list the flows that were left out instead, and why",
    )
    _add_ct(commands, common)
    _add_watching(commands, common)
    commands.add_parser("drops", parents=[common], help="dropped packets by reason")
    ports = commands.add_parser("ports", parents=[common], help="logical ports and their traffic")
    ports.add_argument("datapath", nargs="?", help="only those of this datapath")
    commands.add_parser("chassis", parents=[common], help="all chassis, and how we reach them")
    commands.add_parser("tunnels", parents=[common], help="the ways to other chassis")
    rates = commands.add_parser("top", parents=[common], help="which ports send and get most, live")
    rates.add_argument(
        "-d", "--delay", metavar="SECS", type=float, default=1.0, help="between two looks"
    )
    rates.add_argument("-n", "--number", metavar="N", type=int, default=0, help="end after N looks")
    commands.add_parser(
        "check",
        parents=[common],
        help="compare the data plane with what should be there, and repair it",
    )
    commands.add_parser("meters", parents=[common], help="meters, and what passed them")
    commands.add_parser("status", parents=[common], help="what the agent is doing")
    commands.add_parser("version", parents=[common], help="the running agent's version")
    told = commands.add_parser(
        "samples", help="packets that sample() chose, as JSON lines, while it runs; needs no agent"
    )
    told.add_argument("-n", "--number", metavar="N", type=int, default=0, help="end after N")
    commands.add_parser(
        "cleanup", help="remove what an agent that no longer runs left in the kernel"
    )
    return parser


def _add_ct(commands: Any, common: argparse.ArgumentParser) -> None:
    ct = commands.add_parser("ct", parents=[common], help="tracked connections")
    ct.add_argument("--zone", metavar="N", help="only those of this conntrack zone")
    ct.add_argument("--lport", metavar="PORT", help="only those of this logical port's zone")
    ct.add_argument("--limit", metavar="N", help="top: how many (default: 10)")
    ct.add_argument(
        "what",
        nargs="?",
        choices=("list", "top", "stats", "flush"),
        default="list",
        help="list them (default), the largest by bytes, how full the table is, or end them",
    )
    ct.add_argument(
        "tuple",
        nargs="*",
        metavar="MATCH",
        help="flush: [mark=X[/M]] [labels=X[/M]] [ORIG [REPLY]], as of ovs-dpctl flush-conntrack",
    )


def _add_watching(commands: Any, common: argparse.ArgumentParser) -> None:
    watched = argparse.ArgumentParser(add_help=False)
    watched.add_argument("--lport", metavar="PORT", default="", help="only this logical port's")
    watched.add_argument(
        "--point",
        action="append",
        default=[],
        choices=tuple(watching.POINTS),
        help="only packets that come (in, tunnel), leave (out, remote) or end (drop) there;"
        " may be given several times",
    )
    watched.add_argument(
        "-n", "--number", metavar="N", type=int, default=0, help="end after N packets"
    )
    watched.add_argument(
        "--seconds", metavar="SECS", type=float, default=0.0, help="end after SECS seconds"
    )
    watched.add_argument("--db", metavar="REMOTE", help="Southbound, for names of stages and ACLs")
    commands.add_parser(
        "monitor", parents=[common, watched], help="what becomes of packets, live, and why"
    )
    capture = commands.add_parser(
        "capture", parents=[watched], help="packets and verdicts to a pcapng file"
    )
    capture.add_argument("-w", "--write", metavar="FILE", default="-", help="(default: stdout)")
    capture.add_argument(
        "-s", "--snaplen", metavar="BYTES", type=int, default=2048, help="of a frame, at most"
    )


def _watch(arguments: argparse.Namespace) -> None:
    """monitor and capture.  Raises StartupError and Refused."""
    capturing = arguments.command == "capture"
    packets = monitor.limited(
        watching.watch(
            watching.asker(lambda command, args: transact(arguments.target, command, args)),
            arguments.db or southbound.default(),
            Dirs.from_environment(os.environ).instance,
            arguments.lport,
            arguments.point,
            arguments.snaplen if capturing else monitor.HEAD,
        ),
        arguments.number,
        arguments.seconds,
    )
    if capturing:
        monitor.capture(packets, arguments.write)
    else:
        monitor.monitor(packets, arguments.json)


def _ct(arguments: argparse.Namespace) -> tuple[str, list[str]]:
    """Command and arguments.  Raises Refused for what does not go together."""
    what = arguments.what
    if arguments.tuple and what != "flush":
        raise Refused(f"unexpected argument {arguments.tuple[0]}")
    options = [("zone", arguments.zone), ("lport", arguments.lport), ("limit", arguments.limit)]
    args = [f"--{name}={value}" for name, value in options if value is not None]
    if arguments.json and what != "flush":
        args.append("--json")
    return "ovn-bpf/ct" + ("" if what == "list" else f"-{what}"), [*args, *arguments.tuple]


def _run(arguments: argparse.Namespace) -> str:
    """The text to print.  Raises StartupError and Refused."""
    if arguments.timeout:
        # SIGALRM's default ends us, as ovs-appctl's --timeout does.
        signal.alarm(arguments.timeout)
    if arguments.command == "cleanup":
        return _cleanup(Dirs.from_environment(os.environ))
    if arguments.command == "samples":
        samples.run(Dirs.from_environment(os.environ).instance, arguments.number)
        return ""
    if arguments.command in ("monitor", "capture"):
        _watch(arguments)
        return ""
    command = f"ovn-bpf/{arguments.command}"
    args = ["--json"] if arguments.json else []
    if arguments.command == "version":
        return _version(transact(arguments.target, "version", []), arguments.json)
    if arguments.command == "top":
        top.run(
            lambda asked: transact(arguments.target, asked, ["--json"]),
            arguments.delay,
            arguments.number,
            arguments.json,
        )
        return ""
    if arguments.command == "ports":
        args += [arguments.datapath] if arguments.datapath else []
    if arguments.command == "ct":
        command, args = _ct(arguments)
    if arguments.command == "flows":
        if arguments.unsupported:
            command = "ovn-bpf/unsupported"
        args += [arguments.datapath] if arguments.datapath else []
    return transact(arguments.target, command, args)


def _cleanup(dirs: Dirs) -> str:
    """Takes the data plane away.  Raises StartupError while an agent runs on it."""
    if not os.path.isdir(dirs.ovn_rundir):
        return "".join(f"removed {thing}\n" for thing in leftovers.clean(dirs.instance))
    holder = PidFile(dirs.pidfile, overwrite=False)  # none may start meanwhile
    try:
        return "".join(f"removed {thing}\n" for thing in leftovers.clean(dirs.instance))
    finally:
        holder.close()


def _version(text: str, as_json: bool) -> str:
    if not as_json:
        return text
    versions = dict(line.rsplit(" ", 1) for line in text.splitlines())
    return json.dumps(versions, indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
