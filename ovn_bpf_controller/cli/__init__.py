# SPDX-License-Identifier: Apache-2.0
"""Console scripts: ovn-bpf-controller (the daemon) and ovn-bpf-ctl (asks it)."""

import os

from ovn_bpf_controller.process.later import put_off

# uuid asks platform for this alone when it is imported, and platform compiles a dozen
# regular expressions.
put_off("platform", system=lambda: os.uname().sysname)
put_off("datetime", "traceback", "logging.handlers", "shutil", "ssl", "tempfile")
