# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's trace events through an agent, on this machine's own kernel: all are received, and nothing is left behind.

The agent runs in a mount namespace of its own, in which tracefs is where it belongs, whether the machine has it or not.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snp_harness.capture.kvm_trace import KvmEventKind, parse_line
from snp_harness.hosts import bundle
from snp_harness.hosts.agent_process import AgentProcess, ProcessHost
from snp_harness.hosts.host_errors import HostError
from snp_harness.hosts.link import Link
from snp_harness.launch.tokens import NUMBER, token
from tests.agent.kernel_trace import PORT, kvm_runs_nothing

PIO = {"kvm_pio": f"port == {PORT:#x}"}
#: Runs a guest for each byte that it receives, and answers.
RUNNER = f"""
import socket, sys
sys.path.insert(0, {str(Path(__file__).parents[2] / "harness")!r})
from pathlib import Path
from snp_harness.agent.kvm_probe import run_guest
control = socket.socket(fileno=int(sys.argv[1]))
while data := control.recv(4096):
    for _ in data:
        assert not run_guest(Path("/dev/kvm"))
    control.sendall(data)
"""
TRACING = "/sys/kernel/tracing"


class TracingHost(ProcessHost):
    """This machine, with tracefs at its usual mount point."""

    def connect(self) -> AgentProcess:
        """Start the agent, with tracefs mounted, and return its byte stream."""
        mount = f'mountpoint -q {TRACING} || mount -t tracefs tracefs {TRACING}; exec "$@"'
        agent = [sys.executable, "-I", "-B", "-c", bundle.bootstrap()]
        return AgentProcess(["unshare", "--mount", "sh", "-c", mount, "sh", *agent])


class Traced:
    """A run of guests, one for each byte that is sent to it, and its trace."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.name = link.new_run(lambda _: None)
        link.call("open", run=self.name)
        control, self.control = link.stream(lambda _: None)
        stderr, self.stderr = link.stream(lambda _: None, reads=False)
        self.numbers = [control, stderr]
        self.sockets = [self.control, self.stderr]
        argv = [sys.executable, "-c", RUNNER, token(NUMBER, "control")]
        started = link.call(
            "start",
            run=self.name,
            argv=argv,
            chardevs={"control": control},
            consoles={},
            pipes={},
            memory={},
            stderr=stderr,
            ring=None,
        )
        self.pid = int(started["pid"])

    def trace(self, events: dict[str, str], required: list[str]) -> socket.socket:
        number, ours = self.link.stream(lambda _: None, reads=False)
        self.numbers.append(number)
        self.sockets.append(ours)
        asked: dict[str, Any] = {"events": events, "required": required, "interval_s": 0.01}
        self.link.call("trace", run=self.name, stream=number, **asked)
        return ours

    def guests(self, count: int) -> None:
        self.control.sendall(b"x" * count)
        left = count
        self.control.settimeout(120)
        while left:
            data = self.control.recv(left)
            assert data, "the process that runs guests has ended"
            left -= len(data)

    def untrace(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.link.call("untrace", run=self.name)
        return answer

    def close(self) -> None:
        if self.link.error is None:
            self.link.call("release", run=self.name)
        self.link.drop(self.numbers)
        self.link.end_run(self.name)
        for ours in self.sockets:
            ours.close()


@pytest.fixture(scope="module")
def host() -> Iterator[TracingHost]:
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("a mount namespace takes root and unshare")
    if kvm_runs_nothing():
        pytest.skip("KVM runs nothing here")
    found = TracingHost()
    try:
        facts = found.link().call("tracing", events=["kvm_pio"])
        if facts["error"] or facts["missing"]:
            pytest.skip(f"no tracing here: {facts['error'] or facts['missing']}")
        yield found
    finally:
        found.close()


@pytest.fixture
def traced(host: TracingHost) -> Iterator[Traced]:
    run = Traced(host.link())
    yield run
    run.close()


def everything(stream: socket.socket) -> bytes:
    stream.settimeout(120)
    parts = []
    while part := stream.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def test_events_come_home(traced: Traced) -> None:
    traced.guests(3)
    stream = traced.trace(PIO, ["kvm_pio"])
    traced.guests(40)
    # They are sent without a request, and the rest with the end.
    stream.settimeout(120)
    first = stream.recv(1 << 16)
    traced.guests(2)
    answer = traced.untrace()
    traced.guests(2)
    events = [parse_line(line) for line in (first + everything(stream)).splitlines()]
    assert answer == {"lost": 0, "left": ""}
    assert [(event.kind, event.number, event.thread) for event in events if event is not None] == [
        (KvmEventKind.PIO, PORT, traced.pid)
    ] * 42


def test_another_filter(traced: Traced) -> None:
    stream = traced.trace(PIO, [])
    traced.guests(1)
    traced.link.call("filter", run=traced.name, event="kvm_pio", filter="port == 0x11")
    traced.guests(5)
    assert traced.untrace()["lost"] == 0
    assert everything(stream).count(b": kvm_pio: ") == 1
    with pytest.raises(HostError, match="is not traced"):
        traced.link.call("filter", run=traced.name, event="kvm_pio", filter="")


def test_errors(traced: Traced) -> None:
    with pytest.raises(HostError, match="no trace event kvm_no_such_event"):
        traced.trace(PIO, ["kvm_no_such_event"])
    with pytest.raises(HostError, match="is not traced"):
        traced.untrace()
    traced.trace(PIO, [])
    with pytest.raises(HostError, match="cannot be traced"):
        traced.trace(PIO, [])
    with pytest.raises(HostError, match="cannot be traced"):
        traced.link.call("trace", run="none", stream=traced.numbers[-1], events=PIO, required=[], interval_s=1)


def test_an_agent_that_ends_leaves_no_instance(host: TracingHost) -> None:
    other = TracingHost()
    run = Traced(other.link())
    run.trace(PIO, [])
    other.close()
    run.close()
    # The next agent that traces finds no stale instance.
    run = Traced(host.link())
    try:
        stream = run.trace(PIO, [])
        run.guests(1)
        assert run.untrace() == {"lost": 0, "left": ""}
        assert everything(stream).count(b"\n") == 1
    finally:
        run.close()
