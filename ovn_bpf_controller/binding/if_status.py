# SPDX-License-Identifier: Apache-2.0
"""The life of a claimed port: when its binding, `up` and `ovn-installed` are written.

A CMS starts a VM when it sees `up` or `ovn-installed`, so both must mean that
packets pass: the Southbound has confirmed the binding, all it has to say about
the datapath has arrived, the data plane runs a generation made after that, and the
port's device runs its program.  Called once per iteration by the engine.  States are
ovn-controller's (if-status.c); writes are repeated until the database shows them, so
that a lost one does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from enum import Enum

from ovn_bpf_controller.binding.claims import Bind, Claim, PortType, port_type
from ovn_bpf_controller.binding.view import Interface
from ovn_bpf_controller.ovsdb.tables import PortBinding
from ovn_bpf_controller.plaindata import dataclass, field

INSTALLED = "ovn-installed"
INSTALLED_TS = "ovn-installed-ts"
# ovn-controller's CLAIM_TIME_THRESHOLD_MS: two chassis that both have the device
# take turns at most this often.
CLAIM_INTERVAL_MS = 500
# What is given back when nothing here is plugged for it any more.
_RELEASED = (
    PortType.VIF,
    PortType.CONTAINER,
    PortType.LOCALPORT,
    PortType.VIRTUAL,
    PortType.MIRROR,
)


class State(Enum):
    """Where a port stands; only INSTALLED is quiet."""

    CLAIMED = "CLAIMED"
    WAITING_SB_COND = "WAITING_SB_COND"
    INSTALL_FLOWS = "INSTALL_FLOWS"
    MARK_UP = "MARK_UP"
    INSTALLED = "INSTALLED"


@dataclass(slots=True)
class _Port:
    state: State
    iface: str
    ifindex: int
    install_seq: int = 0

    def live(self, acked: int, unready: Set[int]) -> bool:
        """Whether packets pass: see Moment."""
        return self.install_seq <= acked and self.ifindex not in unready


@dataclass(frozen=True, slots=True)
class PortWrite:
    """A wish about one Port_Binding row; None leaves a column alone.

    chassis, additional: True makes us that, False takes us off.  encap: an Encap
    row, "" clears it.  drop_encaps: to take out of additional_encap.  guarded:
    write only if `chassis` is still us.
    """

    row: PortBinding
    chassis: bool | None = None
    additional: bool | None = None
    up: bool | None = None
    encap: str | None = None
    drop_encaps: tuple[str, ...] = ()
    clear_virtual_parent: bool = False
    guarded: bool = True


@dataclass(slots=True)
class Writes:
    """What one iteration wants written; wake_ms: monotonic time to look again."""

    ports: list[PortWrite] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)
    uninstalled: list[str] = field(default_factory=list)
    wake_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What the machine is told about the world in one iteration.

    seq: number of this iteration's desired state.  acked: newest seq that is live
    in the data plane.  settled: the server has answered every condition.
    chassis: uuid of our row.  encaps: ip -> uuid of our Encap rows.  unready: devices
    (ifindex) whose packets do not reach the data plane yet.
    """

    now_ms: int
    seq: int
    acked: int
    settled: bool
    chassis: str
    encaps: Mapping[str, str]
    unready: Set[int] = frozenset()


class IfStatus:
    """State machines of all ports that are plugged here."""

    def __init__(self) -> None:
        self._ports: dict[str, _Port] = {}
        self._claimed_ms: dict[str, int] = {}

    def states(self) -> dict[str, State]:
        """For debug output."""
        return {name: port.state for name, port in self._ports.items()}

    def due(self, acked: int, unready: Set[int]) -> bool:
        """Does a port wait for nothing but to hear this?  See Moment."""
        return any(
            port.state is State.INSTALL_FLOWS and port.live(acked, unready)
            for port in self._ports.values()
        )

    def run(
        self,
        moment: Moment,
        claims: Mapping[str, Claim],
        bound: Iterable[PortBinding],
        interfaces: Iterable[Interface],
    ) -> Writes:
        """Advance every port and say what to write.

        claims: from ClaimRules.  bound: rows that name us as their chassis.
        interfaces: everything on the integration bridge.
        """
        writes = Writes()
        wanted = {name: claim for name, claim in claims.items() if claim.bind is not Bind.NO}
        for name in self._ports.keys() - wanted.keys():
            del self._ports[name]
        for name, claim in wanted.items():
            self._advance(moment, name, claim, writes)
        # While conditions are open a binding of ours may just not be visible yet.
        if moment.settled:
            for row in bound:
                self._release(moment, row, wanted, writes)
            _withdraw(interfaces, wanted, writes)
        self._forget(moment.now_ms, wanted)
        return writes

    # --- one port ---------------------------------------------------------

    def _advance(self, moment: Moment, name: str, claim: Claim, writes: Writes) -> None:
        mine = _is_mine(moment.chassis, claim)
        port = self._ports.get(name)
        if port is None or port.iface != claim.iface.uuid:
            done = mine and _shows_up(claim) and _shows_installed(claim)
            state = State.INSTALLED if done else State.CLAIMED
            port = _Port(state, claim.iface.uuid, claim.iface.ifindex)
            self._ports[name] = port
        elif not mine and port.state is not State.CLAIMED:
            port.state = State.CLAIMED
        elif port.state is State.INSTALLED and not (_shows_up(claim) and _shows_installed(claim)):
            port.state = State.CLAIMED
        port.ifindex = claim.iface.ifindex
        self._step(moment, port, claim, mine)
        self._write(moment, name, port, claim, mine, writes)

    def _step(self, moment: Moment, port: _Port, claim: Claim, mine: bool) -> None:
        if port.state is State.CLAIMED and mine:
            port.state = State.WAITING_SB_COND
        if port.state is State.WAITING_SB_COND and moment.settled:
            port.state = State.INSTALL_FLOWS
            port.install_seq = moment.seq
        if port.state is State.INSTALL_FLOWS and port.live(moment.acked, moment.unready):
            port.state = State.MARK_UP
        if port.state is State.MARK_UP and _shows_up(claim) and _shows_installed(claim):
            port.state = State.INSTALLED

    def _write(
        self, moment: Moment, name: str, port: _Port, claim: Claim, mine: bool, writes: Writes
    ) -> None:
        encap = _encap(moment, claim)
        if port.state is State.CLAIMED:
            if self._may_claim(moment, name, claim, writes):
                writes.ports.append(_claim_write(claim, encap))
            _uninstall(claim, writes)
        elif port.state in (State.WAITING_SB_COND, State.INSTALL_FLOWS):
            # A stale `up` would promise what is not there yet.
            down = claim.bind is Bind.MAIN and claim.row.up is True
            if down or encap is not None:
                writes.ports.append(PortWrite(claim.row, up=False if down else None, encap=encap))
            _uninstall(claim, writes)
        else:
            up = port.state is State.MARK_UP and claim.row.up is False
            if (up and claim.bind is Bind.MAIN) or encap is not None:
                writes.ports.append(PortWrite(claim.row, up=True if up else None, encap=encap))
            if port.state is State.MARK_UP and not _shows_installed(claim):
                writes.installed.append(claim.iface.uuid)

    def _may_claim(self, moment: Moment, name: str, claim: Claim, writes: Writes) -> bool:
        """False while we would snatch the port back too soon."""
        held = claim.bind is Bind.MAIN and claim.row.chassis is not None
        due = self._claimed_ms.get(name, -CLAIM_INTERVAL_MS) + CLAIM_INTERVAL_MS
        if held and moment.now_ms < due:
            writes.wake_ms = min(due, writes.wake_ms or due)
            return False
        return True

    def claim_sent(self, lport: str, now_ms: int) -> None:
        """The write that claims `lport` is on its way: the 500 ms start."""
        self._claimed_ms[lport] = now_ms

    def _release(
        self, moment: Moment, row: PortBinding, wanted: Mapping[str, Claim], writes: Writes
    ) -> None:
        if port_type(row) not in _RELEASED:
            return
        claim = wanted.get(row.logical_port)
        if row.chassis == moment.chassis and (claim is None or claim.bind is Bind.ADDITIONAL):
            writes.ports.append(release_write(row, moment.chassis))
        elif moment.chassis in row.additional_chassis and (
            claim is None or claim.bind is Bind.MAIN
        ):
            ours = set(moment.encaps.values()) & set(row.additional_encap)
            encaps = tuple(sorted(ours))
            writes.ports.append(PortWrite(row, additional=False, drop_encaps=encaps, guarded=False))

    def _forget(self, now_ms: int, wanted: Mapping[str, Claim]) -> None:
        limit = now_ms - 5 * CLAIM_INTERVAL_MS
        for name in [n for n, at in self._claimed_ms.items() if at < limit and n not in wanted]:
            del self._claimed_ms[name]


def release_write(row: PortBinding, chassis: str) -> PortWrite:
    """Give a binding of ours back, whole."""
    return PortWrite(
        row,
        chassis=False,
        additional=False if chassis in row.additional_chassis else None,
        up=False if row.up else None,
        encap="" if row.encap else None,
        clear_virtual_parent=row.virtual_parent is not None,
    )


def _claim_write(claim: Claim, encap: str | None) -> PortWrite:
    if claim.bind is Bind.ADDITIONAL:
        return PortWrite(claim.row, additional=True, encap=encap, guarded=False)
    down = False if claim.row.up else None
    return PortWrite(claim.row, chassis=True, up=down, encap=encap, guarded=False)


def _is_mine(chassis: str, claim: Claim) -> bool:
    if claim.bind is Bind.ADDITIONAL:
        return chassis in claim.row.additional_chassis
    return claim.row.chassis == chassis


def _shows_up(claim: Claim) -> bool:
    """`up` needs no (more) writing: it is true, or there is no such column."""
    return claim.row.up is not False or claim.bind is Bind.ADDITIONAL


def _shows_installed(claim: Claim) -> bool:
    # Several ports share a device: only the VIF itself is announced on it.
    if not claim.owns_device:
        return True
    return claim.iface.external_ids.get(INSTALLED, "").lower() == "true"


def _uninstall(claim: Claim, writes: Writes) -> None:
    if claim.owns_device and INSTALLED in claim.iface.external_ids:
        writes.uninstalled.append(claim.iface.uuid)


def _withdraw(interfaces: Iterable[Interface], wanted: Mapping[str, Claim], writes: Writes) -> None:
    """Take ovn-installed off interfaces that carry no port of ours any more."""
    live = {claim.iface.uuid for claim in wanted.values() if claim.owns_device}
    for iface in interfaces:
        if INSTALLED in iface.external_ids and iface.uuid not in live:
            writes.uninstalled.append(iface.uuid)


def _encap(moment: Moment, claim: Claim) -> str | None:
    """What Port_Binding.encap must become: a uuid, "" to clear, None if right.

    Only the main chassis owns the column; Interface.external_ids:encap-ip chooses.
    """
    wanted = moment.encaps.get(claim.iface.external_ids.get("encap-ip", ""))
    if claim.bind is Bind.ADDITIONAL:
        return wanted if wanted and wanted not in claim.row.additional_encap else None
    return None if wanted == claim.row.encap else wanted or ""
