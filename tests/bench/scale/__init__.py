# SPDX-License-Identifier: Apache-2.0
"""The control plane on large databases, beside ovn-controller on the same ones."""
