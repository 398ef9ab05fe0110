# SPDX-License-Identifier: GPL-2.0-or-later
"""Reader of the emulated host's log where QEMU runs on another host: what snp_harness/agent/ring.py sends."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from snp_harness.agent.ring import BATCH, SIZE
from snp_harness.capture.host_log import HostLogError, RecordLog
from snp_harness.capture.record import HEADER_SIZE, RECORD_SIZE, RING_OFFSETS

_RECEIVE = 1 << 18
#: Bytes of the ring's header that are sent: all its fields.
HEAD_SIZE = 64
#: The ring's layout, as the agent wants it (snp_harness/agent/ring.py, Layout).
LAYOUT = {
    "header_size": HEADER_SIZE,
    "head_size": HEAD_SIZE,
    "record_size": RECORD_SIZE,
    **{name: RING_OFFSETS[name] for name in ("magic", "capacity", "head", "tail", "armed")},
}


class StreamedLog(RecordLog):
    """Reads a socket. ended: nothing more comes."""

    def __init__(self, connection: socket.socket, size: int, take: Callable[[bytes], None]) -> None:
        super().__init__(size, take)
        self.ended = False
        self._socket = connection
        self._socket.setblocking(False)
        self._buffer = bytearray()
        self._exits = 0
        self._error: HostLogError | None = None

    @property
    def exits(self) -> int:
        """#VMEXITs so far, as of the last message."""
        return self._exits

    def drain(self) -> int:
        """See RecordLog."""
        before = self.taken
        self.receive()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self.taken - before

    def receive(self) -> None:
        """As `drain`; what it would raise is raised by the next `drain`. For the loop."""
        while not self.ended:
            try:
                data = self._socket.recv(_RECEIVE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.ended = True
                return
            self._buffer += data
            try:
                while self._take_message():
                    pass
            except HostLogError as error:
                # What comes after it cannot be understood.
                self._error = error
                self.ended = True

    def arm(self) -> None:
        """Its agent does that."""

    def close(self) -> None:
        """The socket is its giver's."""
        self.ended = True

    def _take_message(self) -> bool:
        """Take a message off the buffer; False if there is no whole one."""
        start = HEAD_SIZE + SIZE.size
        if len(self._buffer) < start:
            return False
        (size,) = SIZE.unpack_from(self._buffer, HEAD_SIZE)
        if size > BATCH or size % RECORD_SIZE:
            raise HostLogError(
                f"the host's agent sent {size} bytes of records at once", "use one version on both sides"
            )
        if len(self._buffer) < start + size:
            return False
        self._take_header()
        if size:
            batch = bytes(memoryview(self._buffer)[start : start + size])
            self.taken += size // RECORD_SIZE
            self._give(batch)
        del self._buffer[: start + size]
        return True

    def _take_header(self) -> None:
        def field(name: str, form: str) -> int:
            value: int = struct.unpack_from(form, self._buffer, RING_OFFSETS[name])[0]
            return value

        if not self._capacity:
            self._check_header(field("magic", "<Q"), field("version", "<I"), field("capacity", "<I"))
        self._check_count(field("head", "<Q"))
        self.health.dropped = field("lost", "<Q")
        self._exits = field("exits", "<Q")
