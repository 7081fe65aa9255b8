# SPDX-License-Identifier: Apache-2.0
"""The slow path: a process of its own that answers what the program cannot.

It serves packets that logical flows send up (datapath.punts), so that no long
computation of the agent delays a DHCP answer.  The agent starts it (supervisor),
and tells it what it needs to know; it lives on when the agent dies.
"""

from ovn_bpf_controller.process.later import called, put_off

# The first is pathlib's; log, DHCPv6 and multicast want the others seldom or later.
put_off("urllib.parse", quote_from_bytes=called("urllib.parse", "quote_from_bytes"))
put_off("ipaddress", "random", "socket")
