# SPDX-License-Identifier: Apache-2.0
"""Generators that build.py runs; nothing here is installed."""
