# SPDX-License-Identifier: Apache-2.0
"""The agent hears at once that its first lesson is in force: until then no port is up."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from ovn_bpf_controller.datapath.punts import Punts
from ovn_bpf_controller.slowpath import service
from ovn_bpf_controller.slowpath.duty import Verbs
from ovn_bpf_controller.slowpath.knowledge import Knowledge, Teacher
from tests.support.dataplane import DEADLINE, bed


def test_the_first_lesson_is_answered_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "TELL_SECONDS", 100 * DEADLINE)
    with bed() as plane:
        maps = plane.plane.maps
        punts = Punts(maps, plane.plane.programs["ovn_resume"], plane.plane.directory)
        ours, theirs = socket.socketpair()
        knowledge = Knowledge()
        teacher = Teacher(theirs.detach(), knowledge)
        ours.sendall(b'{"lesson": 7}\n')
        teacher.run()  # as the process does before it has rings of its own
        served = service.Service(punts, teacher, knowledge, [Verbs("none", {})])
        wake, writer = os.pipe()
        over = threading.Event()
        thread = threading.Thread(target=served.run, args=(over.is_set, wake))
        thread.start()
        try:
            ours.settimeout(DEADLINE)
            assert json.loads(ours.recv(1 << 16).split(b"\n")[0])["lesson"] == 7
        finally:
            over.set()
            os.write(writer, b"x")
            thread.join()
            for fd in (wake, writer):
                os.close(fd)
            ours.close()
            os.close(teacher.fd)
            punts.close()
