# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf/ct*: connections by logical port, who talks most, how full the table is.

For ovn-bpf-ctl ct; all take --json.  observe.conntrack has the commands that are
known from Open vSwitch.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ovn_bpf_controller._native import lib
from ovn_bpf_controller.datapath.conntrack import Connection, Tuple, address, now_ms
from ovn_bpf_controller.observe import conntrack, ct_format
from ovn_bpf_controller.observe.chassis import Chassis, Rows
from ovn_bpf_controller.observe.ct_match import MatchError, parse
from ovn_bpf_controller.process.unixctl import CommandError, Commands, Request

_TOP: Final = 10
_VALUED: Final = ("--zone", "--lport", "--limit")


def register(commands: Commands, chassis: Chassis) -> None:
    """Adds the commands."""
    for name, usage, answer in (
        ("ct", "[--json] [--zone=N] [--lport=P]", _list),
        ("ct-top", "[--json] [--zone=N] [--lport=P] [--limit=N]", _top),
        ("ct-flush", "[--zone=N] [--lport=P] [mark=X[/M]] [labels=X[/M]] [ct-tuple]", _flush),
        ("ct-stats", "[--json]", _stats),
    ):
        commands.register(f"ovn-bpf/{name}", usage, 0, 8, _handler(chassis, answer))


_Answer = Callable[[Chassis, dict[str, str], list[str]], Iterator[str]]


def _handler(chassis: Chassis, answer: _Answer) -> Callable[[Request], None]:
    def handle(request: Request) -> None:
        options, args = _options(request.args)
        chassis.jobs.start(request, answer(chassis, options, args))

    return handle


def _options(given: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options by name, and arguments.  Raises CommandError."""
    options, args = {}, []
    for arg in given:
        name, equals, value = arg.partition("=")
        if not arg.startswith("--"):
            args.append(arg)
        elif name == "--json" or (name in _VALUED and equals):
            options[name] = value
        else:
            raise CommandError(f"unknown option {arg}")
    return options, args


def _zone(chassis: Chassis, options: Mapping[str, str]) -> int | None:
    """The zone that --zone or --lport names; None: all.  Raises CommandError."""
    name = options.get("--lport")
    if name is not None:
        zone = chassis.desired.zones.get(name)
        if zone is None:
            raise CommandError(f"no conntrack zone of {name} (see ct-zone-list)")
        return zone
    text = options.get("--zone")
    if text is None:
        return None
    if not text.isdecimal() or int(text) > 0xFFFF:
        raise CommandError(f"--zone={text}: not a zone")
    return int(text)


def _number(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal():
        raise CommandError(f"{name}={text}: not a number")
    return int(text)


# --- one connection -----------------------------------------------------------------


def _end(one: Tuple, side: str, conn: Connection) -> str:
    """An address with its port, if the protocol has ports."""
    ip = address(one.src if side == "src" else one.dst, conn.family)
    if conn.proto in ct_format.ICMP or not (one.sport or one.dport):
        return str(ip)
    port = one.sport if side == "src" else one.dport
    return f"{ip}:{port}" if conn.family == 4 else f"[{ip}]:{port}"


def _flags(conn: Connection) -> list[str]:
    """What there is to say of it; translated is what differs, not what might have been."""
    orig, reply = conn.orig, conn.reply
    snat = reply.dst != orig.src
    dnat = reply.src != orig.dst
    if conn.proto not in ct_format.ICMP:
        snat |= reply.dport != orig.sport
        dnat |= reply.sport != orig.dport
    flags = {
        "seen-reply": conn.flags & lib.OVN_CONN_SEEN_RPL,
        "snat": snat,
        "dnat": dnat,
        "closing": conn.flags & lib.OVN_CONN_CLOSING,
        "related": conn.flags & lib.OVN_CONN_RELATED,
    }
    return [name for name, is_so in flags.items() if is_so]


def row(conn: Connection, names: Mapping[int, str], now: int) -> dict[str, Any]:
    """What --json has of a connection.  names: of zones."""
    return {
        "zone": conn.zone,
        "owner": names.get(conn.zone, ""),
        "protocol": ct_format.protocol(conn.proto),
        "orig": [_end(conn.orig, "src", conn), _end(conn.orig, "dst", conn)],
        "reply": [_end(conn.reply, "src", conn), _end(conn.reply, "dst", conn)],
        "id": conn.orig.sport if conn.proto in ct_format.ICMP else None,
        "state": ct_format.state(conn),
        "flags": _flags(conn),
        "mark": conn.mark,
        "label": f"{conn.label:#x}",
        "packets": list(conn.packets),
        "bytes": list(conn.bytes),
        "idle": round(max(0, now - conn.used) / 1000, 3),
        "expires": round(max(0, conn.expires - now) / 1000, 3),
    }


def _line(found: Mapping[str, Any]) -> str:
    source, target = found["orig"]
    back = found["reply"]
    parts = [f"zone {found['zone']}", found["protocol"], f"{source} > {target}"]
    if back != [target, source]:
        parts.append(f"as {back[1]} > {back[0]}")
    if found["id"] is not None:
        parts.append(f"id {found['id']}")
    parts += [found["state"]] if found["state"] else []
    parts += found["flags"]
    parts += [f"mark {found['mark']:#x}"] if found["mark"] else []
    parts += [f"label {found['label']}"] if found["label"] != "0x0" else []
    parts.append(f"packets {found['packets'][0]}/{found['packets'][1]}")
    parts.append(f"bytes {found['bytes'][0]}/{found['bytes'][1]}")
    parts.append(f"expires {found['expires']:.0f} s")
    parts += [found["owner"]] if found["owner"] else []
    return "  ".join(parts) + "\n"


def _owners(chassis: Chassis) -> dict[int, str]:
    return {zone: name for name, zone in chassis.desired.zones.items()}


def _printed(rows: Iterator[Rows], options: Mapping[str, str]) -> Iterator[str]:
    """Batches of rows as lines, or as one JSON list."""
    if "--json" not in options:
        for batch in rows:
            yield "".join(map(_line, batch))
        return
    separator = "["
    for batch in rows:
        for one in batch:
            yield f"{separator}\n{json.dumps(one)}"
            separator = ","
        yield ""
    yield "[]\n" if separator == "[" else "\n]\n"


# --- commands -----------------------------------------------------------------------


def _list(chassis: Chassis, options: dict[str, str], args: list[str]) -> Iterator[str]:
    if args:
        raise CommandError(f"unexpected argument {args[0]}")
    names, now = _owners(chassis), now_ms()
    batches = chassis.conntrack.dump(_zone(chassis, options))
    return _printed(([row(conn, names, now) for conn in batch] for batch in batches), options)


def _top(chassis: Chassis, options: dict[str, str], args: list[str]) -> Iterator[str]:
    """The connections with the most bytes."""
    if args:
        raise CommandError(f"unexpected argument {args[0]}")
    return _most(
        chassis, options, _zone(chassis, options), max(1, _number(options, "--limit", _TOP))
    )


def _most(chassis: Chassis, options: dict[str, str], zone: int | None, limit: int) -> Iterator[str]:
    most: list[tuple[int, int, Connection]] = []
    for batch in chassis.conntrack.dump(zone):
        sized = [(sum(conn.bytes), conn.id, conn) for conn in batch]
        most = heapq.nlargest(limit, most + sized)
        yield ""
    names, now = _owners(chassis), now_ms()
    yield from _printed(iter([[row(conn, names, now) for _, _, conn in most]]), options)


def _flush(chassis: Chassis, options: dict[str, str], args: list[str]) -> Iterator[str]:
    zone = _zone(chassis, options)
    try:
        match = parse([*([f"zone={zone}"] if zone is not None else []), *args])
    except MatchError as error:
        raise CommandError(str(error)) from error
    return conntrack.flush(chassis.conntrack, match)


def _stats(chassis: Chassis, options: dict[str, str], args: list[str]) -> Iterator[str]:
    """How full the table is, by zone, and what happened to connections."""
    if args:
        raise CommandError(f"unexpected argument {args[0]}")
    table, names = chassis.conntrack, _owners(chassis)
    counts, limits = table.zone_counts(), table.limits()
    zones = [
        {"zone": z, "owner": names.get(z, ""), "connections": n, "limit": limits.get(z, 0)}
        for z, n in sorted(counts.items(), key=lambda item: -item[1])
    ]
    total = {"connections": sum(counts.values()), "room": table.capacity}
    counters = table.counters()
    if "--json" in options:
        found = {**total, "counters": counters, "zones": zones}
        return iter([json.dumps(found, indent=2) + "\n"])
    lines = [f"connections: {total['connections']} of {total['room']}"]
    lines += [f"{name}: {count}" for name, count in counters.items()]
    for each in zones:
        limit = f" of {each['limit']}" if each["limit"] else ""
        lines.append(f"zone {each['zone']}: {each['connections']}{limit}  {each['owner']}".rstrip())
    return iter(["\n".join(lines) + "\n"])
