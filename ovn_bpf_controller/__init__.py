# SPDX-License-Identifier: Apache-2.0
"""ovn-bpf-controller: an OVN chassis agent whose data plane is eBPF."""

__version__ = "0.1.0"
