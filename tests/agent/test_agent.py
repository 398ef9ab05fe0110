# SPDX-License-Identifier: GPL-2.0-or-later
"""The agent as a process: its answers, invalid requests, and its end with the stream."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snp_harness.agent import frames, mux
from snp_harness.agent.__main__ import Agent
from snp_harness.agent.frames import Decoder, Frame, GreetingFinder
from snp_harness.hosts import bundle
from snp_harness.launch import loop, patience
from tests.launch.clock import Clock
from tests.vm.processes import is_running, wait_for_end


class Near:
    """A plain near side: one socket, one request at a time."""

    def __init__(self, directory: Path, python: str = sys.executable) -> None:
        self.socket, theirs = socket.socketpair()
        self.cache = directory / "cache"
        self.lock = directory / "lock"
        self.stderr = (directory / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [python, "-I", "-B", "-c", bundle.bootstrap()],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=self.stderr,
            env={**os.environ, "XDG_CACHE_HOME": str(self.cache), "SNP_HARNESS_LOCK": str(self.lock)},
        )
        theirs.close()
        self.socket.sendall(bundle.payload())
        self.decoder = Decoder()
        self.greeting = GreetingFinder()
        self.frames: list[Frame] = []
        self.numbers = itertools.count(1)

    def read(self, timeout_s: float = 60.0) -> bool:
        """Receive data; False at the end."""
        ready, _, _ = select.select([self.socket], [], [], timeout_s)
        assert ready, "nothing came"
        data = self.socket.recv(1 << 16)
        self.frames += self.decoder.feed(self.greeting.feed(data))
        return bool(data)

    def next(self, wanted: Callable[[Frame], bool]) -> Frame:
        """Wait for a frame; others are kept."""
        while True:
            for frame in self.frames:
                if wanted(frame):
                    self.frames.remove(frame)
                    return frame
            assert self.read(), "the agent has ended"

    def send(self, operation: str, **fields: object) -> int:
        number = next(self.numbers)
        self.socket.sendall(frames.encode_control({"id": number, "op": operation, **fields}))
        return number

    def answer(self, number: int) -> dict[str, Any]:
        def is_it(frame: Frame) -> bool:
            return frame.kind == frames.CONTROL and frames.decode_control(frame.payload).get("id") == number

        return frames.decode_control(self.next(is_it).payload)

    def call(self, operation: str, **fields: object) -> Any:
        """Return the operation's answer; an error as its dict."""
        answer = self.answer(self.send(operation, **fields))
        return answer.get("ok") if "ok" in answer else answer["error"]

    def event(self, name: str) -> dict[str, Any]:
        def is_it(frame: Frame) -> bool:
            return frame.kind == frames.CONTROL and frames.decode_control(frame.payload).get("event") == name

        return frames.decode_control(self.next(is_it).payload)

    def close(self) -> None:
        self.socket.close()
        self.process.wait(60)
        self.stderr.seek(0)
        said = self.stderr.read().decode()
        self.stderr.close()
        assert said == ""


@pytest.fixture
def near(tmp_path: Path) -> Iterator[Near]:
    made = Near(tmp_path)
    yield made
    made.close()


def sleep_argv(seconds: int) -> list[str]:
    return [sys.executable, "-c", f"import time; time.sleep({seconds})"]


def start(near: Near, run: str, argv: list[str], **more: object) -> Any:
    near.call("open", run=run)
    fields: dict[str, object] = {"consoles": {}, "chardevs": {}, "pipes": {}, "memory": {}, "stderr": 99, "ring": None}
    return near.call("start", run=run, argv=argv, **{**fields, **more})


def test_hello(near: Near) -> None:
    facts = near.call("hello", patience_s=30)
    assert facts["pid"] == near.process.pid
    assert facts["kernel"] == os.uname().release


@pytest.mark.parametrize("minor", range(9, 15))
def test_other_versions_of_python(minor: int, tmp_path: Path) -> None:
    python = shutil.which(f"python3.{minor}")
    # A version manager's name for a Python that is not installed does not run a program.
    if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"no python3.{minor} in PATH")
    near = Near(tmp_path, python)
    assert near.call("hello", patience_s=30)["python"].startswith(f"3.{minor}.")
    pid = start(near, "r", [python, "-c", "print()"])["pid"]
    assert near.event("exit")["status"] == 0
    assert pid
    assert near.call("find", qemu="/no/qemu")["kind"] == "missing"
    near.close()


def test_an_operation_that_is_none(near: Near) -> None:
    assert near.call("no-such-thing")["kind"] == "usage"


def test_requests_that_make_no_sense_are_answered(near: Near) -> None:
    requests: list[tuple[str, dict[str, object]]] = [
        ("has", {}),
        ("has", {"sha256": 7}),
        ("put", {"sha256": "x"}),
        ("open", {"run": "../x"}),
        ("open", {}),
        ("start", {"run": "none"}),
        ("kill", {"run": "none", "signal": 9}),
        ("place", {"run": "none", "name": "x", "parts": []}),
        ("hello", {"patience_s": "long"}),
        ("lock", {"owner": "x", "wait_s": 0, "path": "/no/such/directory/lock"}),
        ("find", {"qemu": 5}),
        ("find", {"qemu": "/no/qemu"}),
    ]
    for operation, fields in requests:
        answer = near.call(operation, **fields)
        assert set(answer) == {"kind", "message", "hint"}, operation
        assert "\n" not in answer["message"]
    assert near.call("release", run="none") is None
    assert near.call("hello", patience_s=30)["pid"] == near.process.pid


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
OPERATIONS = ("hello", "lock", "find", "has", "put", "open", "place", "start", "kill", "release", "nothing")
FIELDS = ("run", "sha256", "size", "name", "parts", "argv", "consoles", "chardevs", "pipes", "memory", "stderr", "ring")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(OPERATIONS), st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6))
def test_any_request_is_answered(near: Near, operation: str, fields: dict[str, object]) -> None:
    fields = {**fields, "path": "/dev/null/none", "qemu": "/none", "owner": "x", "wait_s": 0, "patience_s": 60}
    number = near.send(operation, **fields)
    # The agent waits for an announced content.
    near.socket.sendall(frames.encode(frames.BLOB, 0, b""))
    assert near.answer(number)


def test_nonsense_on_the_stream_ends_it(tmp_path: Path) -> None:
    near = Near(tmp_path)
    near.call("hello", patience_s=30)
    near.socket.sendall(b"nonsense" * 100)
    assert near.process.wait(60) == 0
    near.close()


def test_a_process_with_its_streams(near: Near) -> None:
    script = """
import os, sys, time
print("to stderr", file=sys.stderr, flush=True)
os.write(int(sys.argv[1]), b"to the socket")
open(sys.argv[2], "w").write("to the pipe")
open(sys.argv[3], "r+b").write(b"shared")
print(os.getcwd(), open(sys.argv[4]).read(), file=sys.stderr)
sys.exit(7)
"""
    content = b"a file of the run"
    digest = hashlib.sha256(content).hexdigest()
    assert near.call("has", sha256=[digest]) == {"missing": [digest]}
    number = near.send("put", sha256=digest, size=len(content))
    near.socket.sendall(frames.encode(frames.BLOB, 0, content))
    assert near.answer(number)["ok"] is None
    path = near.call("open", run="r")["path"]
    assert near.call("place", run="r", name="file", parts=[digest]) == {"size": len(content)}
    argv = [sys.executable, "-c", script, "\0fd:dev\0", "\0path:pipe\0", "\0path:ram\0", "\0file:file\0"]
    answer = near.call(
        "start",
        run="r",
        argv=argv,
        consoles={},
        chardevs={"dev": 1},
        pipes={"pipe": 2},
        memory={"ram": 4096},
        stderr=3,
        ring=None,
    )
    assert answer["argv"][-1] == f"{path}/file"
    got: dict[int, bytes] = {1: b"", 2: b"", 3: b""}
    ended: set[int] = set()
    while ended != {1, 2, 3}:
        frame = near.next(lambda frame: frame.kind == frames.DATA)
        got[frame.stream] += frame.payload
        if not frame.payload:
            ended.add(frame.stream)
    assert got[1] == b"to the socket"
    assert got[2] == b"to the pipe"
    assert got[3].decode().split("\n") == ["to stderr", f"{path} a file of the run", ""]
    assert near.event("exit") == {"event": "exit", "run": "r", "status": 7}
    assert Path(path).is_dir()
    near.call("release", run="r")
    assert not Path(path).exists()


def test_a_program_that_is_not_there(near: Near) -> None:
    answer = start(near, "r", ["/no/such/program"])
    assert answer["kind"] == "missing"
    assert "/no/such/program cannot be started: No such file" in answer["message"]


@pytest.mark.parametrize("end", ["stream", "bye", "terminate", "kill"])
def test_what_it_started_ends_with_it(end: str, tmp_path: Path) -> None:
    near = Near(tmp_path)
    pid = start(near, "r", sleep_argv(600))["pid"]
    assert is_running(pid)
    if end == "stream":
        near.socket.shutdown(socket.SHUT_RDWR)
    elif end == "bye":
        near.send("bye")
    else:
        near.process.send_signal(signal.SIGTERM if end == "terminate" else signal.SIGKILL)
    near.process.wait(60)
    assert wait_for_end(pid, 60)
    left = list((near.cache / "snp-harness" / "runs").iterdir())
    assert len(left) == (end == "kill")
    near.close()


def test_a_near_side_that_is_silent_counts_as_gone(tmp_path: Path) -> None:
    near = Near(tmp_path)
    pid = start(near, "r", sleep_argv(600))["pid"]
    near.call("hello", patience_s=0.2)
    assert near.process.wait(60) == 0
    assert wait_for_end(pid, 60)
    near.close()


def test_how_long_a_near_side_may_be_silent(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pings keep the agent, and an hour in which the machine did not run counts as two looks, of a sixth each."""
    clock = Clock()
    for module in (loop, mux, patience):
        monkeypatch.setattr(module, "time", clock)
    near, far = socket.socketpair()
    agent = Agent(far.fileno(), far.fileno())
    near.sendall(frames.encode_control({"id": 1, "op": "hello", "patience_s": 6}))

    def moments() -> Iterator[float]:
        """Each turn's time; the ping comes first."""
        for _ in range(20):
            near.sendall(frames.encode(frames.PING, 0))
            yield 1
        yield 3600
        yield from itertools.repeat(1)

    turn, times, seen = agent.loop.turn, moments(), []

    def stepped() -> bool:
        seen.append(next(times))
        clock.now += seen[-1]
        return turn(0)

    monkeypatch.setattr(agent.loop, "turn", stepped)
    agent.run()
    assert seen == [1] * 20 + [3600] + [1] * 4
    near.close()
    far.close()


def test_the_lock(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    lock = str(tmp_path / "lock")
    first, second = Near(tmp_path / "a"), Near(tmp_path / "b")
    assert first.call("lock", owner="ann@laptop", wait_s=0, path=lock) is None
    assert json.loads(Path(lock).read_text())["owner"] == "ann@laptop"
    refused = second.call("lock", owner="bob@desk", wait_s=0, path=lock)
    assert refused["kind"] == "locked"
    assert "ann@laptop, since 2" in refused["message"]
    late = second.call("lock", owner="bob@desk", wait_s=0.2, path=lock)
    assert late["kind"] == "locked"
    waiting = second.send("lock", owner="bob@desk", wait_s=600, path=lock)
    first.process.send_signal(signal.SIGKILL)
    assert second.answer(waiting) == {"id": waiting, "ok": None}
    assert json.loads(Path(lock).read_text())["owner"] == "bob@desk"
    first.close()
    second.close()
    assert Path(lock).read_text() == ""


def test_a_lock_s_file_that_says_nonsense(near: Near, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Near(tmp_path / "other")
    lock = str(tmp_path / "lock")
    assert other.call("lock", owner="x", wait_s=0, path=lock) is None
    # As another user of the host may fill it: that is not an error of this user's.
    for text in ("", "nonsense", "[]", "5", '{"owner": 7}', "\xff" * 5000, "[" * 1024, '{"a":' * 200):
        Path(lock).write_text(text, encoding="latin-1")
        assert "the host is in use" in near.call("lock", owner="y", wait_s=0, path=lock)["message"]
    assert near.call("hello", patience_s=30)["pid"] == near.process.pid
    other.close()
