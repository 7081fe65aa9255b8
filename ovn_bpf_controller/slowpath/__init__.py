# SPDX-License-Identifier: Apache-2.0
"""The slow path: a process of its own that answers what the program cannot.

It serves packets that logical flows send up (datapath.punts), so that no long
computation of the agent delays a DHCP answer.  The agent starts it (supervisor),
and tells it what it needs to know; it lives on when the agent dies.
"""
