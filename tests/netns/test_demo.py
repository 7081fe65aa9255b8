# SPDX-License-Identifier: Apache-2.0
"""The demonstration itself: what it prints, and that it can fail."""

from __future__ import annotations

import pytest

from ovn_bpf_controller.sandbox import demo


def test_every_ping_of_both_passes_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run() == 0
    printed = capsys.readouterr().out
    for chassis in ("hv1", "hv2", "hv3"):
        assert f"Chassis {chassis}" in printed
    assert printed.count("Port_Binding vm") == 6
    assert printed.count("60 of 60 pings answered") == 1
    assert printed.count("24 of 24 pings answered") == 1
    assert printed.index("60 of 60") < printed.index("SIGSTOP") < printed.index("24 of 24")
    assert "no answer" not in printed


def test_a_pair_that_fails_is_named_and_costs_the_exit_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sabotage = """
acls:
  - {{switch: net1, direction: to-lport, priority: 1000, action: drop,
      match: 'ip4 && inport == "vm1" && outport == "vm2"'}}
"""
    assert demo.run(demo.TOPOLOGY + sabotage) == 1
    printed = capsys.readouterr().out
    assert "no answer: vm1 -> vm2 (IPv4)" in printed
    assert "no answer: vm2 -> vm1 (IPv4)" in printed
    assert "58 of 60 pings answered" in printed
    assert "22 of 24 pings answered" in printed
