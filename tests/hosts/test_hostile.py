# SPDX-License-Identifier: GPL-2.0-or-later
"""A far side that sends wrong answers, too much or nothing: each is an error of that host, within a time limit."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from snp_harness.agent import frames
from snp_harness.agent.mux import DescriptorPort
from snp_harness.cli.doctor import examine, render_text
from snp_harness.errors import EXIT_ENVIRONMENT, HarnessError
from snp_harness.firmware_run import RunSpec, run
from snp_harness.hosts.agent_process import AgentProcess
from snp_harness.hosts.host_errors import HostError, HostLostError
from snp_harness.hosts.link import Link
from snp_harness.hosts.remote import LockRequest, RemoteHost
from snp_harness.platforms.host_facts import host_facts
from snp_harness.platforms.kvm import kvm_checks
from tests.platforms.conftest import trixie_path

__all__ = ["trixie_path"]

#: An agent that answers each operation with a given value; SILENT: it does not answer, DIE: it ends.
LIAR = """
import json, os, sys
from snp_harness.agent import frames
answers = json.loads(sys.argv[1])
def take(count):
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            sys.exit()
        data += part
    return data
take(int(take(8)))
os.write(1, frames.GREETING)
decoder = frames.Decoder()
while True:
    for frame in decoder.feed(take(1)):
        if frame.kind == frames.PING:
            os.write(1, frames.encode(frames.PONG, 0))
        if frame.kind != frames.CONTROL:
            continue
        request = json.loads(frame.payload)
        if request["op"] == "bye":
            sys.exit()
        answer = answers.get(request["op"])
        if answer == "DIE":
            sys.exit(3)
        if answer == "SILENT":
            continue
        os.write(1, frames.encode_control({"id": request["id"], "ok": answer}))
"""
HELLO = {"python": "3.11.2", "pid": 1, "user": "me", "host": "box", "kernel": "6.12"}
FOUND = {
    "path": "/usr/bin/qemu-system-x86_64",
    "prefix": ["/usr/bin/qemu-system-x86_64"],
    "status": 0,
    "stdout": "QEMU emulator version 9.0.0\n",
    "stderr": "",
}
GOOD: dict[str, object] = {"hello": HELLO, "lock": None, "find": FOUND, "open": {"path": "/x"}, "has": {"missing": []}}


class Liar(RemoteHost):
    """A host whose agent is LIAR."""

    def __init__(self, answers: dict[str, object]) -> None:
        super().__init__("liar", lock=LockRequest())
        self._answers = answers

    def connect(self) -> AgentProcess:
        return AgentProcess([sys.executable, "-c", LIAR, json.dumps(self._answers)])


@pytest.fixture
def liar() -> Iterator[Callable[..., Liar]]:
    """Makes one that answers as an agent does, except for the named operations."""
    made: list[Liar] = []

    def make(**answers: object) -> Liar:
        made.append(Liar(GOOD | answers))
        return made[-1]

    yield make
    for host in made:
        host.close()


NONSENSE: list[object] = [None, 5, "text", [], [5], {}, {"path": 5}, {"path": []}, {"pid": "x"}, True, 1e300]


def failed(host: RemoteHost, firmware: Path, out: Path) -> HarnessError:
    """Start a run on that host, which fails with a HostError; return the error."""
    try:
        result = run(RunSpec(firmware, host=host), "tcg", out)
    except HarnessError as error:
        found = error
    else:
        assert result.error is not None
        found = result.error
    assert found.exit_status >= EXIT_ENVIRONMENT
    assert "\n" not in str(found)
    return found


@pytest.mark.parametrize("operation", ["hello", "find", "has", "start"])
@pytest.mark.parametrize("answer", NONSENSE, ids=repr)
def test_an_answer_that_makes_no_sense(
    operation: str, answer: object, liar: Callable[..., Liar], trixie_path: Path, tmp_path: Path
) -> None:
    failed(liar(**{operation: answer}), trixie_path, tmp_path / "out")


@pytest.mark.parametrize("stage", ["hello", "lock", "find", "open", "has", "place", "start"])
def test_an_agent_that_dies(stage: str, liar: Callable[..., Liar], trixie_path: Path, tmp_path: Path) -> None:
    error = failed(liar(**{stage: "DIE"}), trixie_path, tmp_path / "out")
    assert isinstance(error, HostLostError)
    assert "status 3" in error.message


@pytest.mark.parametrize("stage", ["hello", "lock", "find", "open", "has", "place", "start"])
def test_an_agent_that_falls_silent(
    stage: str, liar: Callable[..., Liar], trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers pings, so its connection is not lost: each wait has a timeout, and its error names the request."""
    what = {"place": "the file"}.get(stage, stage)
    result = Link.result

    def impatient(link: Link, future: Future[Any], asked: str, _timeout_s: float | None = None) -> Any:
        return result(link, future, asked, 0.2 if asked.startswith(what) else 60.0)

    monkeypatch.setattr(Link, "result", impatient)
    error = failed(liar(**{stage: "SILENT"}), trixie_path, tmp_path / "out")
    assert f"no answer to {what}" in error.message


LYING_FACTS: list[object] = [
    *NONSENSE,
    {"version": 1, "kernel": 7},
    {"version": "x"},
    {"version": 1, "cpu": {"sev_leaf": {"eax": "x"}}},
    {"version": 1, "qemu": {"objects": [1]}},
]


@pytest.mark.parametrize("facts", LYING_FACTS, ids=repr)
def test_a_probe_that_lies(facts: object, liar: Callable[..., Liar]) -> None:
    with pytest.raises(HarnessError):
        examine(None, liar(probe=facts))


def test_what_a_probe_says_does_not_drive_the_terminal(liar: Callable[..., Liar]) -> None:
    evil = "\x1b]0;x\x07\x1b[2J\n\u202e" + "A" * 5000
    facts = {"version": 1, "kernel": evil, "python": evil, "cpu": {"model": evil, "vendor": evil}, "uid": 0}
    facts |= {
        "qemu": {"path": evil, "version": evil, "objects": [evil]},
        "kvm": {"error": evil, "created": {evil: evil}},
    }
    facts |= {"sev": {"present": True, "api": evil, "error": evil}, "disk": {"path": evil}, "machine": evil}
    kvm = {"error": "", "hint": "", "modules": [evil], "accelerated": evil}
    tracing = {"root": evil, "error": "", "hint": evil, "events": [evil], "missing": [evil]}
    text = render_text(examine(None, liar(probe=facts, kvm=kvm, tracing=tracing)), "kvm")
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) < 100000
    assert host_facts(facts).kernel.isprintable()


@pytest.mark.parametrize("answer", NONSENSE, ids=repr)
@pytest.mark.parametrize("operation", ["kvm", "tracing"])
def test_kvm_facts_that_make_no_sense(operation: str, answer: object, liar: Callable[..., Liar]) -> None:
    good = {
        "kvm": {"error": "", "hint": "", "modules": [], "accelerated": ""},
        "tracing": {"root": "", "error": "", "hint": "", "events": [], "missing": []},
    }
    (check, *_) = kvm_checks(liar(**(good | {operation: answer})))
    assert "liar" in check.evidence


@pytest.fixture
def near() -> Iterator[tuple[Link, socket.socket]]:
    """A link, and the far end of its byte stream, which has sent the greeting."""
    ours, theirs = socket.socketpair()
    link = Link("liar", DescriptorPort(ours.fileno(), ours.fileno()), b"first", HostLostError, ours.close)
    assert theirs.recv(5) == b"first"
    theirs.sendall(frames.GREETING)
    yield link, theirs
    theirs.close()
    link.close()


def lost(link: Link) -> str:
    """Wait until the link is lost; return the reason."""
    error = link.ask("hello").exception(120)
    assert isinstance(error, HostError)
    return str(error)


@pytest.mark.parametrize(
    "sent",
    [
        frames.HEADER.pack(0xFFFFFFFF, frames.DATA, 1),
        frames.HEADER.pack(frames.PAYLOAD_MAX + 1, frames.CONTROL, 0),
        frames.HEADER.pack(4, 99, 0) + b"1234",
        frames.HEADER.pack(4, frames.CONTROL, 7) + b"1234",
        frames.HEADER.pack(4, frames.DATA, 0) + b"1234",
        frames.encode(frames.CONTROL, 0, b"[" * 100000),
        frames.encode(frames.CONTROL, 0, b'{"id":' + b"9" * 100000 + b"}"),
        frames.encode(frames.CONTROL, 0, b'{"a":' * 10000 + b"1" + b"}" * 10000),
        frames.encode(frames.CONTROL, 0, b"\xff\xfe"),
        frames.encode(frames.CONTROL, 0, b"5"),
    ],
    ids=range(10),
)
def test_frames_that_cannot_be(sent: bytes, near: tuple[Link, socket.socket]) -> None:
    link, theirs = near
    theirs.sendall(sent)
    assert link.ask("hello").exception(120) is not None


@pytest.mark.parametrize("window", [b"\xff\xff\xff\xff", b"123", b""])
def test_more_than_a_stream_s_window(window: bytes, near: tuple[Link, socket.socket]) -> None:
    link, theirs = near
    number, ours = link.stream(lambda _: None)
    with ours:
        # When a later request arrives, the stream is open. A ping may precede it.
        link.ask("hello")
        decoder = frames.Decoder()
        while not any(frame.kind == frames.CONTROL for frame in decoder.feed(theirs.recv(4096))):
            continue
        theirs.sendall(frames.encode(frames.WINDOW, number, window))
        assert "window" in lost(link)


def test_a_flood_of_pings_that_nobody_reads_the_answers_of(near: tuple[Link, socket.socket]) -> None:
    link, theirs = near
    flood = frames.encode(frames.PING, 0) * 20000
    done = threading.Event()

    def send() -> None:
        for _ in range(20):
            theirs.sendall(flood)
        done.set()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert done.wait(300)
    # One answer is enough for all pings received meanwhile.
    assert len(link._mux._out) < 100
    thread.join()


def test_events_that_nobody_takes(near: tuple[Link, socket.socket]) -> None:
    link, theirs = near
    told: list[dict[str, object]] = []
    run = link.new_run(told.append)
    forged: list[dict[str, object]] = [{"event": name, "run": run, "stream": 1} for name in ("finished", "lost", "x")]
    exits: list[dict[str, object]] = [{"event": "exit", "run": run, "status": status} for status in ("x", None, 7, 8)]
    theirs.sendall(b"".join(frames.encode_control(event) for event in (*forged, *exits)))
    asked = link.ask("hello")
    theirs.sendall(frames.encode_control({"id": 1, "ok": "here"}))
    assert asked.result(120) == "here"
    # The far side reports only the end of its process, and only once.
    assert told == [{"event": "exit", "run": run, "status": 7}]
