# SPDX-License-Identifier: Apache-2.0
"""inc-engine/*: how often which part of the agent worked, and how.

ovn-controller has an engine of nodes that either recompute everything or follow
changes.  Ours only follows changes; what counts as a recompute is a first load, or
one that an operator asked for.  Exporters read these counts to see recomputes, so
the nodes that we share with ovn-controller have its names.
"""

from __future__ import annotations

from ovn_bpf_controller.compile.store import RuleChanges
from ovn_bpf_controller.plaindata import dataclass
from ovn_bpf_controller.process import coverage, stopwatch
from ovn_bpf_controller.process.unixctl import Commands, Request, unsigned

NODES = (
    "runtime_data",
    "ct_zones",
    "if_status_mgr",
    "logical_flow_output",
    "physical_flow_output",
    "flow_output",
)

# Known to read-counter before they happen: ovn-controller's, of which some of pinctrl's
# never do, and keys of maps written by changes.
COUNTERS = (
    "map_keys_written",
    *("lflow_run", "consider_logical_flow", "physical_run", "flow_generation"),
    *("pinctrl_total_pin_pkts", "pinctrl_notify_main_thread", "pinctrl_drop_put_mac_binding"),
    *("pinctrl_drop_buffered_packets_map", "pinctrl_drop_controller_event"),
    "pinctrl_drop_put_vport_binding",
)
STOPWATCHES = (
    *("bfd-run", "flow-installation", "if-status-mgr-run", "if-status-mgr-update"),
    *("flow-generation", "pinctrl-run", "ofctrl-seqno-run", "vif-plug-run", "patch-run"),
    "ct-zone-commit",
)


@dataclass(slots=True)
class Node:
    """Counts of one node."""

    recompute: int = 0
    compute: int = 0
    abort: int = 0

    def text(self, name: str) -> str:
        """OVS's words (lib/inc-proc-eng.c of 23.03)."""
        counts = (("recompute", self.recompute), ("compute", self.compute), ("abort", self.abort))
        lines = (f"{f'- {what}:':<12}{count:13}" for what, count in counts)
        return "\n".join((f"Node: {name}", *lines))


class Engine:
    """The nodes of one agent."""

    def __init__(self) -> None:
        self._nodes = {name: Node() for name in NODES}
        self.recompute_asked = False
        coverage.declare(*COUNTERS)
        stopwatch.declare(*STOPWATCHES)

    def ran(self, name: str, *, all_of_it: bool = False) -> None:
        """A node did its work: followed changes, or did all of it anew."""
        node = self._nodes[name]
        if all_of_it:
            node.recompute += 1
        else:
            node.compute += 1

    def count(self, delta: object, rules: RuleChanges, everything: bool) -> bool:
        """One round of the agent; True when an operator asked for a recompute since.

        delta: true if anything but rules has changed.  everything: the tables are
        compared with all that is desired.
        """
        if delta:
            coverage.hit("physical_run")
            self.ran("runtime_data", all_of_it=everything)
        if rules:
            coverage.hit("lflow_run")
            coverage.hit("consider_logical_flow", len(rules.added))
            self.ran("logical_flow_output", all_of_it=everything)
        if delta or rules:
            self.ran("physical_flow_output", all_of_it=everything)
            self.ran("flow_output", all_of_it=everything)
        asked, self.recompute_asked = self.recompute_asked, False
        return asked

    def show(self, args: list[str]) -> str:
        """The text of inc-engine/show-stats [NODE [COUNTER]]; empty for an unknown one."""
        if not args:
            return "\n".join(node.text(name) for name, node in self._nodes.items())
        node = self._nodes.get(args[0])
        if node is None:
            return ""
        if len(args) == 1:
            return node.text(args[0])
        if args[1] not in ("recompute", "compute", "abort"):
            return f"Invalid stat type : {args[1]}"
        return str(getattr(node, args[1]))

    def clear(self) -> str:
        """inc-engine/clear-stats"""
        self._nodes = {name: Node() for name in NODES}
        return ""

    def ask(self, _request: Request) -> str:
        """recompute: all that is desired is compared with the tables again."""
        self.recompute_asked = True
        return ""

    def register(self, commands: Commands) -> None:
        """Adds the commands."""
        commands.register("recompute", "[deprecated]", 0, 0, self.ask)
        commands.register("inc-engine/recompute", "", 0, 0, self.ask)
        commands.register("inc-engine/show-stats", "", 0, 2, lambda r: self.show(r.args))
        commands.register("inc-engine/clear-stats", "", 0, 0, lambda _request: self.clear())
        commands.register("inc-engine/compute-log-timeout", "", 1, 1, _log_timeout)


def _log_timeout(request: Request) -> str:
    """Nothing here computes for so long that it would have to be said; a number it must be."""
    unsigned(request.args[0])
    return ""
