# SPDX-License-Identifier: Apache-2.0
"""One network, traced by ovn-trace and by our program over the same Southbound.

Network starts everything; differs() compares one packet.  Where ovn-trace says more
than OVN does, or less, its answer is put right first: see as_ovn_controller().
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ovn_bpf_controller.datapath.trace import Given
from tests.support import southbound
from tests.support.ovntrace import OvnTrace
from tests.support.ovsdb import OvnCentral
from tests.support.release import HOST, Release
from tests.support.tracing import Chassis, chassis

_RANDOM = " /* Randomly selected. Use --select-id to specify. */"
_SOLICITATION = re.compile(r"\s*nd_ns( \{|;)")
_ANSWER = re.compile(r"\s*(icmp4|icmp6|tcp_reset|sctp_abort)( \{|;)")
#: Tries until ovn-trace, which chooses at random, chooses as a hash did: a way through
#: two choices among three each is missed with odds of 4e-16.
TRIES = 300


def as_ovn_controller(text: str) -> str:
    """ovn-trace's answer without what our program does not do.

    That is what a request for a next hop goes through in IPv6, which ovn-trace does not
    make a neighbour solicitation; answers to answers, which RFC 1122 and 4443 forbid;
    ICMPv6 errors about ARP; and the packet of a log line, which of an answer ovn-trace
    has other than it is sent.
    """
    found: list[str] = []
    blocks: list[bool] = []  # for each open block: whether nothing in it is answered
    hidden = 0  # open blocks when one began that is left out, 0: none
    for line in text.replace(_RANDOM, "").splitlines(keepends=True):
        opens, closes = line.endswith("{\n"), line.strip() == "};"
        leave = _ANSWER.match(line) is not None and any(blocks)
        leave = leave or _SOLICITATION.match(line) is not None
        if opens:
            blocks.append(bool(_ANSWER.match(line) or line.strip() == "arp {"))
            if leave and not hidden:
                hidden = len(blocks)
        if not hidden and not leave:
            found.append(re.sub(r', packet=".*"', "", line))
        if closes:
            if len(blocks) == hidden:
                hidden = 0
            blocks.pop()
    # A block that lost all it had ends like one that had nothing.
    return re.sub(r" \{\n\s*\};", ";", "".join(found))


class Network:
    """oracle: ovn-trace.  ours: the program on real maps, with all ports local.

    given: to ours, what the packet does not say.
    """

    def __init__(self, oracle: OvnTrace, ours: Chassis, given: Given) -> None:
        self.oracle, self.ours, self.given = oracle, ours, given

    def wanted(self, datapath: str, packet: str) -> str:
        """What ovn-trace --minimal prints, put right."""
        return as_ovn_controller(self.oracle.minimal(datapath, packet))

    def found(self, datapath: str, packet: str) -> str:
        """What ovn-bpf-trace --minimal prints."""
        return as_ovn_controller(self.ours.minimal(datapath, packet, self.given))

    def _answers(self, datapath: str, packet: str) -> Iterator[str]:
        """What ovn-trace may print: it chooses among several targets at random."""
        first = self.oracle.minimal(datapath, packet)
        yield first
        if _RANDOM in first:
            for _ in range(TRIES):
                yield self.oracle.minimal(datapath, packet)

    def differs(self, datapath: str, packet: str) -> str:
        """What to tell of a difference, "" if there is none."""
        found = self.found(datapath, packet)
        if any(found == as_ovn_controller(answer) for answer in self._answers(datapath, packet)):
            return ""
        return (
            f"ovn-trace {datapath} '{packet}'\n{self.wanted(datapath, packet)}\n"
            f"and ours:\n{found}\n"
            f"{self.oracle.trace('--detailed', datapath, packet)}\n"
            f"{self.ours.trace(datapath, packet).text(['detailed'])}"
        )


@contextmanager
def network(
    argv: Sequence[str],
    learnt: Sequence[Sequence[str]] = (),
    release: Release = HOST,
    select_id: int = 0,
    settings: Sequence[str] = (),
) -> Iterator[Network]:
    """argv: for one ovn-nbctl.  learnt: see topologies.Topology.  select_id: the target
    that both choose, where it is one.  settings: of NB_Global, columns and values.

    northd writes to NB_Global, too.  An ovn-nbctl whose transaction is refused for that
    makes it again, and with much in it that of 26.03 aborts: so they are set alone.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        OvnCentral(Path(name), release=release) as central,
    ):
        if settings:
            central.nbctl("set", "NB_Global", ".", *settings)
        central.nbctl(*argv)
        central.sync()
        if learnt:
            central.sbctl(*_rows(central, learnt))
        options = [f"--select-id={select_id}"] if select_id else []
        with OvnTrace(Path(name), central, *options) as oracle, chassis(central.sb) as ours:
            yield Network(oracle, ours, Given(select_id=select_id))


def _rows(central: OvnCentral, learnt: Sequence[Sequence[str]]) -> list[str]:
    """Arguments of ovn-sbctl for rows that a chassis would have written."""
    datapaths = {
        row["external_ids"]["name"]: row["tunnel_key"]
        for row in southbound.rows(central.sb, "Datapath_Binding").values()
    }
    ports = {
        row["logical_port"]: row for row in southbound.rows(central.sb, "Port_Binding").values()
    }
    argv: list[str] = []
    for where, what, who in learnt:
        if where in datapaths:
            row = ["FDB", f'mac="{what}"', f"dp_key={datapaths[where]}"]
            row.append(f"port_key={ports[who]['tunnel_key']}")
        else:
            row = ["MAC_Binding", f"logical_port={where}", f'ip="{what}"', f'mac="{who}"']
            row.append(f"datapath={ports[where]['datapath']}")
        argv += ["--", "create", *row] if argv else ["create", *row]
    return argv
