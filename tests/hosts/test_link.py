# SPDX-License-Identifier: GPL-2.0-or-later
"""The near end: requests without an answer, agents that stop or send invalid data, consoles in both directions."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.agent import frames
from snp_harness.agent.mux import DescriptorPort
from snp_harness.hosts import link as link_module
from snp_harness.hosts.agent_process import AgentProcess, ProcessHost
from snp_harness.hosts.host_errors import HostError, HostLostError, HostTimeoutError
from snp_harness.hosts.link import Link
from snp_harness.launch.tokens import FILE, token
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.rundir import RunDirectory
from tests.vm.qemus import IDLE

#: The start of a script that greets as an agent does.
GREET = f"import os, sys; os.write(1, {frames.GREETING!r}"
#: The end of a script: it waits until the near side closes the stream.
UNTIL_CLOSED = "sys.stdin.buffer.read()"


class FakeAgent(AgentProcess):
    """A process that the test runs in place of the agent."""

    def __init__(self, code: str) -> None:
        super().__init__([sys.executable, "-c", code])


class Scripted(ProcessHost):
    """A host whose agent is a script."""

    code = ""

    def connect(self) -> AgentProcess:
        return FakeAgent(self.code)


@pytest.fixture
def host(cache: Path) -> Iterator[ProcessHost]:
    made = ProcessHost()
    yield made
    made.close()


def agent_of(link: Link) -> int:
    return int(link.call("hello", patience_s=30)["pid"])


def test_an_agent_that_does_not_answer(host: ProcessHost) -> None:
    link = host.link()
    agent = agent_of(link)
    os.kill(agent, signal.SIGSTOP)
    with pytest.raises(HostTimeoutError, match=r"^local: no answer to find in 0\.2 s, nothing received for \d+ s"):
        link.call("find", 0.2, qemu=None)
    os.kill(agent, signal.SIGCONT)
    assert agent_of(link) == agent


def test_an_agent_that_is_silent_for_long_is_lost(host: ProcessHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "PING_S", 0.1)
    link = host.link()
    agent = agent_of(link)
    os.kill(agent, signal.SIGSTOP)
    monkeypatch.setattr(link_module, "PATIENCE_S", 0.5)
    waiting = link.ask("find", qemu=None)
    assert isinstance(waiting.exception(60), HostLostError)
    assert link.error is not None
    assert "nothing was received for" in link.error.message
    # A later request fails at once.
    assert isinstance(link.ask("hello").exception(0), HostLostError)
    os.kill(agent, signal.SIGCONT)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('welcome')", "ended with status 0"),
        ("import sys; sys.exit('no way')", "its last words: no way"),
        ("import os; os.write(1, b'x' * 100000)", "the harness's agent on this machine"),
        (f"{GREET} + b'nonsense' * 9); {UNTIL_CLOSED}", "is lost"),
        (f"{GREET} + b'\\2\\0\\0\\0\\0\\0\\0[]'); {UNTIL_CLOSED}", "not a JSON object"),
    ],
)
def test_something_else_than_an_agent(code: str, said: str) -> None:
    host = Scripted()
    host.code = code
    with pytest.raises(HostError) as caught:
        host.link()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 128


def test_answers_to_nothing_and_events_of_nobody_are_dropped() -> None:
    ours, theirs = socket.socketpair()
    link = Link("x", DescriptorPort(ours.fileno(), ours.fileno()), b"first", HostLostError, ours.close)
    with theirs:
        assert theirs.recv(5) == b"first"
        theirs.sendall(frames.GREETING)
        for message in ({"id": 99, "ok": 1}, {"id": [], "ok": 1}, {"event": "exit", "run": "r9"}, {"event": 3}, {}):
            theirs.sendall(frames.encode_control(message))
        theirs.sendall(frames.encode(frames.DATA, 7, b"for nobody"))
        asked = link.ask("hello")
        theirs.sendall(frames.encode_control({"id": 1, "ok": "here"}))
        assert asked.result(120) == "here"
    assert isinstance(link.ask("hello").exception(120), HostLostError)
    link.close()


@pytest.mark.tcg
def test_a_console_in_both_directions(host: ProcessHost, tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out", "test")
    arguments = [*IDLE, "-name", "there", "-mon", "chardev=serial,mode=readline"]
    devices = Devices(consoles={"serial": rundir.SERIAL})
    with host.machine(host.qemu(None), arguments, directory, devices) as machine:
        console = machine.console("serial")
        console.expect(r"\(qemu\) ", 60)
        console.send("info name\n")
        console.expect(r"there", 60)
        console.send("quit\n")
        assert machine.loop.run_until(lambda: machine.ended, 60)
        machine.raise_if_failed()
    assert "info name" in (tmp_path / "out" / rundir.SERIAL).read_text().replace("\x1b[K", "").replace("\x1b[D", "")


@pytest.mark.tcg
def test_what_a_console_says_last_comes_home(host: ProcessHost, tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out", "test")
    arguments = [*IDLE, "-mon", "chardev=serial,mode=readline"]
    devices = Devices(consoles={"serial": rundir.SERIAL})
    with host.machine(host.qemu(None), arguments, directory, devices) as machine:
        machine.console("serial").send("help\nquit\n")
        assert machine.loop.run_until(lambda: machine.ended, 60)
    text = (tmp_path / "out" / rundir.SERIAL).read_text()
    # The last command of a long list.
    assert "xp /fmt addr" in text or "x_colo_lost_heartbeat" in text


@pytest.mark.tcg
def test_a_file_from_here_is_read_there(host: ProcessHost, tmp_path: Path) -> None:
    options = tmp_path / "options"
    options.write_text('[name]\n  guest = "sent"\n')
    directory = RunDirectory.create(tmp_path / "out", "test")
    arguments = [*IDLE, "-readconfig", token(FILE, "given"), "-mon", "chardev=serial,mode=readline"]
    devices = Devices(consoles={"serial": rundir.SERIAL}, inputs={"given": options})
    with host.machine(host.qemu(None), arguments, directory, devices) as machine:
        machine.console("serial").send("info name\n")
        machine.console("serial").expect(r"\nsent", 60)


def test_a_connection_that_is_closed_leaves_no_descriptor(host: ProcessHost) -> None:
    def descriptors() -> set[str]:
        return {path.name for path in Path("/proc/self/fd").iterdir()}

    before = descriptors()
    link = host.link()
    assert len(descriptors()) > len(before)
    host.close()
    assert descriptors() <= before
    # A late answer is ignored.
    link.close()
    link.drop([1])
    assert isinstance(link.ask("hello").exception(0), HostLostError)
