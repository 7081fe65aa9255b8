# SPDX-License-Identifier: Apache-2.0
"""Whole OVN deployments in network namespaces of one machine.

`ovn-bpf-sandbox` (cli.py) shows the agent to people; tests use bed.Sandbox as a
context manager.  Real databases, ovn-northd and agents, nothing simulated.
"""
