# SPDX-License-Identifier: GPL-2.0-or-later
"""The writing side of the ring, as in the hypervisor, for tests of the reader."""

from __future__ import annotations

import mmap
import os
import struct

from snp_harness.capture.record import RECORD, HostRecord, record_check
from snp_harness.launch.ring import HEADER_SIZE, MAGIC, RECORD_SIZE, RING_OFFSETS, VERSION
from snp_harness.launch.shared_memory import shared_memory


def make_record(seq: int = 1, **fields: int) -> bytes:
    """A record with the correct check word."""
    values = dict.fromkeys(HostRecord._fields, 0) | {"seq": seq, "time_ns": seq * 1000} | fields
    record = HostRecord(**values)
    return RECORD.pack(*record._replace(check=record_check(RECORD.pack(*record))))


class RingWriter:
    """A ring in shared memory. fd: for the reader to map."""

    def __init__(self, capacity: int, *, version: int = VERSION) -> None:
        self.capacity = capacity
        self.size = HEADER_SIZE + capacity * RECORD_SIZE
        self.fd = shared_memory("test-ring", self.size)
        self.map = mmap.mmap(self.fd, self.size)
        self.set("version", version, "<I")
        self.set("capacity", capacity, "<I")
        self.head = 0

    def start(self, magic: int = MAGIC) -> None:
        """Set up the ring as the hypervisor does."""
        self.set("magic", magic)

    def set(self, name: str, value: int, form: str = "<Q") -> None:
        """Write a field of the header."""
        struct.pack_into(form, self.map, RING_OFFSETS[name], value)

    def get(self, name: str, form: str = "<Q") -> int:
        """Read a field of the header."""
        value: int = struct.unpack_from(form, self.map, RING_OFFSETS[name])[0]
        return value

    def write(self, record: bytes) -> None:
        """Write a record unchanged; a full ring drops it."""
        if self.head - self.get("tail") >= self.capacity:
            self.set("lost", self.get("lost") + 1)
            return
        start = HEADER_SIZE + self.head % self.capacity * RECORD_SIZE
        self.map[start : start + RECORD_SIZE] = record
        self.head += 1
        self.set("head", self.head)

    def add(self, **fields: int) -> None:
        """Write the next record."""
        self.write(make_record(self.head + 1, **fields))

    def close(self) -> None:
        self.map.close()
        os.close(self.fd)
