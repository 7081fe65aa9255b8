# SPDX-License-Identifier: Apache-2.0
"""What operators can ask the running agent."""

from ovn_bpf_controller.observe.commands import register

__all__ = ["register"]
