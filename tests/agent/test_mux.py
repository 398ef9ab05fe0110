# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams on one byte stream: all data arrives in order, and an unread stream does not delay the others."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.agent import frames
from snp_harness.agent.mux import DescriptorPort, Mux
from snp_harness.launch.loop import Loop


class Side:
    """One side, turned by the test."""

    def __init__(self, connection: socket.socket) -> None:
        self.loop = Loop()
        self.control: list[dict[str, Any]] = []
        self.blobs: list[bytes] = []
        self.lost: list[str] = []
        self.socket = connection
        port = DescriptorPort(connection.fileno(), connection.fileno())
        self.mux = Mux(port, self.loop, self.control.append, self.blobs.append, self.lost.append)

    def close(self) -> None:
        self.mux.close()
        self.loop.close()
        self.socket.close()


class Pair:
    """Two sides of one byte stream."""

    def __init__(self) -> None:
        self.left, self.right = map(Side, socket.socketpair())

    def stream(self, number: int) -> tuple[socket.socket, socket.socket]:
        """Open a stream; return the user's ends."""
        ends = []
        for side in (self.left, self.right):
            ours, theirs = socket.socketpair()
            for end in (ours, theirs):
                # The default of Linux; a machine may have more, or less.
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 106496)
            ours.setblocking(False)
            side.mux.open(number, theirs)
            ends.append(ours)
        return ends[0], ends[1]

    def turn_until(self, done: Callable[[], bool]) -> bool:
        """Turn both sides until the condition is true; False if it is not after many turns."""
        for _ in range(2000):
            self.left.loop.turn(0)
            self.right.loop.turn(0)
            if done():
                return True
        return False

    def close(self) -> None:
        self.left.close()
        self.right.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def receive(end: socket.socket, into: bytearray) -> bool:
    """Read the available data; True at the end."""
    try:
        data = end.recv(1 << 20)
    except BlockingIOError:
        return False
    into += data
    return not data


def send_all(pair: Pair, end: socket.socket, data: bytes, into: bytearray, other: socket.socket) -> None:
    def step() -> bool:
        nonlocal data
        with contextlib.suppress(BlockingIOError):
            data = data[end.send(data) :] if data else data
        receive(other, into)
        return not data

    assert pair.turn_until(step)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=5000), max_size=8), st.lists(st.binary(min_size=1, max_size=9), max_size=8)
)
def test_both_directions(there: list[bytes], back: list[bytes]) -> None:
    pair = Pair()
    left, right = pair.stream(3)
    with left, right:
        got_right, got_left = bytearray(), bytearray()
        for data in there:
            left.sendall(data)
        for data in back:
            right.sendall(data)
        left.shutdown(socket.SHUT_WR)
        ends = {"left": False, "right": False}

        def step() -> bool:
            ends["right"] = ends["right"] or receive(right, got_right)
            if ends["right"]:
                right.shutdown(socket.SHUT_WR)
            ends["left"] = ends["left"] or receive(left, got_left)
            return all(ends.values())

        assert pair.turn_until(step)
    assert got_right == b"".join(there)
    assert got_left == b"".join(back)
    assert pair.turn_until(lambda: not pair.left.mux.streams and not pair.right.mux.streams)
    pair.close()


def test_more_than_the_window(pair: Pair) -> None:
    left, right = pair.stream(1)
    data = os.urandom(5 * frames.WINDOW_SIZE + 17)
    got = bytearray()
    with left, right:
        send_all(pair, left, data, got, right)
        assert pair.turn_until(lambda: receive(right, got) or len(got) == len(data))
    assert got == data


def test_one_that_is_not_read_holds_up_no_other(pair: Pair) -> None:
    slow, unread = pair.stream(1)
    quick, read = pair.stream(2)
    with slow, unread, quick, read:
        sent = 0

        def fill() -> bool:
            nonlocal sent
            try:
                sent += slow.send(b"x" * 65536)
            except BlockingIOError:
                return True
            return False

        # Until neither the sockets nor the window have room.
        for _ in range(200):
            pair.turn_until(fill)
        assert frames.WINDOW_SIZE <= sent < frames.WINDOW_SIZE + (4 << 20)
        got = bytearray()
        quick.sendall(b"through")
        assert pair.turn_until(lambda: receive(read, got) or got == b"through")
        late = bytearray()
        assert pair.turn_until(lambda: receive(unread, late) or len(late) == sent)


def test_a_reader_that_is_gone(pair: Pair) -> None:
    left, right = pair.stream(1)
    right.close()
    got = bytearray()
    with left:
        data = b"x" * (3 * frames.WINDOW_SIZE)
        other, _ = socket.socketpair()
        other.setblocking(False)
        with other, _:
            send_all(pair, left, data, got, other)


def test_control_and_blobs_in_order(pair: Pair) -> None:
    pair.left.mux.send_control({"id": 1})
    pair.left.mux.send(frames.encode(frames.BLOB, 0, b"content"))
    assert pair.turn_until(lambda: bool(pair.right.blobs))
    assert pair.right.control == [{"id": 1}]
    assert pair.right.blobs == [b"content"]


def test_a_side_that_goes(pair: Pair) -> None:
    pair.left.socket.shutdown(socket.SHUT_RDWR)
    assert pair.turn_until(lambda: bool(pair.right.lost))
    assert pair.right.lost == ["it was closed"]


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense" * 10,
        frames.encode(frames.DATA, 1, b"x" * frames.PAYLOAD_MAX) * 2,
        frames.encode_credit(1, frames.WINDOW_SIZE),
        frames.encode(frames.CONTROL, 0, b"[]"),
    ],
)
def test_a_side_that_makes_no_sense(pair: Pair, data: bytes) -> None:
    theirs, unread = socket.socketpair()
    with unread:
        pair.right.mux.open(1, theirs)
        thread = threading.Thread(target=pair.left.socket.setblocking, args=(True,))
        thread.start()
        thread.join()
        sender = threading.Thread(target=pair.left.socket.sendall, args=(data,))
        sender.start()

        def step() -> bool:
            pair.right.loop.turn(0.05)
            return bool(pair.right.lost)

        assert any(step() for _ in range(2000))
        pair.left.socket.shutdown(socket.SHUT_RDWR)
        pair.right.socket.shutdown(socket.SHUT_RDWR)
        sender.join(60)
    assert len(pair.right.lost) == 1
