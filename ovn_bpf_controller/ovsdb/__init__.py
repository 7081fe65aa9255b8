# SPDX-License-Identifier: Apache-2.0
"""Clients of both databases: cached rows, conditions, transactions."""
