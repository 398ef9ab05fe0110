# SPDX-License-Identifier: GPL-2.0-or-later
"""The loop: descriptors, timers, calls from other threads, and functions that change the loop or raise."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest

from snp_harness.launch.loop import Loop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    os.close(read_fd)
    os.close(write_fd)


def test_a_timer_and_a_call_from_another_thread(loop: Loop) -> None:
    seen: list[str] = []
    loop.later(0.01, lambda: seen.append("timer"))
    cancelled = loop.later(0.0, lambda: seen.append("cancelled"))
    cancelled.cancel()
    thread = threading.Thread(target=loop.soon, args=(lambda: seen.append("call"),))
    thread.start()
    assert loop.run_until(lambda: len(seen) == 2, 60)
    thread.join()
    assert sorted(seen) == ["call", "timer"]


def test_a_descriptor_is_watched_until_it_is_forgotten(loop: Loop, pipe: tuple[int, int]) -> None:
    read_fd, write_fd = pipe
    seen: list[bytes] = []
    loop.watch(read_fd, lambda: seen.append(os.read(read_fd, 1)))
    assert not loop.turn(0)
    os.write(write_fd, b"ab")
    assert loop.turn(60)
    assert loop.turn(60)
    assert seen == [b"a", b"b"]
    os.write(write_fd, b"c")
    loop.forget(read_fd)
    loop.forget(read_fd)
    assert not loop.turn(0)
    loop.watch(write_fd, None, lambda: seen.append(b"writable"))
    assert loop.turn(60)
    assert seen[-1] == b"writable"


def test_a_socket_that_is_closed_is_not_watched(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        loop.watch(ours, lambda: None)
        loop.forget(ours)
        ours.close()
        loop.forget(ours)
        assert not loop.turn(0)


def test_a_function_that_forgets_another(loop: Loop, pipe: tuple[int, int]) -> None:
    read_fd, write_fd = pipe
    other = os.dup(read_fd)
    seen: list[int] = []

    def first(own: int, other: int) -> None:
        seen.append(own)
        loop.forget(other)

    loop.watch(read_fd, lambda: first(read_fd, other))
    loop.watch(other, lambda: first(other, read_fd))
    os.write(write_fd, b"x")
    loop.turn(60)
    assert len(seen) == 1
    os.close(other)


def test_what_a_call_raises_comes_out_and_the_next_are_made(loop: Loop) -> None:
    seen: list[str] = []
    loop.soon(lambda: [][0])
    loop.soon(lambda: seen.append("next"))
    with pytest.raises(IndexError):
        loop.turn(60)
    loop.turn(60)
    assert seen == ["next"]


def test_waiting_ends_in_time(loop: Loop) -> None:
    assert not loop.run_until(lambda: False, 0.01)
    assert loop.run_until(lambda: True, 0)


def test_a_closed_loop_does_nothing(pipe: tuple[int, int]) -> None:
    loop = Loop()
    loop.close()
    loop.close()
    calls: list[None] = []
    loop.watch(pipe[0], lambda: calls.append(None))
    os.write(pipe[1], b"x")
    loop.soon(lambda: calls.append(None))
    loop.wake()
    assert calls == []
