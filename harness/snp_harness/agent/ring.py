# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends the emulated host's log home: takes the records from the ring in shared memory as a local reader would.

The stream is a row of messages: the first bytes of the ring's header as they are (`Layout.head_size`), u32 number of
bytes of records, the records. Whether header and records are good is the near side's to judge (capture/host_log.py).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from typing import Any

from snp_harness.agent import frames
from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.mux import Stream
from snp_harness.launch.loop import Loop, Timer

#: Seconds between two looks while records come, and while none come; the doorbell rings earlier.
BUSY_S = 0.02
IDLE_S = 0.25
#: Bytes of records sent at once.
BATCH = 256 << 10
SIZE = struct.Struct("<I")
_SIZE_MAX = 1 << 30


class Layout:
    """The ring's layout as the near side knows it (snp_harness/capture/record.py); offsets and sizes in bytes."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.header_size = int(given["header_size"])
        self.head_size = int(given["head_size"])
        self.record_size = int(given["record_size"])
        self.magic = int(given["magic"])
        self.capacity = int(given["capacity"])
        self.head = int(given["head"])
        self.tail = int(given["tail"])
        self.armed = int(given["armed"])
        places = (self.magic, self.capacity, self.head, self.tail, self.armed)
        if not 0 < self.head_size <= self.header_size <= 1 << 20 or not 0 < self.record_size <= 4096:
            raise AgentError("usage", "this is no layout of a log", "")
        if not all(0 <= place <= self.header_size - 8 for place in places):
            raise AgentError("usage", "this is no layout of a log", "")


class RingForwarder:
    """Reads one ring. before: called before records are sent, so that what the guest printed earlier goes first.

    arm: ask the host for its doorbell when there is nothing to read.
    """

    def __init__(
        self,
        loop: Loop,
        stream: Stream,
        fd: int,
        size: int,
        layout: Layout,
        before: Callable[[], None],
        *,
        arm: bool,
    ) -> None:
        if not layout.header_size < size <= _SIZE_MAX:
            raise AgentError("usage", f"a log of {size} bytes cannot be", "")
        self._loop = loop
        self._stream = stream
        self._layout = layout
        self._before = before
        self._arm = arm
        self._map = mmap.mmap(fd, size)
        view = memoryview(self._map)
        # An item of a cast view is read and written by one aligned access: the other side never sees halves.
        self._u64 = view[: layout.header_size].cast("Q")
        self._u32 = view[: layout.header_size].cast("I")
        self._records = view[layout.header_size :]
        view.release()
        self._capacity = 0
        self._taken = 0
        self._told = b""
        self._broken = False
        self._ending = False
        self._timer: Timer | None = None
        stream.on_credit = self.look
        self.look()

    def look(self) -> None:
        """Send what there is, and say when to look again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._broken:
            return
        busy = self._drain()
        if not busy and self._arm and self._capacity and not self._ending:
            self._u32[self._layout.armed // 4] = 1
            # A record may have come before.
            busy = self._drain()
        if self._ending:
            # What the window has no room for goes with the next credit.
            if self._left() == 0 or self._broken:
                self._stream.end()
            return
        self._timer = self._loop.later(BUSY_S if busy or not self._arm else IDLE_S, self.look)

    def finish(self) -> None:
        """QEMU has ended: send the rest, then the stream's end."""
        self._ending = True
        if self._broken:
            self._stream.end()
        self.look()

    def close(self) -> None:
        """Unmap the ring."""
        self._broken = True
        if self._timer is not None:
            self._timer.cancel()
        self._stream.on_credit = None
        self._u64.release()
        self._u32.release()
        self._records.release()
        self._map.close()

    def _left(self) -> int:
        """Records that were not taken."""
        return self._u64[self._layout.head // 8] - self._taken if self._capacity else 0

    def _drain(self) -> bool:
        """Send the records there are, as far as there is credit, or the header if it has changed; False if neither."""
        if not self._ready():
            return False
        size = self._layout.record_size
        sent = False
        left = self._left()
        if left:
            self._before()
        while left and not self._broken:
            room = (self._stream.credit - self._layout.head_size - SIZE.size) // size
            start = self._taken % self._capacity
            number = min(left, BATCH // size, self._capacity - start, room)
            if number <= 0:
                return sent
            self._send(bytes(self._records[start * size : (start + number) * size]))
            self._taken += number
            # The slots may be written again from here on; what was sent is a copy.
            self._u64[self._layout.tail // 8] = self._taken
            left -= number
            sent = True
        if not sent and self._header() != self._told:
            self._send(b"")
        return sent

    def _ready(self) -> bool:
        """The host has set up the ring. One that makes no sense is sent home as it is, and not read any more."""
        layout = self._layout
        if not self._capacity:
            if self._u64[layout.magic // 8] == 0:
                return False
            capacity = self._u32[layout.capacity // 4]
            if capacity == 0 or capacity & (capacity - 1) or capacity * layout.record_size > len(self._records):
                self._break()
                return False
            self._capacity = capacity
        if not 0 <= self._left() <= self._capacity:
            self._break()
            return False
        return True

    def _break(self) -> None:
        self._send(b"")
        self._broken = True

    def _header(self) -> bytes:
        return self._map[: self._layout.head_size]

    def _send(self, records: bytes) -> None:
        header = self._header()
        message = header + SIZE.pack(len(records)) + records
        if len(message) <= self._stream.credit:
            self._told = header
            self._stream.send(message)


assert BATCH + 4096 <= frames.PAYLOAD_MAX
