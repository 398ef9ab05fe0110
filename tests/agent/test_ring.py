# SPDX-License-Identifier: GPL-2.0-or-later
"""Forwarding of the ring: the window, the end, invalid messages. The rest: tests/launch/test_ring.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.agent import frames
from snp_harness.agent.ring import MESSAGE
from snp_harness.capture.host_log import HostLog, HostLogError
from snp_harness.capture.record import RECORD
from snp_harness.errors import HarnessError
from snp_harness.hosts.host_errors import HostError
from snp_harness.hosts.streamed_ring import StreamedRing
from snp_harness.launch.loop import Loop
from snp_harness.launch.ring import RingError
from tests.agent.forwarded import Forwarded


@pytest.fixture
def wire() -> Iterator[Forwarded]:
    made = Forwarded()
    yield made
    made.close()


def count(source: StreamedRing) -> int:
    return sum(len(batch) // RECORD.size for batch in source.read())


def test_what_the_guest_printed_earlier_goes_first(wire: Forwarded) -> None:
    wire.ring.start()
    wire.look()
    assert not wire.before
    wire.ring.add()
    wire.look()
    assert wire.before


def test_the_agent_asks_for_the_doorbell_when_there_is_nothing(wire: Forwarded) -> None:
    wire.ring.start()
    wire.look()
    assert wire.ring.get("armed", "<I") == 1


def test_no_doorbell_where_instructions_are_counted() -> None:
    wire = Forwarded(arm=False)
    wire.ring.start()
    wire.look()
    assert wire.ring.get("armed", "<I") == 0
    wire.close()


def test_damage_is_reported_once_and_ends_the_stream(wire: Forwarded) -> None:
    wire.ring.start(7)
    wire.look()
    with pytest.raises(RingError):
        count(wire.source)
    assert wire.source.ended
    wire.look()
    wire.forwarder.finish()
    wire.turn()
    assert count(wire.source) == 0


def test_the_end_comes_after_the_last_record(wire: Forwarded) -> None:
    wire.ring.start()
    wire.look()
    for _ in range(3):
        wire.ring.add()
    wire.forwarder.finish()
    wire.turn()
    assert count(wire.source) == 3
    assert wire.source.ended


@pytest.mark.parametrize("damaged", [False, True])
def test_more_than_the_window_waits_for_the_reader(damaged: bool) -> None:
    wire = Forwarded(1 << 15)
    # The other end is not read.
    wire.loops[0].forget(wire.source._socket)
    wire.ring.start()
    for _ in range((1 << 15) - 1):
        wire.ring.add()
    wire.forwarder.finish()
    wire.turn()
    # The ring holds 2 MiB, the window 1 MiB: unread records stay in the ring.
    assert 0 < wire.ring.get("tail") * 64 <= frames.WINDOW_SIZE
    if damaged:
        wire.ring.set("head", 1 << 40)
    seen: list[tuple[int, ...]] = []
    log = HostLog(wire.source, lambda batch: seen.extend(RECORD.iter_unpack(batch)))

    def drain() -> None:
        while not wire.source.ended:
            log.drain()
            wire.turn()
        log.drain()

    if damaged:
        with pytest.raises(HostLogError, match="damaged"):
            drain()
    else:
        drain()
        assert [fields[0] for fields in seen] == list(range(1, 1 << 15))
    assert log.health.gaps() == []
    wire.close()


@pytest.fixture
def ends() -> Iterator[tuple[StreamedRing, socket.socket]]:
    """A reader, and the end that a test writes to in place of the agent."""
    loop = Loop()
    ours, theirs = socket.socketpair()
    source = StreamedRing(ours, loop)
    yield source, theirs
    source.close()
    theirs.close()
    loop.close()


@pytest.mark.parametrize("sizes", [(63, 0), (1 << 30, 0), (0, 1 << 20)])
def test_sizes_that_no_agent_sends(sizes: tuple[int, int], ends: tuple[StreamedRing, socket.socket]) -> None:
    source, theirs = ends
    theirs.sendall(MESSAGE.pack(0, 0, *sizes))
    with pytest.raises(HostError, match="use one version on both sides"):
        count(source)
    assert source.ended


def test_the_text_of_an_error_does_not_drive_the_terminal(ends: tuple[StreamedRing, socket.socket]) -> None:
    source, theirs = ends
    evil = b"\x1b[2J\n\xff"
    theirs.sendall(MESSAGE.pack(0, 0, 0, len(evil)) + evil)
    with pytest.raises(RingError) as caught:
        count(source)
    assert str(caught.value).isprintable()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_a_stream_that_is_none(data: bytes) -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    with theirs:
        source = StreamedRing(ours, loop)
        log = HostLog(source, lambda _: None)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            log.drain()
        except HarnessError:
            assert source.ended
        assert log.drain() == 0
        source.close()
    loop.close()
