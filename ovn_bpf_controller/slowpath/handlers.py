# SPDX-License-Identifier: Apache-2.0
"""Which function serves which verb (enum ovn_punt_verb)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ovn_bpf_controller.slowpath.service import Handler

HANDLERS: Final[Mapping[int, Handler]] = {}
