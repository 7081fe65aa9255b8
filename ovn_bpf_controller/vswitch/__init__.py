# SPDX-License-Identifier: Apache-2.0
"""ovs-vswitchd's duties in the local database where that does not run."""
