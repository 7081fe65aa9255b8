# SPDX-License-Identifier: Apache-2.0
"""What ovn-bpf-controller does: options, log, daemon, agent, loop.  __main__ calls it.

Whatever keeps it from starting is one line on stderr and exit status 1; a
traceback goes to the log file only.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence

from ovn_bpf_controller.errors import OvnBpfError, StartupError
from ovn_bpf_controller.process import log, log_control, log_ovs
from ovn_bpf_controller.process.daemon import Daemon
from ovn_bpf_controller.process.dirs import PROGRAM
from ovn_bpf_controller.process.main_loop import AgentProtocol, MainLoop
from ovn_bpf_controller.process.options import LogSetting, Options, parse_options
from ovn_bpf_controller.process.unixctl import Registry, Server
from ovn_bpf_controller.process.usage import dot_graph, usage
from ovn_bpf_controller.process.version import full_version

AgentFactory = Callable[[Options], AgentProtocol]

_log = log.Logger("main")


def main(argv: Sequence[str] | None = None, agent_factory: AgentFactory | None = None) -> int:
    """Run the daemon; returns the exit status.

    argv: arguments without the program's name (default: the process's own).
    agent_factory: what to run (default: ovn_bpf_controller.agent.Agent).
    """
    program = _program_name()
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv, os.environ)
        options.dirs.install()
        log_ovs.install()
        if options.action == "run":
            # Before -v is looked at: modules have names only once they are loaded.
            agent_factory = agent_factory or _load_agent()
        _set_up_log(options.log, f"{options.dirs.ovn_logdir}/{PROGRAM}.log")
        if agent_factory is None or options.action != "run":
            sys.stdout.write(_text(program, options))
            return 0
        return _run(options, agent_factory)
    except StartupError as error:
        first, *more = str(error).splitlines() or [repr(error)]
        _log.fatal(str(error))
        sys.stderr.write(f"{program}: {first}{' (the log has more)' if more else ''}\n")
    except KeyboardInterrupt:
        # Ctrl-C before the main loop took signals over.
        return 128 + signal.SIGINT
    except Exception as error:
        _log.fatal_exception(f"internal error: {error!r}")
        sys.stderr.write(f"{program}: internal error: {error!r}; the log file has more\n")
    return 1


def _program_name() -> str:
    name = os.path.basename(sys.argv[0])
    return "ovn-bpf-controller" if name in ("", "-c", "-m", "__main__.py") else name


def _text(program: str, options: Options) -> str:
    if options.action == "help":
        return usage(program, options.dirs)
    if options.action == "graph":
        return dot_graph(options.graph_node)
    return full_version()


def _set_up_log(settings: Sequence[LogSetting], default_file: str) -> None:
    """Apply logging options in order.  Raises StartupError."""
    for setting in settings:
        value = setting.value
        if setting.option == "verbose":
            problem = log_control.set_levels(value)
            if problem:
                raise StartupError(f'processing "{value}": {problem}')
        elif setting.option == "log-file":
            error = log.open_file(value or default_file)
            # A file that was named must open; the default one may be missing.
            if error and value:
                raise StartupError(f"failed to open {value} for logging: {error.strerror}")
        elif setting.option == "syslog-method":
            log_control.set_syslog_method(value or "")
        else:
            log_control.set_syslog_target(value or "")
    # The first method counts, so this one only if no option named any.
    log_control.set_syslog_method(os.environ.get("OVS_SYSLOG_METHOD") or "libc")


def _load_agent() -> AgentFactory:
    # Late, so that --help needs neither libbpf nor the compiled extension.  What is
    # imported stays: the collector, which process.garbage takes over, finds nothing.
    gc.disable()
    try:
        factory: AgentFactory = importlib.import_module("ovn_bpf_controller.agent").Agent
    except ImportError as error:
        raise StartupError(f"cannot load the agent: {error}") from error
    return factory


def _make_agent(options: Options, factory: AgentFactory) -> AgentProtocol:
    try:
        return factory(options)
    except OvnBpfError as error:
        # A kernel without a feature, a map too large: the operator's, not a bug.
        raise StartupError(str(error)) from error


def _run(options: Options, agent_factory: AgentFactory) -> int:
    daemon = Daemon(options.daemon)
    daemon.start()
    name = options.unixctl or f"{PROGRAM}.{os.getpid()}.ctl"
    registry = Registry()
    server = Server(os.path.join(options.dirs.ovn_rundir, name), registry)
    try:
        loop = MainLoop(_make_agent(options, agent_factory), server, registry)
        number = loop.run(daemon.complete)
    finally:
        server.close()
        daemon.close()
    if number:
        # Let whoever waits for us see which signal it was, as ovn-controller does.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    return 0
