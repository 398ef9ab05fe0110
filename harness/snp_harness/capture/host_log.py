# SPDX-License-Identifier: GPL-2.0-or-later
"""Reader of the emulated host's log: a ring of records in memory that QEMU shares (harness/emulator/include/record.h).

The host writes a record and then moves `head`; this side takes what lies between `tail` and `head`, checks it, and
moves `tail`. Nothing is polled fast: when the ring is empty the reader sets `armed`, and the host then rings the
doorbell port once. Both sides store before they look (`armed` here, `head` there), and a missed bell costs no more than
the caller's next look.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from dataclasses import dataclass

from snp_harness.capture.record import (
    HEADER_SIZE,
    MAGIC,
    RECORD,
    RECORD_SIZE,
    RING_OFFSETS,
    VERSION,
    checks_fit,
    record_check,
)
from snp_harness.errors import BrokenEnvironmentError

#: Records taken at once; bounds the memory of a drain.
BATCH = 8192


class HostLogError(BrokenEnvironmentError):
    """The ring is not what this reader knows: another version, or a host that has lost its mind."""


@dataclass(slots=True)
class LogHealth:
    """What was missed so far. dropped: by the host, since the ring was full. torn: records whose check word is wrong.

    missing: records that the sequence numbers skip.
    """

    dropped: int = 0
    torn: int = 0
    missing: int = 0

    @property
    def lost(self) -> int:
        """Records that were not seen. What the host drops has no sequence number, so nothing counts twice."""
        return self.dropped + self.torn + self.missing

    def gaps(self) -> list[str]:
        """A sentence for each kind of loss."""
        found = []
        if self.dropped:
            found.append(f"the host dropped {self.dropped} records: the log was full")
        if self.torn:
            found.append(f"{self.torn} records of the log are torn")
        if self.missing:
            found.append(f"{self.missing} records of the log are missing")
        return found


class RecordLog(ABC):
    """A reader. take: is given each batch of good records, in order, as bytes (a multiple of RECORD_SIZE).

    exits: #VMEXITs so far, as far as they are known. taken: records taken so far, good and bad.
    """

    def __init__(self, size: int, take: Callable[[bytes], None]) -> None:
        self._room = size - HEADER_SIZE
        self._take = take
        self._capacity = 0
        self._next_seq = 1
        self.taken = 0
        self.health = LogHealth()

    @property
    @abstractmethod
    def exits(self) -> int:
        """#VMEXITs so far."""

    @abstractmethod
    def drain(self) -> int:
        """Take all records there are; returns how many. Raises HostLogError."""

    @abstractmethod
    def arm(self) -> None:
        """Ask for the doorbell at the next record. Drain once more after it: a record may have come before."""

    @abstractmethod
    def close(self) -> None:
        """Give back what it reads from."""

    def _check_header(self, magic: int, version: int, capacity: int) -> None:
        """Raises HostLogError if this is another ring than this one."""
        if magic != MAGIC or version != VERSION:
            raise HostLogError(f"the emulated host's log has version {version}, {VERSION} is known", _REBUILD_HINT)
        if capacity == 0 or capacity & capacity - 1 or capacity * RECORD_SIZE > self._room:
            raise HostLogError(f"the emulated host's log says that it holds {capacity} records", _REBUILD_HINT)
        self._capacity = capacity

    def _check_count(self, head: int) -> int:
        """How many records there are. Raises HostLogError if there cannot be so many."""
        count = head - self.taken
        if not 0 <= count <= self._capacity:
            raise HostLogError(
                f"the emulated host's log is damaged: {head} records written, {self.taken} taken", _REBUILD_HINT
            )
        return count

    def _give(self, batch: bytes) -> None:
        """Pass on the good records of a batch."""
        number = len(batch) // RECORD_SIZE
        self._take(batch if self._is_good(batch, number) else self._sift(batch))

    def _is_good(self, batch: bytes, number: int) -> bool:
        """Every record of the batch is the next one and whole."""
        expected = array("Q", range(self._next_seq, self._next_seq + number))
        if memoryview(batch).cast("Q")[:: RECORD_SIZE // 8].tobytes() != expected.tobytes() or not checks_fit(batch):
            return False
        self._next_seq += number
        return True

    def _sift(self, batch: bytes) -> bytes:
        """The good records of a batch that has bad ones, which are counted."""
        good = bytearray()
        for start in range(0, len(batch), RECORD_SIZE):
            record = batch[start : start + RECORD_SIZE]
            seq, *_ = fields = RECORD.unpack(record)
            if fields[6] != record_check(record) or seq < self._next_seq:
                self.health.torn += 1
                self._next_seq += 1
                continue
            self.health.missing += seq - self._next_seq
            self._next_seq = seq + 1
            good += record
        return bytes(good)


class HostLog(RecordLog):
    """The reader of a ring in shared memory."""

    def __init__(self, fd: int, size: int, take: Callable[[bytes], None]) -> None:
        super().__init__(size, take)
        self._map = mmap.mmap(fd, size)
        view = memoryview(self._map)
        # An item of a cast view is read and written by one aligned access: the other side never sees halves.
        self._u64 = view[:HEADER_SIZE].cast("Q")
        self._u32 = view[:HEADER_SIZE].cast("I")
        self._records = view[HEADER_SIZE:]
        view.release()

    @property
    def exits(self) -> int:
        """#VMEXITs so far."""
        return self._u64[RING_OFFSETS["exits"] // 8]

    def drain(self) -> int:
        """See RecordLog."""
        if not self._ready():
            return 0
        self.health.dropped = self._u64[RING_OFFSETS["lost"] // 8]
        count = left = self._check_count(self._u64[RING_OFFSETS["head"] // 8])
        while left:
            start = self.taken % self._capacity
            number = min(left, BATCH, self._capacity - start)
            batch = bytes(self._records[start * RECORD_SIZE : (start + number) * RECORD_SIZE])
            self.taken += number
            # The slots may be written again from here on; `batch` is a copy.
            self._u64[RING_OFFSETS["tail"] // 8] = self.taken
            left -= number
            self._give(batch)
        return count

    def arm(self) -> None:
        """See RecordLog."""
        self._u32[RING_OFFSETS["armed"] // 4] = 1

    def close(self) -> None:
        """Unmap the ring."""
        self._u64.release()
        self._u32.release()
        self._records.release()
        self._map.close()

    def _ready(self) -> bool:
        """The host has set up the ring. Raises HostLogError if it is another ring than this one."""
        if self._capacity:
            return True
        magic = self._u64[RING_OFFSETS["magic"] // 8]
        if magic == 0:
            return False
        self._check_header(magic, self._u32[RING_OFFSETS["version"] // 4], self._u32[RING_OFFSETS["capacity"] // 4])
        return True


_REBUILD_HINT = "build host and harness from the same sources: make -C harness/emulator"
