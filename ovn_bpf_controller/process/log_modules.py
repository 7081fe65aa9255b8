# SPDX-License-Identifier: Apache-2.0
"""Names of log modules that exist before anything was logged.

A `-vofctrl:dbg` in somebody's ovn-ctl options is fatal if the name is unknown, so
every module name of ovn-controller is accepted, used or not (process.log).
"""

from __future__ import annotations

KNOWN = tuple(
    # controller/ and lib/ of OVN 23.03 to 26.03.
    "acl_log actions acl_ids arp_nd_cache binding chassis ct_zone encaps exchange expr "
    "extend_table features garp_rarp ha_chassis host_if_monitor if_status inc_proc_eng lb ldata "
    "lflow lflow_cache lport mac_cache mac_learn main memory memory_trim mirror neighbor "
    "neighbor_exchange ofctrl ofctrl_seqno ovn_bfd ovn_dns ovn_util ovsport patch physical pinctrl "
    "port_mirror route route_exchange route_exchange_netlink statctrl stopwatch "
    "vif_plug vif_plug_dummy vif_plug_provider vif_plug_representor "
    # lib/ of Open vSwitch, as far as an operator would turn it.
    "backtrace command_line coverage daemon daemon_unix dns_resolve entropy fatal_signal flow "
    "jsonrpc meta_flow netdev netdev_linux netlink netlink_notifier netlink_socket nx_match "
    "ofp_actions ofp_util ovs_rcu ovs_router ovs_thread ovsdb_cs ovsdb_error ovsdb_idl poll_loop "
    "process rconn reconnect route_table signals socket_util socket_util_unix stream stream_fd "
    "stream_ssl stream_tcp stream_unix timeval unixctl util uuid vconn vconn_stream vlog".split()
)

ALIASES = {
    "fatal-signal": "fatal_signal",
    "idl": "ovsdb_idl",
    "poller": "poll_loop",
    "unixctl_client": "unixctl",
    "unixctl_server": "unixctl",
}
"""What python-ovs calls a module -> what the C library calls it."""
