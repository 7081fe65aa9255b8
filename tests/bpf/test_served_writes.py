# SPDX-License-Identifier: Apache-2.0
"""The maps from which the program answers by itself, while agents write them.

Another agent adopts them, they can be full, and they change under the program's eyes.
"""

from __future__ import annotations

import random
import threading

from ovn_bpf_controller._native import ffi, lib
from ovn_bpf_controller.datapath.maps import map_info
from ovn_bpf_controller.datapath.served import Answers, Template
from ovn_bpf_controller.slowpath import templates
from tests.support.asked import GUEST, NAMES, dns_frame, request
from tests.support.served import ANSWERED, LEFT, Network


def test_another_agent_writes_only_what_is_different(network: Network) -> None:
    one, other = Template(b"a" * 300, offer=1), Template(b"b", offer=2)
    network.answers.change_templates([], {(1, 7, 0): one, (1, 8, 0): other})
    network.answers.set_names(templates.names({1: NAMES, 2: {}}))
    before = {name: versions(network, name) for name in ("ovn_templates", "ovn_names")}
    second = Answers(network.bed.plane.maps)
    second.adopt()
    assert second.templates() == {(1, 7, 0), (1, 8, 0)}
    second.change_templates([(1, 8, 0)], {(1, 7, 0): one})
    second.set_names(templates.names({1: {**NAMES, "vm.ovn.org": ("10.9.9.9", False)}}))
    after = {name: versions(network, name) for name in before}
    kept = {n: {k: v for k, v in before[n].items() if after[n].get(k) == v} for n in before}
    assert len(kept["ovn_templates"]) == len(after["ovn_templates"]) == 1
    assert len(after["ovn_names"]) == len(before["ovn_names"]) - 1
    assert len(kept["ovn_names"]) == len(after["ovn_names"]) - 1


def versions(network: Network, name: str) -> dict[bytes, bytes]:
    """Of every element."""
    kind = {"ovn_templates": "ovn_template", "ovn_names": "ovn_name"}[name]
    at = ffi.offsetof(f"struct {kind}", "first")
    fd = network.bed.plane.maps[name]
    key_size, size = map_info(fd).key_size, map_info(fd).value_size
    keys, values = ffi.new("char[]", 1024 * key_size), ffi.new("char[]", 1024 * size)
    more = ffi.new("int *")
    count = lib.ovn_hash_dump(fd, ffi.new("uint64_t *"), keys, values, 1024, more)
    assert not more[0]
    names, read = bytes(ffi.buffer(keys)), bytes(ffi.buffer(values))
    return {
        names[n * key_size : (n + 1) * key_size]: read[n * size + at : n * size + at + 8]
        for n in range(count)
    }


def test_what_finds_no_room_is_left_to_the_process(network: Network) -> None:
    room = map_info(network.bed.plane.maps["ovn_names"]).max_entries
    many = {f"vm{n}.ovn.org": ("10.0.0.4", False) for n in range(room)}
    network.ask("udp.dst == 53", "dns_lookup()")
    network.arguments()
    assert network.answers.set_names(templates.names({1: many, 2: NAMES})) == room + 1
    assert network.outcome(dns_frame())[0] == LEFT
    assert not network.answers.set_names(templates.names({1: NAMES}))
    assert network.outcome(dns_frame())[0] == ANSWERED
    full = {(1, n, 0): Template(b"") for n in range(room + 5)}
    assert network.answers.change_templates([], full) == 5


def test_no_reply_is_half_of_one_and_half_of_another(network: Network) -> None:
    """The agent overwrites what the program reads, and elements whose memory it takes."""
    network.ask(f"eth.src == {GUEST} && udp.dst == 67", "put_dhcp_opts(offerip = 10.0.0.5)")
    [number] = network.arguments()
    texts = [bytes((15, 250, *(byte,) * 250)) * 2 for byte in b"abcd"]
    made = [Template(text, offer=0x0A000005) for text in texts]
    for key in range(3):
        network.answers.change_templates([], {(1, 1000 + key, 0): made[key]})
    stop = threading.Event()

    def write() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            network.answers.change_templates(
                [(1, 1000 + (turn + 1) % 3, 0)],
                {(1, number, 0): made[turn % 4], (1, 1000 + turn % 3, 0): made[(turn + 1) % 4]},
            )

    network.answers.change_templates([], {(1, number, 0): made[0]})
    frame = request(random.Random(2), GUEST, "10.0.0.5")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [network.outcome(frame) for _ in range(1000)]
    finally:
        stop.set()
        writer.join()
    seen = {data[42 + 243 : -9] for what, data in found if what == ANSWERED}
    assert seen <= set(texts) and len(seen) > 1, len(seen)
    left = sum(what == LEFT for what, _ in found)
    assert left < 500
