# SPDX-License-Identifier: Apache-2.0
"""dpctl's commands about connections: our answers are Open vSwitch's to the character.

The same traffic and the same expectations for ours and for a real ovs-vswitchd.
"""

from __future__ import annotations

import re

import pytest

from ovn_bpf_controller.errors import SandboxError
from ovn_bpf_controller.sandbox import process
from ovn_bpf_controller.sandbox.bed import Sandbox
from tests.support import conntrack, talk

ANNOUNCED = ()
TOPOLOGY = """
chassis: {hv1: $agent}
switches: {ls1: {ipv4: 192.168.1.0/24, ipv6: "fd11::/64"}}
ports:
  p1: {switch: ls1, chassis: hv1}
  p2: {switch: ls1, chassis: hv1}
"""
ACL = ("to-lport", "1", "ip", "allow-related")
LABEL = 17
LABELS = f"labels={LABEL << 96:#x}"
SOURCE, TARGET = 40001, 4242


@pytest.fixture(scope="module", autouse=True)
def labelled(bed: Sandbox) -> None:
    bed.nbctl("--wait=hv", f"--label={LABEL}", "acl-add", "ls1", *ACL)


@pytest.fixture(autouse=True)
def forgotten(bed: Sandbox) -> None:
    bed.sync()
    conntrack.flush(bed)


def ask(bed: Sandbox, *arguments: str) -> str:
    return conntrack.command(bed.chassis["hv1"], *arguments)


def addresses(bed: Sandbox) -> tuple[str, str]:
    return bed.ports["p1"].ip4, bed.ports["p2"].ip4


def zone(bed: Sandbox) -> int:
    return conntrack.zone(bed.chassis["hv1"], "p2")


def tuples(bed: Sandbox, source: int = SOURCE, target: int = TARGET) -> str:
    one, two = addresses(bed)
    return (
        f"orig=(src={one},dst={two},sport={source},dport={target}),"
        f"reply=(src={two},dst={one},sport={target},dport={source})"
    )


def in_zone(bed: Sandbox, *options: str) -> list[str]:
    return ask(bed, "dpctl/dump-conntrack", *options, f"zone={zone(bed)}").splitlines()


def test_an_established_connection_to_the_character(bed: Sandbox) -> None:
    with talk.Tcp(bed, "p1", "p2", addresses(bed)[1], TARGET, source_port=SOURCE) as tcp:
        tcp.exchange()
        tail = f",zone={zone(bed)},{LABELS}"
        assert in_zone(bed) == [f"tcp,{tuples(bed)}{tail},protoinfo=(state=ESTABLISHED)"]
        (more,) = in_zone(bed, "-m")
        wscale = re.search(r"wscale_orig=(\d+),wscale_reply=(\d+)", more)
        assert wscale
        info = f"state_orig=ESTABLISHED,state_reply=ESTABLISHED,{wscale[0]}"
        info += ",flags_orig=WINDOW_SCALE,flags_reply=WINDOW_SCALE"
        status = tail.replace(",labels", ",status=0,labels")
        assert more == f"tcp,{tuples(bed)},id=0{status},protoinfo=({info})"
        (stats,) = in_zone(bed, "--statistics")
        left = re.search(r",timeout=(\d+),labels=", stats)
        assert left and 86000 < int(left[1]) <= 86400


def test_a_datagram_and_an_echo_to_the_character(bed: Sandbox) -> None:
    one, two = (bed.ports[name].ip6 for name in ("p1", "p2"))
    assert talk.pings(bed, "p1", two)
    with talk.Udp(bed, "p1", "p2", addresses(bed)[1], TARGET, source_port=SOURCE):
        lines = sorted(in_zone(bed))
    tail = f",zone={zone(bed)},{LABELS}"
    assert lines[1] == f"udp,{tuples(bed)}{tail}"
    assert re.sub(r"id=\d+", "id=", lines[0]) == (
        f"icmpv6,orig=(src={one},dst={two},id=,type=128,code=0),"
        f"reply=(src={two},dst={one},id=,type=129,code=0){tail}"
    )


def test_a_connection_without_an_answer_and_one_that_ended(bed: Sandbox) -> None:
    with talk.Tcp(bed, "p1", "p2", addresses(bed)[1], TARGET, source_port=SOURCE) as tcp:
        tcp.finish()
        process.wait_until(
            lambda: in_zone(bed)[0].endswith("protoinfo=(state=TIME_WAIT)"),
            30,
            "the last acknowledgement, which nobody waits for",
        )


def test_one_connection_is_flushed_by_its_tuple(bed: Sandbox) -> None:
    one, two = addresses(bed)
    with (
        talk.Udp(bed, "p1", "p2", two, TARGET, source_port=SOURCE),
        talk.Udp(bed, "p1", "p2", two, TARGET + 1, source_port=SOURCE + 1),
    ):
        which = f"ct_nw_src={one},ct_nw_dst={two},ct_nw_proto=17,ct_tp_src={SOURCE}"
        ask(bed, "dpctl/flush-conntrack", f"zone={zone(bed)}", f"{which},ct_tp_dst={TARGET}")
        (left,) = in_zone(bed)
        assert tuples(bed, SOURCE + 1, TARGET + 1) in left


def test_flushed_by_part_of_a_tuple(bed: Sandbox) -> None:
    two = addresses(bed)[1]
    with (
        talk.Udp(bed, "p1", "p2", two, TARGET, source_port=SOURCE),
        talk.Udp(bed, "p1", "p2", two, TARGET + 1, source_port=SOURCE + 1),
    ):
        ask(bed, "dpctl/flush-conntrack", f"ct_nw_proto=17,ct_tp_dst={TARGET}")
        assert [tuples(bed, SOURCE + 1, TARGET + 1) in line for line in in_zone(bed)] == [True]
        ask(bed, "dpctl/flush-conntrack", "", f"ct_nw_proto=17,ct_tp_src={TARGET + 1}")
        assert in_zone(bed) == []


def test_counts(bed: Sandbox) -> None:
    with talk.Tcp(bed, "p1", "p2", addresses(bed)[1]):
        assert talk.pings(bed, "p1", addresses(bed)[1])
        assert ask(bed, "dpctl/ct-get-nconns").strip() == str(len(conntrack.dump(bed)))
        assert ask(bed, "dpctl/ct-stats-show", f"zone={zone(bed)}").splitlines() == [
            "Connections Stats:",
            "    Total: 2",
            "  TCP: 1",
            "  ICMP: 1",
        ]
        more = ask(bed, "dpctl/ct-stats-show", "-m", f"zone={zone(bed)}")
        assert "  TCP: 1\n    Conn per TCP states:\n\t  [ESTABLISHED]=1\n" in more


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("dump-conntrack bogus", "ovs-vswitchd: datapath not found (Invalid argument)"),
        ("dump-conntrack --bogus", "Unrecognized option --bogus"),
        ("dump-conntrack -q", "Unrecognized option -q"),
        ("flush-conntrack zone=x", "ovs-vswitchd: failed to parse zone (Invalid argument)"),
        (
            "flush-conntrack ct_tp_src=1",
            "ovs-vswitchd: port is set without protocol (Invalid argument)",
        ),
        (
            "flush-conntrack foo=1",
            "ovs-vswitchd: invalid conntrack tuple field: foo (Invalid argument)",
        ),
        ("flush-conntrack bogus", "ovs-vswitchd: field bogus missing value (Invalid argument)"),
        (
            "flush-conntrack ct_nw_src=1.1.1.1,ct_nw_dst=1.1.1.2,ct_nw_proto=17,"
            "ct_tp_src=1,ct_tp_dst=2",
            "ovs-vswitchd: failed to flush conntrack (No such file or directory)",
        ),
    ],
)
def test_mistakes_are_told_in_the_same_words(bed: Sandbox, command: str, problem: str) -> None:
    with pytest.raises(SandboxError) as refused:
        ask(bed, *f"dpctl/{command}".split())
    assert problem in str(refused.value)
