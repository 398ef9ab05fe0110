# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's log as a sequence of good records: each is checked, and what is missing is counted."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from snp_harness.capture.record import RECORD, checks_fit, record_check
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.launch.ring import RECORD_SIZE, RecordSource, RingError

_REBUILD_HINT = "build hypervisor and harness from the same sources: make -C harness/emulator"


class HostLogError(BrokenEnvironmentError):
    """The ring has another format than this reader expects: another version, or damaged by the hypervisor."""


@dataclass(slots=True)
class LogHealth:
    """What was lost so far. dropped: by the hypervisor, since the ring was full. torn: records with a wrong check word.

    missing: records that the sequence numbers skip, and those that were being taken when an interrupt arrived.
    """

    dropped: int = 0
    torn: int = 0
    missing: int = 0

    @property
    def lost(self) -> int:
        """Return how many records were lost. Dropped ones have no sequence number: no record is counted twice."""
        return self.dropped + self.torn + self.missing

    def gaps(self) -> list[str]:
        """Return a sentence for each kind of loss."""
        found = []
        if self.dropped:
            found.append(f"the hypervisor dropped {self.dropped} records: the log was full")
        if self.torn:
            found.append(f"{self.torn} records of the log are torn")
        if self.missing:
            found.append(f"{self.missing} records of the log are missing")
        return found


class HostLog:
    """Reads a ring. take: is called with each batch of good records, in order, as bytes (a multiple of RECORD_SIZE)."""

    def __init__(self, ring: RecordSource, take: Callable[[bytes], None]) -> None:
        self._ring = ring
        self._take = take
        self._next_seq = 1
        self.health = LogHealth()

    @property
    def exits(self) -> int:
        """Return the #VMEXITs so far, as far as they are known."""
        return self._ring.exits

    @property
    def halted(self) -> int:
        """Return the pc of a guest that is halted for ever, as far as that is known, else 0."""
        return self._ring.halted

    def drain(self) -> int:
        """Read all records that are there; returns how many, good and bad. Raises HostLogError, HostError."""
        count = 0
        try:
            for batch in self._ring.read():
                count += len(batch) // RECORD_SIZE
                self._give(batch)
        except RingError as error:
            raise HostLogError(str(error), _REBUILD_HINT) from None
        self.health.dropped = self._ring.lost
        return count

    def arm(self) -> None:
        """Request the doorbell for the next record. Drain once more after it: a record may have arrived before."""
        self._ring.arm()

    def close(self) -> None:
        """Release the ring."""
        self._ring.close()

    def _give(self, batch: bytes) -> None:
        """Pass on the good records of a batch."""
        number = len(batch) // RECORD_SIZE
        good = batch if self._is_good(batch, number) else self._sift(batch)
        try:
            self._take(good)
        except KeyboardInterrupt:
            # How many of them were taken before Ctrl-C is not known.
            self.health.missing += len(good) // RECORD_SIZE
            raise

    def _is_good(self, batch: bytes, number: int) -> bool:
        """Whether every record of the batch is complete and has the next sequence number."""
        expected = array("Q", range(self._next_seq, self._next_seq + number))
        if memoryview(batch).cast("Q")[:: RECORD_SIZE // 8].tobytes() != expected.tobytes() or not checks_fit(batch):
            return False
        self._next_seq += number
        return True

    def _sift(self, batch: bytes) -> bytes:
        """Return the good records of a batch; the bad ones are counted."""
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
