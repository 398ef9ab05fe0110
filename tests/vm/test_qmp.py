# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor with invalid answers: QEMU may run on another machine, and is not trusted."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from snp_harness.launch.loop import Loop
from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError, QmpCommandError, QmpEndedError
from snp_harness.vm.qmp import LIMIT, Qmp

VERSION = {"qemu": {"major": 9, "minor": 2, "micro": 1}, "package": ""}

#: Starts a monitor that greets with a version and answers each command with the given reply; returns the near end.
Monitor = Callable[..., socket.socket]


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    near, far = socket.socketpair()

    def start(version: object = VERSION, **answer: object) -> socket.socket:
        def serve() -> None:
            greeting = {"QMP": {"version": version, "capabilities": []}}
            with far, contextlib.suppress(OSError):
                far.sendall(json.dumps(greeting).encode() + b"\n")
                while data := far.recv(1 << 16):
                    request = json.loads(data)
                    reply = {"return": {}} if request["execute"] == "qmp_capabilities" else answer
                    far.sendall(json.dumps({**reply, "id": request["id"]}).encode() + b"\n")

        threading.Thread(target=serve, daemon=True).start()
        return near

    yield start
    near.close()


def raw_monitor(*replies: bytes, at_end: Callable[[socket.socket], object] = bool) -> Qmp:
    """Return a session with a monitor that sends each of these bytes after one command, then calls at_end."""
    near, far = socket.socketpair()

    def serve() -> None:
        with far, contextlib.suppress(OSError):
            far.sendall(b'{"QMP": {}}\r\n')
            for reply in (b'{"return": {}, "id": 0}\r\n', *replies):
                far.recv(1 << 16)
                far.sendall(reply)
            at_end(far)

    threading.Thread(target=serve, daemon=True).start()
    return Qmp(near, Loop())


def read_lines(far: socket.socket, count: int) -> bytes:
    """Return what was sent until it has so many lines."""
    data = b""
    while data.count(b"\n") < count:
        data += far.recv(1 << 16)
    return data


def test_a_monitor_that_is_one(monitor: Monitor) -> None:
    qmp = Qmp(monitor(**{"return": {"status": "running"}}), Loop())
    assert qmp.version == (9, 2, 1)
    assert qmp.execute("query-status") == {"status": "running"}
    qmp.close()


@pytest.mark.parametrize("version", [{}, {"qemu": {}}, {"qemu": {"major": "x", "minor": 2, "micro": 1}}, {"qemu": [1]}])
def test_a_version_that_is_none(version: object, monitor: Monitor) -> None:
    qmp = Qmp(monitor(version), Loop())
    with pytest.raises(QemuError, match="greeting"):
        _ = qmp.version
    qmp.close()


def test_what_it_says_does_not_drive_the_terminal(monitor: Monitor) -> None:
    evil = "\x1b[2J\n" + "A" * 5000
    qmp = Qmp(monitor(error={"class": "GenericError", "desc": evil}), Loop())
    with pytest.raises(QmpCommandError) as caught:
        qmp.execute("query-status")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    qmp.close()


def test_one_that_never_answers_leaves_nothing_behind() -> None:
    near, far = socket.socketpair()
    with near, far:
        with pytest.raises(QemuTimeoutError, match=r"the greeting in 0\.01 s"):
            Qmp(near, Loop(), timeout_s=0.01)
        assert far.recv(1) == b""
        with pytest.raises(QmpEndedError, match="no QMP session"):
            Qmp(near, Loop())


def test_an_answer_that_comes_too_late_is_not_that_of_the_next_command() -> None:
    late = b'{"return": "late", "id": 1}\n{"return": "in time", "id": 2}\n'
    qmp = raw_monitor(b'{"event": "STOP", "timestamp": {"seconds": 0, "microseconds": 0}}\n', late)
    with pytest.raises(QemuTimeoutError, match=r"query-status in 0\.01 s"):
        qmp.execute("query-status", timeout_s=0.01)
    assert qmp.execute("query-status") == "in time"
    qmp.close()


def test_answers_in_pieces_and_out_of_order() -> None:
    def pieces(far: socket.socket) -> None:
        read_lines(far, 2)
        for byte in b'{"event": "RESUME"}\n{"return": [], "id": 2}\n{"return": 1, "id": 7}\n{"return": {}, "id": 1}\n':
            far.sendall(bytes([byte]))
        far.recv(1)

    qmp = raw_monitor(at_end=pieces)
    qmp.execute_all([("cont", {}), ("query-cpus-fast", {})])
    qmp.close()


def test_the_first_command_that_fails_is_named() -> None:
    def answer(far: socket.socket) -> None:
        read_lines(far, 2)
        far.sendall(b'{"error": {"desc": "no"}, "id": 2}\n{"return": {}, "id": 1}\n')

    qmp = raw_monitor(at_end=answer)
    with pytest.raises(QmpCommandError, match="refused the QMP command second: no"):
        qmp.execute_all([("first", {}), ("second", {})])
    qmp.close()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "QEMU closed it"),
        (b'{"return": ', "QEMU closed it"),
        (b"\x1b[2J not JSON\n", r"not a message: \?\[2J not JSON"),
        (b"[" * 100_000 + b"\n", "not a message"),
        (b"\xff\n", "not a message"),
        (b"[]\n", "not an object"),
        (b'{"error": {"class": "GenericError", "desc": "JSON parse error"}}\n', "JSON parse error"),
        (b"{" * (LIMIT + (1 << 17)), "more than 10 MiB"),
    ],
)
def test_what_is_no_answer_ends_the_session(reply: bytes, why: str) -> None:
    qmp = raw_monitor(reply)
    with pytest.raises(QmpEndedError, match=f"ended during query-status: .*{why}") as caught:
        qmp.execute("query-status")
    assert str(caught.value).isprintable()
    with pytest.raises(QmpEndedError):
        qmp.execute("query-status")
    qmp.close()


def test_something_else_than_a_monitor() -> None:
    near, far = socket.socketpair()
    with far:
        far.sendall(b'{"error": {}}\n')
        with pytest.raises(QmpEndedError, match="no greeting"):
            Qmp(near, Loop())


def test_a_command_longer_than_the_socket_holds() -> None:
    received: list[bytes] = []

    def answer(far: socket.socket) -> None:
        received.append(read_lines(far, 1))
        far.sendall(b'{"return": "read", "id": 1}\n')

    text = "x" * (4 << 20)
    qmp = raw_monitor(at_end=answer)
    assert qmp.execute("human-monitor-command", command_line=text) == "read"
    assert json.loads(received[0])["arguments"] == {"command-line": text}
    qmp.close()


def test_a_descriptor() -> None:
    near, far = socket.socketpair()
    read_fd, write_fd = os.pipe()

    def serve() -> None:
        far.sendall(b'{"QMP": {}}\n')
        far.recv(1 << 16)
        far.sendall(b'{"return": {}, "id": 0}\n')
        _, (fd,), _, _ = socket.recv_fds(far, 1, 1)
        with os.fdopen(fd, "wb") as file:
            file.write(b"through it")
        assert json.loads(far.recv(1 << 16)) == {"execute": "getfd", "id": 1, "arguments": {"fdname": "x"}}
        far.sendall(b'{"return": {}, "id": 1}\n')

    with far, os.fdopen(read_fd, "rb") as file:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        qmp = Qmp(near, Loop())
        qmp.give("x", write_fd)
        os.close(write_fd)
        thread.join()
        assert file.read() == b"through it"
        qmp.close()
        with pytest.raises(QmpEndedError):
            qmp.give("x", file.fileno())


def test_it_imports_no_event_loop() -> None:
    code = "import sys, snp_harness.vm.qmp; sys.exit('asyncio' in sys.modules or 'ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
