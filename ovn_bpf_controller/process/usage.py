# SPDX-License-Identifier: Apache-2.0
"""The texts of --help and --dump-inc-proc-graph.

cli.controller prints them.  --help keeps ovn-controller's sections and order, so
that it can be the source of a man page and help2man can read it.
"""

from __future__ import annotations

from ovn_bpf_controller.process.dirs import PROGRAM, Dirs


def usage(program: str, dirs: Dirs) -> str:
    """The help text.  program: the name that the user typed."""
    return f"""\
{program}: OVN controller whose data plane is eBPF
usage {program} [OPTIONS] [OVS-DATABASE]
where OVS-DATABASE is a socket on which the OVS OVSDB server is listening
(default: unix:{dirs.ovs_rundir}/db.sock).

Active OVS-DATABASE connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  ssl:HOST:PORT           SSL PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
PKI configuration (required to use SSL):
  -p, --private-key=FILE  file with private key
  -c, --certificate=FILE  file with certificate for private key
  -C, --ca-cert=FILE      file with peer CA certificate
  --bootstrap-ca-cert=FILE  file with peer CA certificate to read or create
  --peer-ca-cert=FILE     file with CA certificate to send to peers
SSL options:
  --ssl-protocols=PROTOS  list of SSL protocols to enable
  --ssl-ciphers=CIPHERS   list of SSL ciphers to enable
  --ssl-ciphersuites=SUITES  list of TLS 1.3 cipher suites to enable
  --ssl-server-name=NAME  server name to send in the TLS handshake (SNI)

Daemon options:
  --detach                run in background as daemon
  --monitor               creates a process to monitor this daemon
  --user=username[:group] changes the effective daemon user:group
  --no-chdir              do not chdir to '/'
  --no-self-confinement   accepted for compatibility, no effect
  --pidfile[=FILE]        create pidfile (default: {dirs.ovn_rundir}/{PROGRAM}.pid)
  --overwrite-pidfile     with --pidfile, start even if already running

Logging options:
  -vSPEC, --verbose=SPEC   set logging levels
  -v, --verbose            set maximum verbosity level
  --log-file[=FILE]        enable logging to specified FILE
                           (default: {dirs.ovn_logdir}/{PROGRAM}.log)
  --syslog-method=(libc|unix:file|udp:ip:port|null)
                           specify how to send messages to syslog daemon
  --syslog-target=HOST:PORT  also send syslog msgs to HOST:PORT via UDP

Other options:
  -u, --unixctl=SOCKET    set control socket name
  -n, --chassis=NAME      custom chassis name
  --enable-dummy-vif-plug  accepted for compatibility, no effect
  --dump-inc-proc-graph[=NODE]  print how data flows to NODE (DOT), and exit
  -h, --help              display this help message
  -V, --version           display version information
"""


# The agent's own stages: it has no engine of nodes that could be recomputed.
_EDGES = (
    ("OVN_Southbound", "row_cache"),
    ("Open_vSwitch", "binding"),
    ("row_cache", "binding"),
    ("row_cache", "flow_compiler"),
    ("binding", "flow_compiler"),
    ("binding", "datapath"),
    ("flow_compiler", "datapath"),
    ("datapath", "nb_cfg"),
)


def dot_graph(node: str) -> str:
    """The data flow as DOT; node: only what leads to it, or "" for everything."""
    wanted = {node} if node else {target for _source, target in _EDGES}
    edges: list[tuple[str, str]] = []
    for source, target in reversed(_EDGES):
        if target in wanted:
            wanted.add(source)
            edges.insert(0, (source, target))
    names = dict.fromkeys(name for edge in edges for name in edge)
    lines = ['digraph "Incremental-Processing-Engine" {', "\trankdir=LR;"]
    lines += [f'\t{name} [style=filled, shape=box, label="{name}"];' for name in names]
    lines += [f'\t{source} -> {target} [label=""];' for source, target in edges]
    return "\n".join([*lines, "}", ""])
