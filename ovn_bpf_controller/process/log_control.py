# SPDX-License-Identifier: Apache-2.0
"""What an operator can change about logging and look at: -v and vlog/*.

cli.controller applies options with it, process.vlog_commands the commands.
Functions return "" or what is wrong, in the words of lib/vlog.c.
"""

from __future__ import annotations

from ovn_bpf_controller.process.log_core import (
    DBG,
    DEFAULT_PATTERNS,
    DESTINATIONS,
    LEVELS,
    SYSLOG,
    Module,
    core,
)
from ovn_bpf_controller.process.log_format import compile_pattern
from ovn_bpf_controller.process.log_syslog import FACILITIES, make_syslogger, make_target


def set_levels(spec: str | None) -> str:
    """Apply a -v or vlog/set argument; None means everything at dbg.

    Returns "" or what is wrong with it, in vlog's words.
    """
    words = (spec or "").replace(",", " ").replace(":", " ").replace("\t", " ").split()
    if words and words[0].upper() == "PATTERN":
        return _set_pattern(spec or "", words)
    if words and words[0].upper() == "FACILITY":
        return _set_facility((spec or "")[len("FACILITY") + 1 :])
    module, destination, level = None, None, None
    for word in words:
        upper, lower = word.upper(), word.lower()
        if upper == "ANY":
            continue
        if upper in DESTINATIONS:
            if destination is not None:
                return "cannot specify multiple destinations"
            destination = DESTINATIONS.index(upper)
        elif upper in LEVELS:
            if level is not None:
                return "cannot specify multiple levels"
            level = LEVELS.index(upper)
        elif lower in core.modules:
            if module is not None:
                return "cannot specify multiple modules"
            module = core.modules[lower]
        else:
            return f'no destination, level, or module "{word}"'
    _set_level(module, destination, DBG if level is None else level)
    return ""


def _set_level(module: Module | None, destination: int | None, level: int) -> None:
    for wanted in range(3) if destination is None else [destination]:
        if module is None:
            core.default_levels[wanted] = level
        for each in [module] if module else core.modules.values():
            each.set_level(wanted, level)


def _set_pattern(spec: str, words: list[str]) -> str:
    if len(words) < 2:
        return "missing destination"
    name = words[1].upper()
    if name not in (*DESTINATIONS, "ANY"):
        return f'unknown destination "{words[1]}"'
    # The pattern is the rest as it stands, after one separator.
    pattern = spec[spec.index(words[1], len("PATTERN")) + len(words[1]) + 1 :]
    for index, destination in enumerate(DESTINATIONS):
        if name in (destination, "ANY"):
            core.patterns[index] = pattern or DEFAULT_PATTERNS[index]
            core.render[index] = compile_pattern(core.patterns[index])
    return ""


def _set_facility(name: str) -> str:
    if name.lower() not in FACILITIES:
        return "invalid facility"
    core.facility = FACILITIES[name.lower()]
    return ""


def set_syslog_method(method: str) -> None:
    """--syslog-method; only the first counts.  Raises StartupError."""
    syslogger = make_syslogger(method)
    if core.syslogger is None:
        core.syslogger = syslogger


def set_syslog_target(target: str) -> None:
    """--syslog-target.  Raises StartupError."""
    core.target = make_target(target)


def set_rate_limits(names: list[str], enable: bool) -> str:
    """Honour or ignore rate limits of modules (all if none named); "" or an error."""
    for name in names or ["any"]:
        if name.lower() == "any":
            for module in core.modules.values():
                module.rate_limited = enable
        elif name.lower() in core.modules:
            core.modules[name.lower()].rate_limited = enable
        else:
            return "unknown module"
    return ""


def list_levels() -> str:
    """The text of vlog/list."""
    lines = [
        "                 console    syslog    file",
        "                 -------    ------    ------",
    ]
    for name, module in sorted(core.modules.items()):
        syslog, console, file = (LEVELS[level] for level in module.levels)
        limits = "" if module.rate_limited else "    (rate limiting disabled)"
        lines.append(f"{name:<16}  {console:>4}       {syslog:>4}       {file:>4}{limits}")
    return "\n".join(lines)


def list_patterns() -> str:
    """The text of vlog/list-pattern."""
    lines = [
        "         prefix                            format",
        "         ------                            ------",
    ]
    for index, destination in enumerate(DESTINATIONS):
        prefix = "none"
        if index == SYSLOG and core.syslogger:
            prefix = core.syslogger.prefix
        lines.append(f"{destination:<7}  {prefix:<32}  {core.patterns[index]}")
    return "\n".join(lines)
