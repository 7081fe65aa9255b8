# SPDX-License-Identifier: Apache-2.0
"""What lies in inside/ is for guests: test_guests.py has them run it."""

import os

collect_ignore = [] if "OVN_BPF_GUEST" in os.environ else ["inside"]
