# SPDX-License-Identifier: GPL-2.0-or-later
"""The client of QEMU's gdb stub, against a stub of a few lines."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from snp_harness.guest import gdb
from snp_harness.guest.gdb import GdbStub
from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError

Serve = Callable[[dict[bytes, bytes]], tuple[socket.socket, list[bytes]]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a stub with these answers, "OK" to all else; returns a connection, and the packets that it has received."""
    ends: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answers: dict[bytes, bytes]) -> tuple[socket.socket, list[bytes]]:
        ours, theirs = socket.socketpair()
        ends.append(theirs)
        seen: list[bytes] = []

        def answer() -> None:
            buffer = b""
            while data := theirs.recv(4096):
                buffer += data.replace(b"+", b"")
                while len(buffer) >= (end := buffer.find(b"#")) + 3 and end > 0:
                    packet, buffer = buffer[1:end], buffer[end + 3 :]
                    seen.append(packet)
                    theirs.sendall(b"+" + answers.get(packet, b"$OK#9a"))

        threads.append(threading.Thread(target=answer))
        threads[-1].start()
        return ours, seen

    yield start
    for thread in threads:
        thread.join(60)
    for end in ends:
        end.close()


def test_memory_is_written_in_pieces(serve: Serve) -> None:
    connection, seen = serve({})
    stub = GdbStub(connection)
    stub.write(0x1000, bytes(1025))
    stub.close()
    assert seen == [b"Qqemu.PhyMemMode:1", b"M1000,400:" + b"00" * 1024, b"M1400,1:00"]


def test_a_stop_is_no_answer(serve: Serve) -> None:
    connection, _ = serve({b"M0,1:61": b"$T02thread:01;#04$OK#9a"})
    stub = GdbStub(connection)
    stub.write(0, b"a")
    stub.close()


def test_what_is_refused_is_an_error(serve: Serve) -> None:
    connection, _ = serve({b"M0,1:61": b"$E14#aa"})
    stub = GdbStub(connection)
    with pytest.raises(QemuError, match="answered b'E14' to M0,1:61"):
        stub.write(0, b"a")
    stub.close()


def test_a_stub_that_is_silent_or_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdb, "_TIMEOUT_S", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(QemuTimeoutError, match=r"in 0.1 s"):
        GdbStub(ours)
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises(QemuError, match="gone"):
        GdbStub(ours)
