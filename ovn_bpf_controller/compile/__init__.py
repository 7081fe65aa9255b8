# SPDX-License-Identifier: Apache-2.0
"""Logical flows -> rules and instructions of the interpreter; pure, as lang is."""
