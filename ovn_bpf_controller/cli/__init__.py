# SPDX-License-Identifier: Apache-2.0
"""Console scripts: ovn-bpf-controller (the daemon) and ovn-bpf-ctl (asks it)."""

from ovn_bpf_controller.process.later import put_off

put_off("datetime", "traceback", "logging.handlers", "shutil", "ssl", "tempfile")
