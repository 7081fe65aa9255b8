# SPDX-License-Identifier: Apache-2.0
"""Long answers on a real control socket: others are answered meanwhile."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import ovs.poller
import pytest

from ovn_bpf_controller.cli.asking import Refused, transact
from ovn_bpf_controller.errors import DataPlaneError
from ovn_bpf_controller.observe.jobs import Jobs
from ovn_bpf_controller.process.unixctl import Registry, Server


class Agent:
    """A control socket and jobs.  ask() starts a client, serve() goes on until all end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = str(directory / "ctl")
        self.registry, self.jobs = Registry(), Jobs()
        self.server = Server(self.path, self.registry)
        self.clients: list[subprocess.Popen[bytes]] = []

    def command(self, name: str, pieces: Iterator[str]) -> None:
        self.registry.register(name, "", 0, 0, lambda request: self.jobs.start(request, pieces))

    def ask(self, command: str) -> Path:
        """The file with what the client will have printed."""
        output = self.directory / f"{command}.out"
        argv = ["ovs-appctl", "-T", "60", "-t", self.path, command]
        with output.open("wb") as file:
            self.clients.append(subprocess.Popen(argv, stdout=file, stderr=file))
        return output

    def turn(self) -> None:
        self.server.run()
        self.jobs.run()
        poller = ovs.poller.Poller()
        self.server.wait(poller)
        self.jobs.wait(poller)
        poller.timer_wait(20)  # for clients that have ended
        poller.block()

    def serve(self) -> None:
        while any(client.poll() is None for client in self.clients):
            self.turn()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    made = Agent(tmp_path)
    yield made
    made.server.close()
    for client in made.clients:
        client.kill()
        client.wait()


def test_a_short_answer_overtakes_a_long_one(agent: Agent) -> None:
    answered: list[str] = []

    def long() -> Iterator[str]:
        yield "begun "
        while not answered:
            yield "."
        yield "ended"

    def short() -> Iterator[str]:
        answered.append("short")
        yield "here"

    agent.command("long", long())
    agent.command("short", short())
    first = agent.ask("long")
    while not agent.jobs.busy:
        agent.turn()
    second = agent.ask("short")
    agent.serve()
    assert second.read_text() == "here\n"
    said = first.read_text()
    assert said.startswith("begun .") and said.endswith(".ended\n")


def test_what_waits_for_something_is_asked_again(agent: Agent) -> None:
    agent.command("waits", iter(["a", "", "", "b"]))
    output = agent.ask("waits")
    agent.serve()
    assert output.read_text() == "ab\n"


def test_an_error_in_the_middle_is_the_answer(agent: Agent) -> None:
    def pieces() -> Iterator[str]:
        yield "much"
        raise DataPlaneError("no such map")

    agent.command("fails", pieces())
    output = agent.ask("fails")
    agent.serve()
    said = output.read_text()
    assert "no such map" in said and "much" not in said


@pytest.mark.parametrize("name", ["large", "missing"])
def test_our_client_gets_what_ovs_gets(agent: Agent, name: str) -> None:
    """Texts with all that JSON has to quote, more of it than a socket holds; and errors."""
    text = '"\\ \x07 \N{SNOWMAN}\n' * 300_000
    agent.registry.register("large", "", 0, 0, lambda request: text)
    found: list[str] = []

    def ask_ourselves() -> None:
        try:
            found.append(transact(agent.path, name, []))
        except Refused as error:
            found.append(str(error))

    theirs, ours = agent.ask(name), threading.Thread(target=ask_ourselves)
    ours.start()
    while ours.is_alive() or agent.clients[0].poll() is None:
        agent.turn()
    assert found[0] == text if name == "large" else "not a valid command" in found[0]
    assert found[0].strip() in theirs.read_text()
