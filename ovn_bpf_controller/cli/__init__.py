# SPDX-License-Identifier: Apache-2.0
"""Console scripts: ovn-bpf-controller (the daemon) and ovn-bpf-ctl (asks it)."""
