# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of devices, addresses and routes below the tunnels."""
