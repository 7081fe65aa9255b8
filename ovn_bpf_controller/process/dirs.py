# SPDX-License-Identifier: Apache-2.0
"""Where OVN and Open vSwitch keep their files, from the environment.

The pip build of python-ovs believes in /usr/local; install() tells it the paths
that the C daemons use, so relative names mean the same to both.
"""

from __future__ import annotations

from collections.abc import Mapping

from ovn_bpf_controller.plaindata import dataclass

PROGRAM = "ovn-controller"
"""Our name to everybody who looks: pidfile, control socket, log, comm."""


@dataclass(frozen=True, slots=True)
class Dirs:
    """Directories as absolute paths.  ovn_sysconfdir: empty unless it was set."""

    ovn_rundir: str = "/var/run/ovn"
    ovn_logdir: str = "/var/log/ovn"
    ovs_rundir: str = "/var/run/openvswitch"
    ovn_sysconfdir: str = ""

    @staticmethod
    def from_environment(environ: Mapping[str, str]) -> Dirs:
        """Read OVN_RUNDIR and its kin; an empty variable counts as unset.

        ovn-controller 23.03 puts its default log into OVS_LOGDIR, OVN's other
        daemons theirs into OVN_LOGDIR: the more specific one wins here.
        """

        def value(*names: str, default: str) -> str:
            return next((environ[n] for n in names if environ.get(n)), default)

        default = Dirs()
        return Dirs(
            ovn_rundir=value("OVN_RUNDIR", default=default.ovn_rundir),
            ovn_logdir=value("OVN_LOGDIR", "OVS_LOGDIR", default=default.ovn_logdir),
            ovs_rundir=value("OVS_RUNDIR", default=default.ovs_rundir),
            ovn_sysconfdir=value("OVN_SYSCONFDIR", default=""),
        )

    @property
    def instance(self) -> str:
        """Name of the data plane's pins: agents with other run directories do not meet."""
        return "ovn" if self.ovn_rundir in ("/var/run/ovn", "/run/ovn") else self.ovn_rundir

    @property
    def pidfile(self) -> str:
        """The pidfile by default."""
        return f"{self.ovn_rundir}/{PROGRAM}.pid"

    def install(self) -> None:
        """Make python-ovs use these directories and our program name."""
        import ovs.dirs  # here, as PROGRAM is wanted where python-ovs is not
        import ovs.util

        ovs.dirs.RUNDIR = self.ovs_rundir
        ovs.dirs.LOGDIR = self.ovn_logdir
        ovs.util.PROGRAM_NAME = PROGRAM

    def system_id_override(self) -> str:
        """The chassis name in system-id-override, or "" (controller/ovn-controller.c).

        Debian's binary reads it from /etc, the documentation says /etc/ovn; both
        are tried.  An unreadable file is as good as none, as there.
        """
        parents = [self.ovn_sysconfdir] if self.ovn_sysconfdir else ["/etc/ovn", "/etc"]
        for parent in parents:
            try:
                with open(f"{parent}/system-id-override", encoding="utf-8") as file:
                    return file.readline().rstrip("\n")
            except (OSError, UnicodeDecodeError):
                continue
        return ""
