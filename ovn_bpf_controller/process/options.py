# SPDX-License-Identifier: Apache-2.0
"""ovn-controller's command line (23.03, and what later releases added) as data.

cli.controller parses once at start and hands the result to the log, the daemon
and the agent.  Nothing here acts on an option; see process.usage for the texts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.plaindata import dataclass, field, fields
from ovn_bpf_controller.process.dirs import PROGRAM, Dirs
from ovn_bpf_controller.process.getopt_long import Arg, Option, getopt_long

OVSDB_PORT = 6640

_INET = r"(?a)(?P<host>\[[0-9A-Fa-f:.]+(%\w+)?\]|[\w.-]+)(:(?P<port>\d{1,5}))?"

Action = Literal["run", "help", "version", "graph"]

# In the C table's order: glibc lists ambiguous names so.
TABLE = (
    Option("help", short="h"),
    Option("version", short="V"),
    Option("unixctl", Arg.REQUIRED, "u"),
    Option("verbose", Arg.OPTIONAL, "v"),
    Option("log-file", Arg.OPTIONAL),
    Option("syslog-method", Arg.REQUIRED),
    Option("syslog-target", Arg.REQUIRED),
    Option("detach"),
    Option("no-self-confinement"),
    Option("no-chdir"),
    Option("pidfile", Arg.OPTIONAL),
    Option("overwrite-pidfile"),
    Option("monitor"),
    Option("user", Arg.REQUIRED),
    Option("private-key", Arg.REQUIRED, "p"),
    Option("certificate", Arg.REQUIRED, "c"),
    Option("ca-cert", Arg.REQUIRED, "C"),
    Option("ssl-protocols", Arg.REQUIRED),
    Option("ssl-ciphers", Arg.REQUIRED),
    Option("ssl-ciphersuites", Arg.REQUIRED),
    Option("ssl-server-name", Arg.REQUIRED),
    Option("peer-ca-cert", Arg.REQUIRED),
    Option("bootstrap-ca-cert", Arg.REQUIRED),
    Option("chassis", Arg.REQUIRED, "n"),
    Option("enable-dummy-vif-plug"),
    Option("dump-inc-proc-graph", Arg.OPTIONAL),
)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """File names and OpenSSL lists; empty means not given.

    The Open_vSwitch database's SSL row takes precedence over these, and the files
    are to be read again when they change.  bootstrap_ca_cert: a CA file to create
    from the first connection if it does not exist.
    """

    private_key: str = ""
    certificate: str = ""
    ca_cert: str = ""
    bootstrap_ca_cert: str = ""
    peer_ca_cert: str = ""
    ssl_protocols: str = ""
    ssl_ciphers: str = ""
    ssl_ciphersuites: str = ""
    ssl_server_name: str = ""


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """How to run.  pidfile: absolute path, or empty for none.  user: USER[:GROUP]."""

    detach: bool = False
    monitor: bool = False
    chdir: bool = True
    pidfile: str = ""
    overwrite_pidfile: bool = False
    user: str = ""


@dataclass(frozen=True, slots=True)
class LogSetting:
    """One logging option, applied in command-line order; value None: no argument."""

    option: Literal["verbose", "log-file", "syslog-method", "syslog-target"]
    value: str | None


@dataclass(frozen=True, slots=True)
class Options:
    """The whole command line and environment.

    ovs_remote: the local Open_vSwitch database, as unix:, tcp: or ssl:.
    chassis: name from -n, else from system-id-override, else "" (then
    external_ids:system-id of the database counts).  unixctl: socket path, or ""
    for the default.  graph_node: argument of --dump-inc-proc-graph.
    """

    ovs_remote: str
    chassis: str = ""
    unixctl: str = ""
    dirs: Dirs = field(default_factory=Dirs)
    tls: TlsOptions = field(default_factory=TlsOptions)
    daemon: DaemonOptions = field(default_factory=DaemonOptions)
    log: tuple[LogSetting, ...] = ()
    enable_dummy_vif_plug: bool = False
    action: Action = "run"
    graph_node: str = ""


_TLS = {each.name.replace("_", "-") for each in fields(TlsOptions)}
_LOG = {"verbose", "log-file", "syslog-method", "syslog-target"}
_ACTIONS: dict[str, Action] = {
    "help": "help",
    "version": "version",
    "dump-inc-proc-graph": "graph",
}


def parse_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read argv (without the program's name) and the environment.

    Raises StartupError with getopt_long's text for a bad option and with
    ovn-controller's for too many operands.  -h, -V and --dump-inc-proc-graph win
    at once over whatever follows them, as they do there.
    """
    dirs = Dirs.from_environment(environ)
    operands: list[str] = []
    given: dict[str, str | None] = {}
    log: list[LogSetting] = []
    action: Action = "run"
    for option, value in getopt_long(argv, TABLE, operands):
        if option.long in _LOG:
            log.append(LogSetting(option.long, value))  # type: ignore[arg-type]
        given[option.long] = value
        if option.long in _ACTIONS:
            action = _ACTIONS[option.long]
            break
    if action == "run" and len(operands) > 1:
        raise StartupError("exactly zero or one non-option argument required; use --help for usage")
    remote = operands[0] if operands else f"unix:{dirs.ovs_rundir}/db.sock"
    return Options(
        ovs_remote=check_remote(remote) if action == "run" else remote,
        chassis=given.get("chassis") or dirs.system_id_override(),
        unixctl=given.get("unixctl") or "",
        dirs=dirs,
        tls=TlsOptions(**{n.replace("-", "_"): given.get(n) or "" for n in _TLS}),
        daemon=_daemon(given, dirs),
        log=tuple(log),
        enable_dummy_vif_plug="enable-dummy-vif-plug" in given,
        action=action,
        graph_node=given.get("dump-inc-proc-graph") or "",
    )


def check_remote(remotes: str) -> str:
    """A comma list of unix:FILE, tcp:HOST[:PORT] and ssl:HOST[:PORT], with its ports.

    Raises StartupError for anything else: ovn-controller would try such a name
    again for ever, and it can never work.
    """
    return ",".join(_remote(one.strip()) for one in remotes.split(","))


def _remote(text: str) -> str:
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return text
    match = re.fullmatch(_INET, rest)
    if kind not in ("tcp", "ssl") or not match or not 0 < int(match["port"] or 1) < 65536:
        raise StartupError(
            f'"{text}" is not a database; unix:FILE, tcp:HOST[:PORT] or ssl:HOST[:PORT] expected'
        )
    return f"{kind}:{match['host']}:{match['port'] or OVSDB_PORT}"


def _daemon(given: Mapping[str, str | None], dirs: Dirs) -> DaemonOptions:
    pidfile = ""
    if "pidfile" in given:
        pidfile = os.path.join(dirs.ovn_rundir, given["pidfile"] or f"{PROGRAM}.pid")
    return DaemonOptions(
        detach="detach" in given,
        monitor="monitor" in given,
        chdir="no-chdir" not in given,
        pidfile=pidfile,
        overwrite_pidfile="overwrite-pidfile" in given,
        user=given.get("user") or "",
    )
