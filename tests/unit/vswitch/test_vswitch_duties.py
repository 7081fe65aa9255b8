# SPDX-License-Identifier: Apache-2.0
"""The duties as pure decisions: ofports stay unique and stable whatever happens."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ovn_bpf_controller import plaindata
from ovn_bpf_controller.ovsdb.local_tables import Bridge, Interface, OpenVSwitch
from ovn_bpf_controller.underlay.links import NetDevice
from ovn_bpf_controller.vswitch.duties import LOCAL_OFPORT, Duties, Switch, SwitchWrites
from ovn_bpf_controller.vswitch.service import vswitchd_runs

ROW = OpenVSwitch("row", next_cfg=3, cur_cfg=1)
BRIDGE = Bridge("b", name="br-int", other_config={"hwaddr": "02:AA:00:00:00:01"})
NAMES = ("t1", "t2", "t3", "t4")


def device(name: str) -> NetDevice:
    return NetDevice(10 + NAMES.index(name), name, "02:00:00:00:00:01", 1500, True, True)


class Database:
    """Applies writes to rows, as the server would."""

    def __init__(self) -> None:
        self.row = ROW
        self.bridge = BRIDGE
        self.interfaces = {"br-int": Interface("local", name="br-int", type="internal")}

    @property
    def switch(self) -> Switch:
        return Switch(self.row, ((self.bridge, tuple(self.interfaces.values())),))

    def apply(self, writes: SwitchWrites) -> None:
        self.row = plaindata.replace(self.row, **writes.switch)
        self.bridge = plaindata.replace(self.bridge, **writes.bridges.get("b", {}))
        for name, iface in self.interfaces.items():
            columns = writes.interfaces.get(iface.uuid, {})
            self.interfaces[name] = plaindata.replace(iface, **columns)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "del", "appear", "vanish", "request"]),
        st.sampled_from(NAMES),
        st.integers(1, 4),
    ),
    max_size=30,
)


@given(STEPS)
def test_ofports_are_unique_and_stable(steps: list[tuple[str, str, int]]) -> None:
    database, duties = Database(), Duties("1.2.3")
    devices: dict[str, NetDevice] = {}
    given_out: dict[str, int] = {}
    for action, name, number in steps:
        row = database.interfaces.get(name)
        if action == "add":
            database.interfaces.setdefault(name, Interface(f"u-{name}", name=name))
        elif action == "del":
            database.interfaces.pop(name, None)
            given_out.pop(name, None)
        elif action == "appear":
            devices[name] = device(name)
        elif action == "vanish":
            devices.pop(name, None)
        elif row is not None:
            database.interfaces[name] = plaindata.replace(row, ofport_request=number)
        writes = duties.decide(database.switch, devices)
        database.apply(writes)
        assert not duties.decide(database.switch, devices), "not at rest"
        ports = {i.name: i.ofport or 0 for i in database.interfaces.values()}
        live = [port for port in ports.values() if port != -1]
        assert len(set(live)) == len(live) and all(port > 0 for port in live)
        for iface in database.interfaces.values():
            if iface.name == "br-int":
                assert iface.ofport == LOCAL_OFPORT and iface.error is None
            elif iface.name not in devices:
                assert iface.ofport == -1 and "No such device" in (iface.error or "")
                assert iface.ifindex is None and iface.link_state is None
            else:
                assert iface.ofport != -1 and iface.error is None
                assert iface.ifindex == devices[iface.name].ifindex
                before = given_out.get(iface.name)
                asked = {i.ofport_request for i in database.interfaces.values()}
                if before is not None and not asked - {None}:
                    assert iface.ofport == before
                given_out[iface.name] = iface.ofport or 0


def test_one_transaction_carries_ofports_and_cur_cfg() -> None:
    database = Database()
    database.interfaces["t1"] = Interface("u", name="t1")
    writes = Duties("1.2.3").decide(database.switch, {"t1": device("t1")})
    assert writes.switch["cur_cfg"] == 3 and writes.switch["ovs_version"] == "1.2.3"
    assert writes.interfaces["u"]["ofport"] == 1
    assert writes.bridges["b"]["datapath_id"] == "000002aa00000001"


def test_types_that_need_ovs_are_refused_with_a_reason() -> None:
    database = Database()
    database.interfaces["t1"] = Interface("u", name="t1", type="geneve")
    writes = Duties("1.2.3").decide(database.switch, {})
    assert writes.interfaces["u"]["ofport"] == -1
    assert (
        writes.interfaces["u"]["error"] == "t1: type geneve is not supported without ovs-vswitchd"
    )


def test_a_locked_pidfile_is_a_running_vswitchd(tmp_path: Path) -> None:
    pidfile = tmp_path / "ovs-vswitchd.pid"
    assert not vswitchd_runs(pidfile)
    pidfile.write_text("1\n")
    assert not vswitchd_runs(pidfile)
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(pidfile)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == b"locked\n"
        assert vswitchd_runs(pidfile)
        # Only asked, never taken: the daemon could still lock it after us.
        with pidfile.open("r+") as own:
            try:
                fcntl.lockf(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raise AssertionError("the other process lost its lock")
            except BlockingIOError:
                pass
        other.stdin.close()
    assert not vswitchd_runs(pidfile)
