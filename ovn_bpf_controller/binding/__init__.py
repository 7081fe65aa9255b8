# SPDX-License-Identifier: Apache-2.0
"""Who is on this chassis: rows of both databases -> what the data plane should be."""
