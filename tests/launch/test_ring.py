# SPDX-License-Identifier: GPL-2.0-or-later
"""The reader of the ring, here and through an agent: order, wrapping, loss, damage, doorbell."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Protocol

import pytest

from snp_harness.capture.record import RECORD
from snp_harness.launch.loop import Loop
from snp_harness.launch.ring import (
    GATE_ASKED,
    GATE_CLOSED,
    GATE_OPEN,
    RECORD_SIZE,
    Gate,
    RecordSource,
    RingError,
    RingReader,
)
from tests.agent.forwarded import Forwarded
from tests.launch.ring import RingWriter


class Reading(Protocol):
    """A ring and its reader. look: makes the reader's user read the ring."""

    ring: RingWriter
    source: RecordSource

    def look(self) -> None: ...

    def close(self) -> None: ...


class Here:
    """The reader itself, used by a session."""

    def __init__(self, capacity: int = 16) -> None:
        self.ring = RingWriter(capacity)
        self.source = RingReader(self.ring.fd, self.ring.size)

    def look(self) -> None:
        """Do nothing: there is no forwarder."""

    def close(self) -> None:
        self.source.close()
        self.ring.close()


@pytest.fixture(params=[Here, Forwarded])
def reading(request: pytest.FixtureRequest) -> Iterator[Reading]:
    made = request.param()
    yield made
    made.close()


def read(reading: Reading) -> list[int]:
    """Return the sequence numbers of the records read."""
    reading.look()
    return [fields[0] for batch in reading.source.read() for fields in RECORD.iter_unpack(batch)]


def test_nothing_before_the_host_has_started(reading: Reading) -> None:
    reading.ring.add()
    assert read(reading) == []
    reading.ring.start()
    assert read(reading) == [1]
    assert reading.ring.get("tail") == 1


def test_records_come_once_in_order_while_the_ring_wraps(reading: Reading) -> None:
    reading.ring.start()
    seen = []
    for count in (5, 16, 0, 11, 16, 1):
        for _ in range(count):
            reading.ring.add()
        seen += read(reading)
        assert len(seen) == reading.ring.get("tail") == reading.ring.head
    assert seen == list(range(1, 50))
    assert reading.source.lost == 0


def test_a_ring_that_was_saved_is_read_from_where_it_was() -> None:
    """A new reader maps a copy of the memory, in which an earlier reader has read two records."""
    ring = RingWriter(16)
    ring.start()
    readers = [RingReader(ring.fd, ring.size) for _ in range(2)]
    ring.add()
    ring.add()
    assert len(b"".join(readers[0].read())) == 2 * RECORD_SIZE
    assert list(readers[1].read()) == []
    ring.add()
    assert [RECORD.unpack(record)[0] for record in readers[1].read()] == [3]
    for reader in readers:
        reader.close()
    ring.close()


def test_the_gate_is_asked_to_close_and_always_opened() -> None:
    ring = RingWriter(16)
    with Gate(ring.fd) as gate:
        states = [gate.closed]
        gate.close()
        states.append(gate.closed)
        assert ring.get("gate", "<I") == GATE_ASKED
        ring.set("gate", GATE_CLOSED, "<I")
        assert [*states, gate.closed] == [False, False, True]
    assert ring.get("gate", "<I") == GATE_OPEN
    ring.close()


def test_a_full_ring_is_counted(reading: Reading) -> None:
    reading.ring.start()
    for _ in range(20):
        reading.ring.add()
    assert read(reading) == list(range(1, 17))
    reading.ring.add()
    assert read(reading) == [17]
    assert reading.source.lost == 4


def test_losses_and_exits_are_known_without_records(reading: Reading) -> None:
    reading.ring.start()
    reading.ring.set("exits", 4711)
    reading.ring.set("lost", 3)
    assert read(reading) == []
    assert (reading.source.exits, reading.source.lost) == (4711, 3)


def test_the_doorbell_is_asked_for(reading: Reading) -> None:
    reading.ring.start()
    assert read(reading) == []
    reading.source.arm()
    assert reading.ring.get("armed", "<I") == 1


@pytest.mark.parametrize(
    ("field", "value", "form", "why"),
    [
        ("version", 2, "<I", "has version 2, 1 is supported"),
        ("magic", 7, "<Q", "has version 1, 1 is supported"),
        ("capacity", 0, "<I", "capacity of 0 records"),
        ("capacity", 12, "<I", "capacity of 12 records"),
        ("capacity", 1 << 20, "<I", "capacity of 1048576 records"),
    ],
)
def test_another_ring_is_refused(reading: Reading, field: str, value: int, form: str, why: str) -> None:
    reading.ring.start()
    reading.ring.set(field, value, form)
    with pytest.raises(RingError, match=why):
        read(reading)


@pytest.mark.parametrize("head", [17, 1 << 63])
def test_an_impossible_head_is_refused(reading: Reading, head: int) -> None:
    reading.ring.start()
    reading.ring.set("head", head)
    with pytest.raises(RingError, match=f"damaged: {head} records written, 0 read"):
        read(reading)


def test_a_head_that_goes_back_is_refused(reading: Reading) -> None:
    reading.ring.start()
    reading.ring.add()
    assert read(reading) == [1]
    reading.ring.set("head", 0)
    with pytest.raises(RingError, match="damaged"):
        read(reading)


def test_the_doorbell_is_heard_until_its_end() -> None:
    here, loop = Here(), Loop()
    ours, bell = socket.socketpair()
    rung: list[None] = []
    here.source.listen(ours, loop, lambda: rung.append(None))
    bell.send(b"!")
    assert loop.turn(60)
    assert len(rung) == 1
    bell.close()
    assert loop.turn(60)
    assert not loop.turn(0)
    here.close()
    ours.close()
    loop.close()


def test_a_closed_reader_does_not_listen() -> None:
    here, loop = Here(), Loop()
    ours, bell = socket.socketpair()
    here.source.listen(ours, loop, lambda: None)
    here.close()
    bell.send(b"!")
    assert not loop.turn(0)
    for end in (ours, bell):
        end.close()
    loop.close()


def test_a_memory_without_room_for_records() -> None:
    ring = RingWriter(0)
    with pytest.raises(ValueError, match="4096 bytes"):
        RingReader(ring.fd, ring.size)
    ring.close()
