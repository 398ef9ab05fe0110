# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated host's log if QEMU runs on another host: receives the messages of snp_harness/agent/ring.py."""

from __future__ import annotations

import collections
import socket
from collections.abc import Iterator

from snp_harness.agent.ring import BATCH, MESSAGE, TEXT_MAX
from snp_harness.hosts.host_errors import HostError
from snp_harness.launch.loop import Loop
from snp_harness.launch.ring import RECORD_SIZE, RingError
from snp_harness.vm.qemu_errors import printable

_RECEIVE = 1 << 18


class StreamedRing:
    """A RecordSource (snp_harness.launch.ring) that receives while the loop turns. ended: the stream has ended."""

    def __init__(self, connection: socket.socket, loop: Loop) -> None:
        self.lost = 0
        self.exits = 0
        #: Not sent.
        self.halted = 0
        self.ended = False
        self._socket = connection
        self._socket.setblocking(False)
        self._loop = loop
        self._buffer = bytearray()
        self._batches: collections.deque[bytes] = collections.deque()
        self._error: HostError | RingError | None = None
        loop.watch(connection, self._receive)

    def read(self) -> Iterator[bytes]:
        """Yield the records received so far, in batches. Raises RingError, and HostError for an invalid message."""
        self._receive()
        while self._batches:
            yield self._batches.popleft()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def arm(self) -> None:
        """Do nothing: the agent arms the ring."""

    def close(self) -> None:
        """Stop receiving, and close the stream."""
        self._end()
        self._socket.close()

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._loop.forget(self._socket)

    def _receive(self) -> None:
        while not self.ended:
            try:
                data = self._socket.recv(_RECEIVE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._buffer += data
            try:
                while self._take_message():
                    pass
            except (HostError, RingError) as error:
                # The data after it cannot be decoded.
                self._error = error
                data = b""
            if not data:
                self._end()

    def _take_message(self) -> bool:
        """Remove a message from the buffer; False if there is no complete one."""
        if len(self._buffer) < MESSAGE.size:
            return False
        lost, exits, size, text_size = MESSAGE.unpack_from(self._buffer)
        if size > BATCH or size % RECORD_SIZE or text_size > TEXT_MAX:
            raise HostError(f"the host's agent sent {size} bytes of records at once", "use one version on both sides")
        start, end = MESSAGE.size, MESSAGE.size + size + text_size
        if len(self._buffer) < end:
            return False
        self.lost, self.exits = lost, exits
        if size:
            self._batches.append(bytes(memoryview(self._buffer)[start : start + size]))
        text = bytes(self._buffer[start + size : end])
        del self._buffer[:end]
        if text:
            raise RingError(printable(text.decode(errors="replace"), TEXT_MAX))
        return True
