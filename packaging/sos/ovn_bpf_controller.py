# SPDX-License-Identifier: Apache-2.0
"""A plugin of sos(1): what support needs to know of ovn-bpf-controller on a host."""

from sos.report.plugins import DebianPlugin, Plugin, RedHatPlugin, UbuntuPlugin


class OvnBpfController(Plugin):
    """Asks the agent and the kernel; changes nothing."""

    short_desc = "OVN chassis agent with an eBPF data plane"
    plugin_name = "ovn_bpf_controller"
    profiles = ("network", "virt")

    def setup(self):
        self.add_copy_spec(
            [
                "/etc/default/ovn-bpf-controller",
                "/etc/sysconfig/ovn-bpf-controller",
                "/run/ovn/ovn-controller.pid",
                "/run/ovn/ovn-slowpath.pid",
                "/var/log/ovn/ovn-controller.log*",
            ]
        )
        asked = ("status", "ports", "chassis", "tunnels", "drops", "flows --unsupported")
        self.add_cmd_output([f"ovn-bpf-ctl --timeout 30 {command}" for command in asked])
        self.add_cmd_output("ovn-bpf-ctl --timeout 60 ct stats")
        self.add_cmd_output(
            [
                f"ovn-appctl --timeout=30 -t ovn-controller {command}"
                for command in (
                    *("connection-status", "ct-zone-list", "coverage/show", "memory/show"),
                    *("stopwatch/show", "inc-engine/show-stats", "version"),
                )
            ]
        )
        self.add_cmd_output(
            [
                "bpftool prog show",
                "bpftool map show",
                "bpftool link show",
                "bpftool net show",
                "find /sys/fs/bpf/ovn-bpf",
                "systemctl status ovn-bpf-controller.service",
            ]
        )


class RedHatOvnBpfController(OvnBpfController, RedHatPlugin):
    packages = ("ovn-bpf-controller",)


class DebianOvnBpfController(OvnBpfController, DebianPlugin, UbuntuPlugin):
    packages = ("ovn-bpf-controller",)
