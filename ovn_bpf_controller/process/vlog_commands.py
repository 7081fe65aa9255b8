# SPDX-License-Identifier: Apache-2.0
"""The control commands vlog/* (ovs-appctl(8)); process.main_loop registers them.

Names, arguments and replies are lib/vlog.c's, since scripts read them.
"""

from __future__ import annotations

from ovn_bpf_controller.process import log, log_control
from ovn_bpf_controller.process.unixctl import ANY, CommandError, Commands, Request


def register(commands: Commands) -> None:
    """Register all of vlog/*."""
    commands.register("vlog/set", "{spec | PATTERN:destination:pattern}", 0, ANY, _set)
    commands.register("vlog/list", "", 0, 0, lambda _request: log_control.list_levels())
    commands.register("vlog/list-pattern", "", 0, 0, lambda _request: log_control.list_patterns())
    commands.register("vlog/enable-rate-limit", "[module]...", 0, ANY, _limit(True))
    commands.register("vlog/disable-rate-limit", "[module]...", 0, ANY, _limit(False))
    commands.register("vlog/reopen", "", 0, 0, _reopen)
    commands.register("vlog/close", "", 0, 0, _close)


class _limit:
    """Honour rate limits of the named modules, or do not."""

    def __init__(self, enable: bool) -> None:
        self._enable = enable

    def __call__(self, request: Request) -> str:
        _raise_if(log_control.set_rate_limits(request.args, self._enable))
        return ""


def _set(request: Request) -> str:
    specs: list[str | None] = [*request.args]
    for spec in specs or [None]:
        _raise_if(log_control.set_levels(spec))
    return ""


def _reopen(_request: Request) -> str:
    if not log.file_name():
        raise CommandError("Logging to file not configured")
    error = log.reopen_file()
    _raise_if(str(error.strerror) if error else "")
    return ""


def _close(_request: Request) -> str:
    log.close_file()
    return ""


def _raise_if(problem: str) -> None:
    if problem:
        raise CommandError(problem)
