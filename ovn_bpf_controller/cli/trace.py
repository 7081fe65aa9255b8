# SPDX-License-Identifier: Apache-2.0
"""The console script ovn-bpf-trace: where would this packet go, here and now?

ovn-trace's syntax, answered by the running agent's data plane.  Friendly names, names
of stages and source hints, which only --detailed shows, are read from the Southbound;
without it they are left out.  Exit status as of ovn-bpf-ctl.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence

from ovn_bpf_controller import __version__
from ovn_bpf_controller.cli import friendly, southbound
from ovn_bpf_controller.cli.asking import Refused, transact
from ovn_bpf_controller.errors import DatabaseError, StartupError
from ovn_bpf_controller.observe import trace
from ovn_bpf_controller.observe.trace_node import from_json, uuids
from ovn_bpf_controller.process.dirs import PROGRAM

NAME = "ovn-bpf-trace"


def main(argv: Sequence[str] | None = None) -> int:
    """Trace one packet; returns the exit status."""
    arguments = _parser().parse_args(argv)
    if arguments.timeout:
        signal.alarm(arguments.timeout)
    try:
        sys.stdout.write(_run(arguments))
        sys.stdout.flush()
    except Refused as error:
        sys.stderr.write(f"{NAME}: {str(error).rstrip()}\n")
        return 2
    except StartupError as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME, description="Try a packet on the live tables of ovn-bpf-controller."
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    for form, text in (
        ("detailed", "every step: table, stage, flow, actions (the default)"),
        ("summary", "the actions"),
        ("minimal", "only what is done to the packet, and where it goes"),
        ("all", "all three"),
    ):
        parser.add_argument(f"--{form}", action="store_true", help=text)
    parser.add_argument(
        "--ct",
        metavar="FLAGS",
        action="append",
        default=[],
        help="what the next stateful action finds: trk, new, est, rel, rpl, inv, dnat, snat;"
        " trk,est when no more are given (without any --ct the tracker is asked)",
    )
    parser.add_argument("--lb-dst", metavar="IP[:PORT]", help="the backend to prefer")
    parser.add_argument(
        "--select-id", metavar="ID", type=int, help="the member of ECMP routes to choose"
    )
    parser.add_argument(
        "--length",
        metavar="BYTES",
        type=int,
        help="of the frame, for check_pkt_larger (without it the frame fits everywhere)",
    )
    parser.add_argument(
        "--friendly-names",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="names that a cloud management system's users gave, UUIDs shortened (the default)",
    )
    parser.add_argument(
        "--db", metavar="REMOTE", help="Southbound, for friendly names and names of stages"
    )
    parser.add_argument(
        "-t", "--target", metavar="PATH", default=PROGRAM, help="control socket of the agent"
    )
    parser.add_argument("-T", "--timeout", metavar="SECS", type=int, default=0)
    parser.add_argument("datapath", nargs="?", help="name, UUID or tunnel key")
    parser.add_argument("microflow", help="an expression such as 'inport == \"vm1\" && ip4'")
    return parser


def _run(arguments: argparse.Namespace) -> str:
    """The text to print.  Raises StartupError and Refused."""
    forms = [form for form in trace.FORMS if arguments.all or getattr(arguments, form)]
    forms = forms or ["detailed"]
    remote = arguments.db or southbound.default()
    stages: dict[str, str] = {}
    missing: DatabaseError | None = None
    text, names = arguments.microflow, None
    try:
        text = friendly.meant(remote, text)
    except DatabaseError as error:
        missing = error
    answer = json.loads(transact(arguments.target, "ovn-bpf/trace", _asked(arguments, text)))
    root = from_json(answer["root"])
    try:
        if not missing and arguments.friendly_names:
            names = friendly.names(remote, root)
        if not missing and "detailed" in forms:
            stages = southbound.stages(remote, sorted(set(uuids(root))))
    except DatabaseError as error:
        missing = error
    if missing and "detailed" in forms:
        sys.stderr.write(f"{NAME}: no names of stages: {missing} (see --db)\n")
    if arguments.friendly_names:
        friendly.rename(root, names or friendly.own_names(root))
    return trace.show(answer["header"], root, forms, stages)


def _asked(arguments: argparse.Namespace, microflow: str) -> list[str]:
    """Arguments of the control command."""
    args = ["--json", *(f"--ct={flags}" for flags in arguments.ct)]
    args += [f"--lb-dst={arguments.lb_dst}"] if arguments.lb_dst else []
    args += [f"--select-id={arguments.select_id}"] if arguments.select_id else []
    args += [f"--length={arguments.length}"] if arguments.length else []
    args += [arguments.datapath] if arguments.datapath else []
    return [*args, microflow]


if __name__ == "__main__":
    sys.exit(main())
