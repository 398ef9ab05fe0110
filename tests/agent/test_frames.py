# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames: what is encoded comes back however it is cut, and other bytes are refused in bounded memory."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.agent import frames
from snp_harness.agent.frames import (
    CONTROL,
    DATA,
    PAYLOAD_MAX,
    PING,
    WINDOW,
    Decoder,
    Frame,
    FrameError,
    GreetingFinder,
)

a_frame = st.one_of(
    st.builds(Frame, st.just(DATA), st.integers(1, frames.STREAM_MAX), st.binary(max_size=300)),
    st.builds(Frame, st.sampled_from((CONTROL, PING)), st.just(0), st.binary(max_size=300)),
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    parts = []
    for size in sizes:
        parts.append(data[:size])
        data = data[size:]
    return [*parts, data]


@given(st.lists(a_frame, max_size=20), st.lists(st.integers(0, 400), max_size=20))
def test_frames_come_back_however_they_are_cut(given_frames: list[Frame], sizes: list[int]) -> None:
    decoder = Decoder()
    data = b"".join(frames.encode(*frame) for frame in given_frames)
    assert [frame for part in cut(data, sizes) for frame in decoder.feed(part)] == given_frames


@given(st.binary(max_size=2000))
def test_any_bytes_give_frames_or_an_error(data: bytes) -> None:
    decoder = Decoder()
    try:
        for frame in decoder.feed(data):
            assert len(frame.payload) <= PAYLOAD_MAX
            assert (frame.stream > 0) == (frame.kind in (DATA, WINDOW))
    except FrameError:
        pass


@pytest.mark.parametrize(
    ("length", "kind", "stream"),
    [(PAYLOAD_MAX + 1, DATA, 1), (0, 9, 1), (0, DATA, 0), (0, CONTROL, 1), (4, WINDOW, 0), (0, PING, 7)],
)
def test_what_cannot_be_is_refused_at_once(length: int, kind: int, stream: int) -> None:
    with pytest.raises(FrameError, match="is invalid"):
        Decoder().feed(frames.HEADER.pack(length, kind, stream))


def test_control_messages() -> None:
    [frame] = Decoder().feed(frames.encode_control({"id": 1, "op": "hello", "text": "ä\0"}))
    assert frames.decode_control(frame.payload) == {"id": 1, "op": "hello", "text": "ä\0"}
    with pytest.raises(FrameError, match="too long"):
        frames.encode_control({"text": "x" * PAYLOAD_MAX})


@pytest.mark.parametrize("payload", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_control_messages_that_are_none(payload: bytes) -> None:
    with pytest.raises(FrameError, match="JSON"):
        frames.decode_control(payload)


@given(st.binary(max_size=200))
def test_a_control_message_is_an_object_or_an_error(payload: bytes) -> None:
    with contextlib.suppress(FrameError):
        json.dumps(frames.decode_control(payload))


def test_credit() -> None:
    [frame] = Decoder().feed(frames.encode_credit(3, 70_000))
    assert (frame.kind, frame.stream, frames.decode_credit(frame.payload)) == (WINDOW, 3, 70_000)
    with pytest.raises(FrameError):
        frames.decode_credit(b"123")


@given(st.binary(max_size=100).filter(lambda data: b"\0" not in data), st.binary(max_size=100), st.integers(1, 7))
def test_what_comes_before_the_greeting_is_skipped(before: bytes, after: bytes, step: int) -> None:
    finder = GreetingFinder()
    data = before + frames.GREETING + after
    assert b"".join(finder.feed(data[at : at + step]) for at in range(0, len(data), step)) == after
    assert finder.found
    assert finder.seen == before


def test_a_greeting_that_does_not_come() -> None:
    finder = GreetingFinder()
    assert finder.feed(b"welcome\n" * 100) == b""
    with pytest.raises(FrameError, match="greeting"):
        finder.feed(b"x" * GreetingFinder.LIMIT)
    assert finder.seen.startswith(b"welcome")
