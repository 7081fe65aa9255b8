# SPDX-License-Identifier: Apache-2.0
"""python-ovs's messages go where ours go (process.log): cli.controller installs this.

Apart from process.log, as ovs.vlog brings much with it that the slow path never needs.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

import ovs.vlog

from ovn_bpf_controller.process.log import Logger, RateLimit
from ovn_bpf_controller.process.log_core import INFO, LEVELS, OFF, WARN, core

_jsonrpc_rate = RateLimit(5, 5)


def _log_for_ovs(vlog: Logger, level: int, message: str, kwargs: dict[str, object]) -> None:
    """What ovs.vlog.Vlog's methods do, with two levels and limits as the C library has them."""
    module = core.module(vlog.name)
    if module.name == "reconnect" and level == WARN and " attempt failed (" in message:
        # Waiting for a database is nothing to warn of, and OVN's tests fail on warnings.
        level = INFO
    if module.max_level < level:
        return
    if module.name == "jsonrpc" and level == WARN:
        _jsonrpc_rate.warn(vlog, message)
        return
    trace = f"\n{traceback.format_exc()}" if kwargs.get("exc_info") else ""
    core.log(module, level, message + trace)


def install() -> None:
    """Send everything logged through ovs.vlog.Vlog here; may be called again."""

    def logging_method(level: int) -> Callable[..., None]:
        return lambda vlog, message, **kwargs: _log_for_ovs(vlog, level, str(message), kwargs)

    def enabled_method(level: int) -> Callable[[Logger], bool]:
        return lambda vlog: core.module(vlog.name).max_level >= level

    def init(vlog: Logger, name: str) -> None:
        vlog.name = core.module(name.lower()).name

    for level, name in enumerate(LEVELS):
        if level != OFF:
            setattr(ovs.vlog.Vlog, name.lower(), logging_method(level))
            setattr(ovs.vlog.Vlog, f"{name.lower()}_is_enabled", enabled_method(level))
    ovs.vlog.Vlog.__init__ = init
