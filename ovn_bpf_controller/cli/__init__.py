# SPDX-License-Identifier: Apache-2.0
"""Console scripts: ovn-bpf-controller (the daemon) and ovn-bpf-ctl (asks it)."""

import os

from ovn_bpf_controller.process.later import called, put_off

# uuid asks platform for this alone when it is imported, and platform compiles a dozen
# regular expressions.
put_off("platform", system=lambda: os.uname().sysname)
put_off("urllib.parse", quote_from_bytes=called("urllib.parse", "quote_from_bytes"))
# ovs.vlog's own levels; its messages go where ours go (process.log_ovs).
put_off("logging", package=True, DEBUG=10, INFO=20, WARNING=30, CRITICAL=50, ERROR=40)
put_off("datetime", "traceback", "logging.handlers", "shutil", "ssl", "tempfile")
put_off("ovs.dns_resolve")  # for host names of databases
