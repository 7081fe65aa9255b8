# SPDX-License-Identifier: Apache-2.0
"""Both CPUs at one table that is too small: afterwards all of it fits together."""

from __future__ import annotations

import os
import random
import struct
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.conntrack import Connection, Tuple, now_ms
from tests.bpf.test_ct_room import control, until
from tests.support.kernel import test_run as run_program
from tests.support.tracked import COMMIT, Tracked, tracked, translate

SIZE: Final = 128
PACKETS: Final = 6000  # of each CPU
HOSTS, PORTS = 8, 40


@pytest.fixture(name="ct")
def _ct() -> Iterator[Tracked]:
    with tracked({"ovn_conns": SIZE, "ovn_ct_idx": 2 * SIZE, "ovn_ct_free": SIZE}) as made:
        yield made


def checksum(header: bytes) -> int:
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return int(~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)


def frame(command: int, source: tuple[int, int], target: tuple[int, int]) -> bytes:
    """A UDP packet without a checksum; source and target: address and port."""
    ether = bytes.fromhex("020000000002") + struct.pack("!HIH", 0x0200, command, 0x0800)
    ip = struct.pack("!BBHHHBBHII", 0x45, 0, 28, 0, 0, 64, 17, 0, source[0], target[0])
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return ether + ip + struct.pack("!HHHH", source[1], target[1], 8, 0)


def index(ct: Tracked) -> dict[tuple[int, Tuple], tuple[int, int]]:
    """The whole of ovn_ct_idx: (zone, tuple) -> (connection, direction)."""
    keys = ffi.new("struct ovn_ct_tuple[]", 2 * SIZE)
    values = ffi.new("struct ovn_ct_ref[]", 2 * SIZE)
    cursor, more = ffi.new("uint64_t *"), ffi.new("int *", 1)
    fd = ct.bed.plane.maps["ovn_ct_idx"]
    found: dict[tuple[int, Tuple], tuple[int, int]] = {}
    while more[0]:
        n = lib.ovn_map_dump(fd, cursor, keys, values, 2 * SIZE, 0, more)
        assert n >= 0
        for i in range(n):
            found[keys[i].zone, tuple_of(keys[i])] = (values[i].conn, values[i].dir)
    return found


def tuple_of(key: Any) -> Tuple:
    def wide(words: Any) -> int:
        value = 0
        for each in words:
            value = value << 32 | each
        return value

    return Tuple(wide(key.src), wide(key.dst), key.ports >> 16, key.ports & 0xFFFF)


def check(ct: Tracked) -> list[Connection]:
    """Every connection is in the index by both its tuples, and nothing else is."""
    conns = ct.connections()
    wanted = {}
    for conn in conns:
        assert not conn.flags & (lib.OVN_CONN_BORN | lib.OVN_CONN_DYING)
        wanted[conn.zone, conn.orig] = (conn.id, lib.OVN_CT_ORIG)
        wanted[conn.zone, conn.reply] = (conn.id, lib.OVN_CT_REPLY)
    assert index(ct) == wanted
    assert len(wanted) == 2 * len(conns)
    assert sum(ct.conntrack.zone_counts().values()) == len(conns)
    return conns


def flood(ct: Tracked, cpu: int, commands: list[int], errors: list[BaseException]) -> None:
    """Packets of few tuples, in both directions, as the other CPU sends them too."""
    try:
        os.sched_setaffinity(0, {cpu})
        dice = random.Random(cpu)
        program, device = ct.bed.plane.programs["ovn_vif"], ct.bed.devices["v1"]
        for _ in range(PACKETS):
            host = 0x0A000001 + dice.randrange(HOSTS), 2000 + dice.randrange(PORTS)
            server = 0x08080808, 53
            if dice.random() < 0.3:
                nat = 0xC0000201, 2000 + dice.randrange(PORTS)
                data = frame(dice.choice(commands), server, dice.choice((host, nat)))
            else:
                data = frame(dice.choice(commands), host, server)
            run_program(program, data, ifindex=device)
    except BaseException as error:  # for the test to raise
        errors.append(error)


def test_a_table_that_both_cpus_fight_over_stays_consistent(ct: Tracked) -> None:
    commands = [
        ct.command(COMMIT),
        ct.command(translate(lib.OVN_CT_SRC, "192.0.2.1")),
        ct.command(translate(lib.OVN_CT_SRC, "192.0.2.1", (2000, 2010))),
        ct.command(translate(lib.OVN_CT_NULL_SNAT, "0.0.0.0", zone=8)),
    ]
    control(ct, tick=1, timeout_udp_first=5, timeout_udp_multiple=20)
    ct.conntrack.start()
    errors: list[BaseException] = []
    cpus = sorted(os.sched_getaffinity(0))
    threads = [threading.Thread(target=flood, args=(ct, cpu, commands, errors)) for cpu in cpus[:2]]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        ct.conntrack.kill(ct.connections()[:5])
        ct.conntrack.flush_zone(8)
    for each in threads:
        each.join()
    assert not errors, errors
    control(ct, timeout_udp_first=60_000, timeout_udp_multiple=60_000, timeout_udp_single=60_000)
    until(lambda: all(conn.expires - now_ms() > 30_000 for conn in ct.connections()))
    until(lambda: ct.indexed() == 2 * len(ct.connections()))
    for port in range(4000, 4000 + SIZE):
        ct.bed.run("ovn_vif", frame(commands[0], (0x0A0000FF, port), (1, 1)), ct.bed.devices["v1"])
    counters = ct.conntrack.counters()
    assert counters["created"] > 1000 and counters["expired"] > 0
    ended = sum(v for k, v in counters.items() if k == "expired" or k.startswith("evicted"))
    conns = check(ct)
    assert counters["created"] == ended + len(conns)
    assert len(conns) == SIZE - 1  # every element is in use: none was lost
