# SPDX-License-Identifier: Apache-2.0
"""dpctl/*conntrack* on our control sockets: what scripts ask ovs-vswitchd for.

OVN's system tests and operators' scripts know these commands from OVS; options,
output and messages are those of its lib/dpctl.c.  observe.ct_commands has our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from ovn_bpf_controller.datapath.conntrack import Connection, Conntrack, now_ms
from ovn_bpf_controller.observe import ct_format
from ovn_bpf_controller.observe.ct_match import Match, MatchError, parse, parse_zone
from ovn_bpf_controller.observe.jobs import Jobs
from ovn_bpf_controller.process.unixctl import CommandError, Commands, Request

_WHO: Final = "ovs-vswitchd"  # begins the messages, as scripts know them
_DP: Final = "[dp]"
_LONG: Final = {"--statistics": "s", "--more": "m", "--names": "", "--no-names": ""}


def register(commands: Commands, table: Conntrack, jobs: Jobs) -> None:
    """Adds the commands to a control socket's registry."""

    def add(name: str, usage: str, most: int, handler: Callable[..., None]) -> None:
        commands.register(
            f"dpctl/{name}", usage, 0, most, lambda request: handler(table, jobs, request)
        )

    add("dump-conntrack", f"{_DP} [-m] [-s] [zone=N]", 6, _dump)
    add("flush-conntrack", f"{_DP} [zone=N] [mark=X[/M]] [labels=X[/M]] [ct-tuple]", 9, _flush)
    add("ct-stats-show", f"{_DP} [zone=N]", 6, _stats)
    add("ct-get-nconns", _DP, 1, _count)
    add("ct-get-maxconns", _DP, 1, _capacity)
    add("ct-get-limits", f"{_DP} [zone=N[,N]...]", 2, _limits)


def _options(request: Request) -> tuple[str, list[str]]:
    """Letters of the options, and the arguments after them.  Raises CommandError."""
    letters, args = "", list(request.args)
    while args and args[0].startswith("-") and args[0] != "-":
        option = args.pop(0)
        if option.startswith("--"):
            if option not in _LONG:
                raise CommandError(f"Unrecognized option {option}")
            letters += _LONG[option]
            continue
        for letter in option[1:]:
            if letter not in "ms":
                raise CommandError(f"Unrecognized option -{letter}")
            letters += letter
    return letters, args


def _without_datapath(args: list[str]) -> list[str]:
    """There is one data plane; OVS's names of one are let pass: netdev@ovs-netdev."""
    return args[1:] if args and "@" in args[0] and "=" not in args[0] else args


def _zone(args: list[str]) -> int | None:
    """The zone, from arguments that begin with nothing else.  Raises CommandError."""
    left = _without_datapath(args)
    zone = parse_zone(left[-1]) if left else None
    if len(left) > (zone is not None):
        raise CommandError(f"{_WHO}: datapath not found (Invalid argument)")
    return zone


def _dump(table: Conntrack, jobs: Jobs, request: Request) -> None:
    letters, args = _options(request)
    jobs.start(request, _lines(table, _zone(args), "m" in letters, "s" in letters))


def _lines(table: Conntrack, zone: int | None, verbose: bool, stats: bool) -> Iterator[str]:
    now = now_ms()
    for batch in table.dump(zone):
        yield "".join(
            f"{ct_format.entry(conn, now, verbose=verbose, stats=stats)}\n" for conn in batch
        )


def _flush(table: Conntrack, jobs: Jobs, request: Request) -> None:
    _, args = _options(request)
    try:
        match = parse(_without_datapath(args))
    except MatchError as error:
        raise CommandError(f"{_WHO}: {error} (Invalid argument)") from error
    jobs.start(request, flush(table, match))


def flush(table: Conntrack, match: Match) -> Iterator[str]:
    """Ends what is meant; says nothing.

    Raises CommandError where OVS finds fault with a connection that is not there.
    """
    if match.whole and match.zone is None:
        table.flush_all()
        return
    if match.whole and match.zone is not None:
        table.flush_zone(match.zone)
        return
    ended = 0
    for batch in table.dump(match.zone):
        ended += table.kill(conn for conn in batch if match.meets(conn))
        yield ""
    if match.five_tuple and not ended:
        problem = "failed to flush conntrack (No such file or directory)"
        raise CommandError(f"{_WHO}: {problem}")


def _stats(table: Conntrack, jobs: Jobs, request: Request) -> None:
    letters, args = _options(request)
    jobs.start(request, _counted(table, _zone(args), "m" in letters))


def _counted(table: Conntrack, zone: int | None, verbose: bool) -> Iterator[str]:
    protocols: Counter[str] = Counter()
    states: Counter[str] = Counter()
    for batch in table.dump(zone):
        for conn in batch:
            protocols[_class(conn)] += 1
            if conn.proto == ct_format.TCP:
                states[ct_format.tcp_state(conn)] += 1
        yield ""
    yield f"Connections Stats:\n    Total: {protocols.total()}\n"
    for name in ("TCP", "UDP", "UDPLITE", "SCTP", "ICMP", "DCCP", "IGMP", "Other"):
        if not protocols[name]:
            continue
        yield f"  {name}: {protocols[name]}\n"
        if name == "TCP" and verbose:
            yield "    Conn per TCP states:\n"
            yield from (f"\t  [{state}]={count}\n" for state, count in states.items())


def _class(conn: Connection) -> str:
    """What it counts as; ICMPv6 has no line of its own in OVS's answer."""
    name = ct_format.protocol(conn.proto)
    return "Other" if name.isdecimal() else name.upper()


def _count(table: Conntrack, jobs: Jobs, request: Request) -> None:
    jobs.start(request, iter([f"{sum(table.zone_counts().values())}\n"]))


def _capacity(table: Conntrack, jobs: Jobs, request: Request) -> None:
    jobs.start(request, iter([f"{table.capacity}\n"]))


def _limits(table: Conntrack, jobs: Jobs, request: Request) -> None:
    _, args = _options(request)
    args = _without_datapath(args)
    limits, counts = table.limits(), table.zone_counts()
    zones = sorted(limits)
    if args:
        name, _, numbers = args[0].partition("=")
        parts = numbers.split(",")
        if name != "zone" or not all(part.isdecimal() for part in parts):
            raise CommandError(f"{_WHO}: invalid argument {args[0]} (Invalid argument)")
        zones = [int(part) for part in parts]
    lines = ["default limit=0"]
    lines += [f"zone={z},limit={limits.get(z, 0)},count={counts.get(z, 0)}" for z in zones]
    jobs.start(request, iter(["\n".join(lines) + "\n"]))
