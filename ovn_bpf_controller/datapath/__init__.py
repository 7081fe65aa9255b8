# SPDX-License-Identifier: Apache-2.0
"""Programs, maps and pins in the kernel; knows nothing of OVN."""
