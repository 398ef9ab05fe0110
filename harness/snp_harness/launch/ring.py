# SPDX-License-Identifier: GPL-2.0-or-later
"""Reader of the emulated host's log: a ring of records in memory that QEMU shares (harness/emulator/include/record.h).

The host writes a record and then moves `head`; the reader copies the records between `tail` and `head`, and moves
`tail`. Fast polling is not needed: when the ring is empty the reader sets `armed`, and the host then rings the doorbell
port once. Both sides store before they load (`armed` here, `head` there), and a missed bell delays the records only
until the caller reads again. capture/host_log.py decodes and checks the records.
"""

from __future__ import annotations

import mmap
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

from snp_harness.launch.loop import Loop

MAGIC = 0x31474F4C504E53
VERSION = 1
#: Bytes of the ring's header, which precedes the records.
HEADER_SIZE = 4096
#: Bytes of a record.
RECORD_SIZE = 64
#: Offsets in struct record_ring, bytes.
RING_OFFSETS = {
    "magic": 0,
    "version": 8,
    "capacity": 12,
    "head": 16,
    "tail": 24,
    "lost": 32,
    "armed": 40,
    "gate": 44,
    "exits": 48,
    "halted": 56 + 256 * 8,
}
#: Records copied at once; bounds the memory of a `read`.
BATCH = 8192
# The offsets as indices of 64-bit and 32-bit words.
_HEAD, _TAIL, _LOST, _EXITS, _MAGIC, _HALTED = (
    RING_OFFSETS[name] // 8 for name in ("head", "tail", "lost", "exits", "magic", "halted")
)
_VERSION, _CAPACITY, _ARMED, _GATE = (RING_OFFSETS[name] // 4 for name in ("version", "capacity", "armed", "gate"))
_RECEIVE = 4096


#: RECORD_GATE_* of record.h.
GATE_OPEN, GATE_ASKED, GATE_CLOSED = range(3)


class RingError(Exception):
    """The ring is of another version than this reader, or its header is damaged."""


class Gate:
    """The gate of a ring, a context manager: the host waits outside the guest while it is closed. fd: of the memory."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, HEADER_SIZE)
        self._word = memoryview(self._map).cast("I")[_GATE : _GATE + 1]

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        self._word.release()
        self._map.close()

    @property
    def closed(self) -> bool:
        """Whether the host waits."""
        return self._word[0] == GATE_CLOSED

    def close(self) -> None:
        """Ask the host to wait before it enters the guest again."""
        self._word[0] = GATE_ASKED

    def open(self) -> None:
        """Let it go on."""
        self._word[0] = GATE_OPEN


class RecordSource(Protocol):
    """A reader of one ring, on this machine or another."""

    @property
    def exits(self) -> int:
        """#VMEXITs so far, as of the last message from the host."""
        ...

    @property
    def lost(self) -> int:
        """Records that the host dropped because the ring was full."""
        ...

    @property
    def halted(self) -> int:
        """A pc if all vCPUs are in HLT with interrupts off; 0: not so, or not known."""
        ...

    def read(self) -> Iterator[bytes]:
        """Yield all waiting records, in batches. Raises RingError."""
        ...

    def arm(self) -> None:
        """Request the doorbell at the next record. Read once more after it: a record may have been written before."""
        ...

    def close(self) -> None:
        """Release the ring or the stream."""
        ...


class RingReader:
    """The reader of a ring in shared memory. fd: of the memory, size: its bytes."""

    def __init__(self, fd: int, size: int) -> None:
        if size <= HEADER_SIZE:
            raise ValueError(f"a ring of {size} bytes has no records")
        self._map = mmap.mmap(fd, size)
        view = memoryview(self._map)
        # An item of a cast view is read and written by one aligned access, so the other side sees it whole.
        self._u64 = view[:HEADER_SIZE].cast("Q")
        self._u32 = view[:HEADER_SIZE].cast("I")
        self._records = view[HEADER_SIZE:]
        view.release()
        self._capacity = 0
        self._taken = 0
        self._stop_listening: Callable[[], None] | None = None

    @property
    def exits(self) -> int:
        """#VMEXITs so far."""
        return self._u64[_EXITS]

    @property
    def lost(self) -> int:
        """Records that the host dropped because the ring was full."""
        return self._u64[_LOST]

    @property
    def halted(self) -> int:
        """A pc if all vCPUs are in HLT with interrupts off, else 0."""
        return self._u64[_HALTED]

    def waiting(self) -> int:
        """Return the number of waiting records; 0 before the host has set up the ring. Raises RingError."""
        if not self._capacity and not self._set_up():
            return 0
        head = self._u64[_HEAD]
        count = head - self._taken
        if not 0 <= count <= self._capacity:
            raise RingError(f"the emulated host's log is damaged: {head} records written, {self._taken} read")
        return count

    def take(self, most: int) -> bytes:
        """Return a copy of the next records, at most `most`, fewer at the end of the ring, and free their slots.

        `most` must not exceed the result of `waiting`.
        """
        start = self._taken % self._capacity
        number = min(most, self._capacity - start)
        batch = bytes(self._records[start * RECORD_SIZE : (start + number) * RECORD_SIZE])
        self._taken += number
        self._u64[_TAIL] = self._taken
        return batch

    def read(self) -> Iterator[bytes]:
        """The records there are, in batches. Raises RingError."""
        left = self.waiting()
        while left:
            batch = self.take(min(left, BATCH))
            left -= len(batch) // RECORD_SIZE
            yield batch

    def arm(self) -> None:
        """Ask for the doorbell at the next record."""
        self._u32[_ARMED] = 1

    def listen(self, doorbell: socket.socket, loop: Loop, rung: Callable[[], None]) -> None:
        """Call `rung` when the host rings, until `close` or the end of the doorbell's stream."""
        doorbell.setblocking(False)

        def ring() -> None:
            try:
                data = doorbell.recv(_RECEIVE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                loop.forget(doorbell)
            rung()

        loop.watch(doorbell, ring)
        self._stop_listening = lambda: loop.forget(doorbell)

    def close(self) -> None:
        """Unmap the ring, and stop watching the doorbell."""
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        self._u64.release()
        self._u32.release()
        self._records.release()
        self._map.close()

    def _set_up(self) -> bool:
        """Check the ring's header; False if the host has not set it up yet. Raises RingError."""
        if self._u64[_MAGIC] == 0:
            return False
        version, capacity = self._u32[_VERSION], self._u32[_CAPACITY]
        if self._u64[_MAGIC] != MAGIC or version != VERSION:
            raise RingError(f"the emulated host's log has version {version}, {VERSION} is supported")
        if capacity == 0 or capacity & (capacity - 1) or capacity * RECORD_SIZE > len(self._records):
            raise RingError(f"the emulated host's log reports a capacity of {capacity} records")
        self._capacity = capacity
        # A ring that was saved has an earlier reader's.
        self._taken = self._u64[_TAIL]
        return True
