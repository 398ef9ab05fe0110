# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated host's log sent home: the near side reads what a local reader would, whatever the ring does."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snp_harness.agent import frames
from snp_harness.agent.mux import DescriptorPort, Mux
from snp_harness.agent.ring import Layout, RingForwarder
from snp_harness.capture.host_log import HostLogError
from snp_harness.capture.record import RECORD
from snp_harness.capture.streamed_log import LAYOUT, StreamedLog
from snp_harness.launch.loop import Loop
from tests.capture.ring import RingWriter, make_record


class Wire:
    """A ring, its forwarder, and the reader at the other end of a byte stream."""

    def __init__(self, capacity: int = 16, *, arm: bool = True, version: int | None = None) -> None:
        self.ring = RingWriter(capacity) if version is None else RingWriter(capacity, version=version)
        self.sockets = socket.socketpair()
        self.loops = Loop(), Loop()
        self.muxes = [
            Mux(DescriptorPort(end.fileno(), end.fileno()), loop, lambda _: None, lambda _: None, lambda _: None)
            for end, loop in zip(self.sockets, self.loops, strict=True)
        ]
        self.ours, theirs = socket.socketpair()
        self.muxes[0].open(1, theirs, reads=False)
        self.before = 0
        self.forwarder = RingForwarder(
            self.loops[1],
            self.muxes[1].open(1, None, writes=False),
            self.ring.fd,
            self.ring.size,
            Layout(dict(LAYOUT)),
            self._before,
            arm=arm,
        )
        self.seen: list[int] = []
        self.log = StreamedLog(self.ours, self.ring.size, self._take)

    def _before(self) -> None:
        self.before += 1

    def _take(self, batch: bytes) -> None:
        self.seen += [fields[0] for fields in RECORD.iter_unpack(batch)]

    def turn(self) -> None:
        for _ in range(6):
            for loop in self.loops:
                loop.turn(0)

    def look(self) -> int:
        self.forwarder.look()
        self.turn()
        return self.log.drain()

    def close(self) -> None:
        self.forwarder.close()
        for mux in self.muxes:
            mux.close()
        for loop in self.loops:
            loop.close()
        for end in (*self.sockets, self.ours):
            end.close()
        self.ring.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def test_records_come_once_in_order_while_the_ring_wraps(wire: Wire) -> None:
    assert wire.look() == 0
    wire.ring.start()
    for count in (5, 16, 0, 11, 16, 1):
        for _ in range(count):
            wire.ring.add()
        assert wire.look() == count
    assert wire.seen == list(range(1, 50))
    assert wire.ring.get("tail") == 49
    assert wire.log.health.gaps() == []
    assert wire.before


def test_the_doorbell_is_asked_for_when_there_is_nothing(wire: Wire) -> None:
    wire.ring.start()
    wire.look()
    assert wire.ring.get("armed", "<I") == 1


def test_no_doorbell_where_instructions_are_counted() -> None:
    wire = Wire(arm=False)
    wire.ring.start()
    wire.look()
    assert wire.ring.get("armed", "<I") == 0
    wire.close()


def test_losses_and_exits_are_told_without_records(wire: Wire) -> None:
    wire.ring.start()
    wire.ring.set("exits", 123)
    wire.look()
    assert wire.log.exits == 123
    for _ in range(20):
        wire.ring.add()
    wire.look()
    wire.ring.add()
    wire.look()
    assert wire.log.health.gaps() == ["the host dropped 4 records: the log was full"]


def test_a_torn_record_is_left_out(wire: Wire) -> None:
    wire.ring.start()
    wire.ring.add()
    torn = bytearray(make_record(2, value=1))
    torn[32] ^= 4
    wire.ring.write(bytes(torn))
    wire.ring.add()
    wire.look()
    assert wire.seen == [1, 3]
    assert wire.log.health.torn == 1


@pytest.mark.parametrize("damage", ["version", "magic", "capacity", "head"])
def test_a_ring_that_makes_no_sense_is_reported_once(damage: str) -> None:
    wire = Wire(version=99 if damage == "version" else None)
    wire.ring.start(*([7] if damage == "magic" else []))
    if damage == "capacity":
        wire.ring.set("capacity", 3, "<I")
    if damage == "head":
        wire.look()
        wire.ring.set("head", 1000)
    with pytest.raises(HostLogError):
        wire.look()
    assert wire.look() == 0
    wire.close()


def test_the_end_comes_after_the_last_record(wire: Wire) -> None:
    wire.ring.start()
    wire.look()
    for _ in range(3):
        wire.ring.add()
    wire.forwarder.finish()
    wire.turn()
    assert wire.log.drain() == 3
    assert wire.log.ended


def test_more_than_the_window_waits_for_the_reader() -> None:
    wire = Wire(1 << 15)
    wire.ring.start()
    for _ in range((1 << 15) - 1):
        wire.ring.add()
    wire.forwarder.finish()
    wire.turn()
    # The ring holds 2 MiB, the window 1 MiB: what nobody has read stays in the ring.
    assert 0 < wire.ring.get("tail") * 64 <= frames.WINDOW_SIZE
    while not wire.log.ended:
        wire.log.drain()
        wire.turn()
    assert len(wire.seen) == (1 << 15) - 1
    assert wire.log.health.gaps() == []
    wire.close()


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_a_stream_that_is_none(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        log = StreamedLog(ours, 1 << 20, lambda _: None)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            log.drain()
        except HostLogError:
            assert log.ended
        assert log.drain() == 0
