# SPDX-License-Identifier: GPL-2.0-or-later
"""Questions that a guest asks on a serial port, and the answers that it gets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from snp_harness.launch.loop import Loop
from snp_harness.platforms.answered_port import AnsweredPort


class Port:
    def __init__(self) -> None:
        self.loop = Loop()
        self.ours, self.guest = socket.socketpair()
        self.ours.setblocking(False)
        self.asked: list[int] = []
        AnsweredPort(self.ours, self.answer, self.loop)

    def answer(self, question: int) -> bytes:
        self.asked.append(question)
        return bytes(48 * [question]) if question else b""

    def close(self) -> None:
        self.loop.close()
        self.ours.close()
        self.guest.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def test_each_byte_is_a_question(port: Port) -> None:
    port.guest.sendall(b"\0\1\0\2")
    port.loop.turn(1)
    assert port.asked == [0, 1, 0, 2]
    assert port.guest.recv(4096) == b"\1" * 48 + b"\2" * 48


def test_a_guest_that_only_asks_does_not_stop_the_run(port: Port) -> None:
    for _ in range(400):
        port.guest.sendall(b"\1" * 4096)
        port.loop.turn(1)
    assert 0 < len(port.asked) < 400 * 4096
    port.guest.settimeout(0.1)
    for _ in range(10_000):
        port.loop.turn(0)
        try:
            assert set(port.guest.recv(1 << 20)) == {1}
        except TimeoutError:
            break
    port.guest.sendall(b"\2")
    port.loop.turn(1)
    assert port.guest.recv(4096) == b"\2" * 48


def test_the_end_of_qemu_is_the_end_of_it(port: Port) -> None:
    port.guest.close()
    port.loop.turn(1)
    port.loop.turn(0)
    assert port.asked == []
