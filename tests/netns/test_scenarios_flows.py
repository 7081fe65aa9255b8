# SPDX-License-Identifier: Apache-2.0
"""Scenarios of OVN's ovn-controller.at about flows that follow rows, by traffic or counters.

`address set del-and-add`, `ovn IP check path ports`, `I-P handle lb_hairpin_use_ct_mark
change` and `ovs iface change ofport`.
"""

from __future__ import annotations

from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import traffic

TOPOLOGY = """
chassis: {hv1: $agent}
switches:
  sw0: {ipv4: 10.0.0.0/24}
  sw1: {ipv4: 10.0.1.0/24}
routers:
  lr0:
    ports:
      lr0-sw0: {switch: sw0, mac: "00:00:00:00:00:01", networks: [10.0.0.1/24]}
      lr0-sw1: {switch: sw1, mac: "00:00:00:00:01:01", networks: [10.0.1.1/24]}
ports:
  vm1: {switch: sw0, chassis: hv1}
  vm2: {switch: sw0, chassis: hv1}
  vm3: {switch: sw1, chassis: hv1}
nbctl:
  - create address_set name=barred addresses=8.8.8.8
  - 'acl-add sw0 to-lport 1100 "ip4.src == $$barred && udp.dst == 5000" drop'
  - lb-add lb1 10.0.0.100 10.0.0.3
  - ls-lb-add sw0 lb1
"""


def test_a_set_that_is_made_anew_in_one_transaction_counts(bed: Sandbox) -> None:
    vm1 = bed.ports["vm1"].ip4
    for addresses, passes in ((vm1, False), ("8.8.4.4", True)) * 5:
        bed.nbctl("destroy", "address_set", "barred", "--", "create", "address_set",
                  "name=barred", f"addresses={addresses}")  # fmt: skip
        bed.sync()
        there = traffic.delivers if passes else traffic.blocked
        assert traffic.obeyed(bed, lambda: there(bed, "vm1", "vm2", 5000))  # noqa: B023
    assert traffic.delivers(bed, "vm1", "vm2", 5001)


def test_a_router_port_made_last_joins_its_switch(bed: Sandbox) -> None:
    """The switch's side of the pair is there before it, without its peer."""
    assert traffic.answers(bed, "vm1", "vm3")
    bed.nbctl("--wait=hv", "lrp-del", "lr0-sw1")
    hv1 = bed.chassis["hv1"]
    if hv1.ours:  # the real one was seen to go on forwarding
        assert traffic.silent(bed, "vm1", "vm3")
    bed.nbctl("lrp-add", "lr0", "lr0-sw1", "00:00:00:00:01:01", "10.0.1.1/24")
    bed.sync()
    if not hv1.ours:  # and at times not to take the pair up again by itself
        hv1.appctl("inc-engine/recompute")
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm1", "vm3"))


def runs(bed: Sandbox) -> int:
    return int(bed.chassis["hv1"].appctl("coverage/read-counter", "lflow_run"))


def test_flows_are_run_for_the_option_and_not_for_nb_cfg(bed: Sandbox) -> None:
    def nb_cfg_alone_runs_none() -> bool:
        """What came before may still have had consequences."""
        before = runs(bed)
        bed.sync()
        return runs(bed) == before

    def both_changes_were_seen() -> bool:
        """Ours and northd's, which puts it right; caught together they are none."""
        before = runs(bed)
        bed.sbctl("set", "SB_Global", ".", "options:lb_hairpin_use_ct_mark=false")
        bed.sync()
        return runs(bed) > before

    process.wait_until(nb_cfg_alone_runs_none, 60, "nb_cfg without a run")
    process.wait_until(both_changes_were_seen, 60, "a run for the option")


def test_an_interface_may_have_another_number(bed: Sandbox) -> None:
    hv1, vif = bed.chassis["hv1"], bed.ports["vm1"].vif
    hv1.vsctl("set", "interface", vif, "ofport_request=24")
    process.wait_until(lambda: hv1.vsctl("get", "interface", vif, "ofport") == "24", 60, "24")
    bed.sync()
    assert traffic.obeyed(bed, lambda: traffic.answers(bed, "vm1", "vm2"))
    hv1.vsctl("clear", "interface", vif, "ofport_request")
