# SPDX-License-Identifier: Apache-2.0
"""Who the process is to the kernel: its comm, its user and its capabilities.

process.daemon calls it.  ovs-lib compares /proc/PID/comm with `ovn-controller`;
an interpreter's comm is `python3` until prctl(2) says otherwise.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd

from ovn_bpf_controller.errors import StartupError
from ovn_bpf_controller.plaindata import dataclass

_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_CAPBSET_DROP = 24
_CAP_VERSION_3 = 0x20080522

# What lib/daemon-unix.c keeps for a daemon with a data path, and the two that
# bpf(2) asks for.  CAP_DAC_OVERRIDE and CAP_SYS_ADMIN are left to root.
_KEPT = {
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_BROADCAST": 11,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

_libc = ctypes.CDLL(None, use_errno=True)


def set_comm(name: str) -> None:
    """Set this thread's name, at most 15 bytes, as /proc/PID/comm shows it."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


@dataclass(frozen=True, slots=True)
class User:
    """What --user named.  name: for messages."""

    name: str
    uid: int
    gid: int


def find_user(spec: str) -> User:
    """Resolve USER, USER:GROUP or :GROUP; StartupError if that is not possible."""
    name, _, group = (part.strip() for part in spec.partition(":"))
    if os.getuid() or os.geteuid():
        raise StartupError("only root can use --user option")
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.getuid())
    except KeyError:
        raise StartupError(f"user {name} not found, aborting.") from None
    if not group:
        return User(entry.pw_name, entry.pw_uid, entry.pw_gid)
    try:
        members = grp.getgrnam(group)
    except KeyError:
        raise StartupError(f"group {group} not found, aborting.") from None
    if members.gr_gid != entry.pw_gid and entry.pw_name not in members.gr_mem:
        raise StartupError(
            f"Invalid --user option {spec} (user {entry.pw_name} is not in group {group}), "
            "aborting."
        )
    return User(entry.pw_name, entry.pw_uid, members.gr_gid)


def become(user: User) -> None:
    """Change to user for good, keeping the capabilities of a data path daemon.

    Raises StartupError.  As in the C daemons, capabilities shrink even when the
    new user is root.
    """
    last = int(_read("/proc/sys/kernel/cap_last_cap"))
    try:
        _check(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl(PR_SET_KEEPCAPS)")
        for capability in range(last + 1):
            if capability not in _KEPT.values():
                _check(_libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), "PR_CAPBSET_DROP")
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
        _set_capabilities(sum(1 << bit for bit in _KEPT.values()))
    except OSError as error:
        raise StartupError(
            f"fail to switch to user and group {user.uid}:{user.gid} ({error}), aborting"
        ) from error


def _set_capabilities(mask: int) -> None:
    """capset(2): mask is effective and permitted, nothing is inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _check(_libc.capset(header, data), "capset")


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()
