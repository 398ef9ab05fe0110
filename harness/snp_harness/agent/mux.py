# SPDX-License-Identifier: GPL-2.0-or-later
"""Many streams on one byte stream: local descriptors on this side are joined with those of the other side.

Both sides use this. A window limits the pending data of each stream (snp_harness/agent/frames.py), so the buffers are
bounded, and neither side ever stops reading the byte stream.
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import time
from collections.abc import Callable
from io import FileIO
from typing import Any, Protocol, Union

from snp_harness.agent import frames
from snp_harness.agent.frames import FrameError
from snp_harness.launch.fifo import ConsoleFifo
from snp_harness.launch.loop import Loop

#: The local end of a stream: a socket, a pipe, a console.
LocalFile = Union[socket.socket, FileIO, ConsoleFifo]

#: The reason for the loss of a byte stream that the other side has closed.
CLOSED = "it was closed"
_CHUNK = 64 << 10
#: Most bytes of one write to the byte stream.
_WRITE = 256 << 10
#: A receiver grants credit in portions of at least so many bytes.
_CREDIT_STEP = frames.WINDOW_SIZE // 4


class Port(Protocol):
    """The byte stream."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when there is data."""
        ...

    def read(self) -> bytes | None:
        """Return the received data; None: there is none now; b"": the end. Raises OSError."""
        ...

    def write(self, data: memoryview) -> int:
        """Return the number of bytes written; 0: wait with `watch_writable`. Raises OSError."""
        ...

    def watch_writable(self, loop: Loop, readable: Callable[[], None], writable: Callable[[], None]) -> None:
        """Watch for reading, and call `writable` once it can be written."""
        ...


class DescriptorPort:
    """A byte stream of two descriptors, which may be one."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def fileno(self) -> int:
        """The descriptor that is read."""
        return self._read_fd

    def read(self) -> bytes | None:
        """Read what there is; None: nothing now; b"": the end. Raises OSError."""
        try:
            return os.read(self._read_fd, _WRITE)
        except BlockingIOError:
            return None

    def write(self, data: memoryview) -> int:
        """Write; returns how much was written. Raises OSError."""
        try:
            return os.write(self._write_fd, data)
        except BlockingIOError:
            return 0

    def watch_writable(self, loop: Loop, readable: Callable[[], None], writable: Callable[[], None]) -> None:
        """Watch for reading, and call `writable` when it can be written."""
        if self._read_fd == self._write_fd:
            loop.watch(self._read_fd, readable, writable)
            return

        def once() -> None:
            loop.forget(self._write_fd)
            writable()

        loop.watch(self._write_fd, None, once)


class Stream:
    """One stream. credit: bytes that may be sent. on_credit: called when credit increases. on_finished: called when all
    data of the other side has been passed on.

    Without a local file its user sends with `send`, at most `credit` bytes, and ends it with `end`.
    pace_s: seconds for which the local file is not read after data was sent, so that single bytes are sent together.
    """

    def __init__(
        self, mux: Mux, number: int, file: LocalFile | None, reads: bool, writes: bool, pace_s: float = 0.0
    ) -> None:
        self.number = number
        self.credit = frames.WINDOW_SIZE
        self.on_credit: Callable[[], None] | None = None
        self.on_finished: Callable[[], None] | None = None
        self._mux = mux
        self._file = file
        self._fd = -1 if file is None else file.fileno()
        self._sink = file.sink if isinstance(file, ConsoleFifo) else self._fd
        self._pending: collections.deque[bytes] = collections.deque()
        self._pending_size = 0
        self._owed = 0
        self._pace_s = pace_s
        self._resting = False
        self._discarding = file is None
        self._end_sent = not reads
        self._end_taken = not writes
        if self._fd >= 0:
            os.set_blocking(self._fd, False)
        self._rewatch()

    def send(self, data: bytes) -> None:
        """Send data, at most `credit` bytes."""
        self.credit -= len(data)
        self._mux.send(frames.encode(frames.DATA, self.number, data))

    def end(self) -> None:
        """Send the end of this direction."""
        if not self._end_sent:
            self._end_sent = True
            self._mux.send(frames.encode(frames.DATA, self.number))
            self._rewatch()
            self._close_if_over()

    def pump(self) -> None:
        """Send the data that the local file has now, as far as the credit allows."""
        while self._fd >= 0 and not self._end_sent and self.credit > 0:
            try:
                data = self._read(min(self.credit, _CHUNK))
            except BlockingIOError:
                return
            except OSError:
                # The peer was killed.
                data = b""
            if not data:
                self.end()
                return
            self.send(data)
            if self.credit <= 0:
                self._rewatch()
            if len(data) < _CHUNK:
                self._rest()
                return

    def take(self, data: bytes) -> None:
        """Accept data of the other side. Raises FrameError if it exceeds the window."""
        if self._end_taken:
            return
        if not data:
            self._end_taken = True
            self._finish_writing()
            self._close_if_over()
            return
        if self._pending_size + len(data) > frames.WINDOW_SIZE:
            raise FrameError(f"stream {self.number} received more than its window")
        self._pending.append(data)
        self._pending_size += len(data)
        self._flush()

    def grant(self, size: int) -> None:
        """Add credit: the other side has passed on `size` bytes. Raises FrameError if it exceeds the window."""
        empty = self.credit <= 0
        self.credit += size
        if self.credit > frames.WINDOW_SIZE:
            raise FrameError(f"stream {self.number} received more credit than its window")
        if empty:
            self._rewatch()
        if self.on_credit is not None:
            self.on_credit()

    def close(self) -> None:
        """Close the local file, and discard pending data."""
        if self._fd >= 0:
            for fd in {self._fd, self._sink}:
                self._mux.loop.forget(fd)
            if self._file is not None:
                self._file.close()
            self._fd = self._sink = -1
        self._mux.forget(self.number)

    def _read(self, size: int) -> bytes:
        return self._file.recv(size) if isinstance(self._file, ConsoleFifo) else os.read(self._fd, size)

    def _rest(self) -> None:
        if self._pace_s and not self._resting:
            self._resting = True
            self._rewatch()
            self._mux.loop.later(self._pace_s, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._rewatch()

    def _flush(self) -> None:
        """Pass on the pending data."""
        done = 0
        while self._pending:
            data = self._pending[0]
            if self._discarding:
                taken = len(data)
            else:
                try:
                    taken = os.write(self._sink, data)
                except BlockingIOError:
                    break
                except OSError:
                    # The reader is gone; the other side may still send.
                    self._discarding = True
                    continue
            done += taken
            if taken < len(data):
                self._pending[0] = data[taken:]
            else:
                self._pending.popleft()
        self._pending_size -= done
        self._owed += done
        if self._owed >= _CREDIT_STEP and not self._end_taken:
            self._mux.send(frames.encode_credit(self.number, self._owed))
            self._owed = 0
        self._rewatch()
        if self._end_taken:
            self._finish_writing()
            self._close_if_over()

    def _finish_writing(self) -> None:
        if self._pending:
            return
        if isinstance(self._file, socket.socket) and self._fd >= 0:
            with contextlib.suppress(OSError):
                self._file.shutdown(socket.SHUT_WR)
        if self.on_finished is not None:
            self.on_finished()
            self.on_finished = None

    def _close_if_over(self) -> None:
        if self._end_sent and self._end_taken and not self._pending:
            self.close()

    def _rewatch(self) -> None:
        if self._fd < 0:
            return
        reading = not self._end_sent and self.credit > 0 and not self._resting
        writing = bool(self._pending) and not self._discarding
        pump, flush = self.pump if reading else None, self._flush if writing else None
        if self._sink == self._fd:
            self._mux.loop.watch(self._fd, pump, flush)
        else:
            self._mux.loop.watch(self._fd, pump)
            self._mux.loop.watch(self._sink, None, flush)


class Mux:
    """The streams of one byte stream, in a loop.

    on_control: given each control message. on_blob: given each blob. on_lost: called once, with a line that says why,
    when the byte stream ends or makes no sense. received_at: time.monotonic() of what was received last.
    """

    def __init__(
        self,
        port: Port,
        loop: Loop,
        on_control: Callable[[dict[str, Any]], None],
        on_blob: Callable[[bytes], None],
        on_lost: Callable[[str], None],
        greeting: frames.GreetingFinder | None = None,
    ) -> None:
        self.loop = loop
        self.received_at = time.monotonic()
        self.streams: dict[int, Stream] = {}
        self._port = port
        self._on_control = on_control
        self._on_blob = on_blob
        self._on_lost = on_lost
        self._greeting = greeting
        self._decoder = frames.Decoder()
        self._out: collections.deque[memoryview] = collections.deque()
        self._waiting = False
        self._lost = False
        self._answering = False
        loop.watch(port.fileno(), self._readable)
        loop.after_turn = self.flush

    def open(
        self,
        number: int,
        file: LocalFile | None,
        *,
        reads: bool = True,
        writes: bool = True,
        pace_s: float = 0.0,
    ) -> Stream:
        """Join stream `number` with a local file, which the stream closes at its end, and return the stream.

        file: None if the user of the stream sends with `Stream.send`. reads: the file's data is sent to the other side.
        writes: the other side's data is written to the file. pace_s: as in Stream.
        Raises ValueError for an invalid number, or one in use.
        """
        if number in self.streams or not 0 < number <= frames.STREAM_MAX:
            raise ValueError(f"stream {number} cannot be opened")
        stream = Stream(self, number, file, reads, writes, pace_s)
        self.streams[number] = stream
        return stream

    def send(self, frame: bytes) -> None:
        """Queue a frame, which is sent at the end of this turn of the loop."""
        if not self._lost:
            self._out.append(memoryview(frame))

    def send_control(self, message: dict[str, Any]) -> None:
        """Send a control message. Raises FrameError if it is too long."""
        self.send(frames.encode_control(message))

    def flush(self) -> None:
        """Write queued frames, as many as the byte stream accepts."""
        while self._out and not self._waiting and not self._lost:
            data = self._out.popleft()
            if len(data) < _WRITE and self._out:
                data = memoryview(b"".join([data, *self._small(_WRITE - len(data))]))
            try:
                taken = self._port.write(data)
            except OSError as error:
                self._lose(_why(error, "it cannot be written to"))
                return
            if taken < len(data):
                self._out.appendleft(data[taken:])
                self._waiting = True
                self._port.watch_writable(self.loop, self._readable, self._writable)
        self._answering = self._answering and bool(self._out)

    def forget(self, number: int) -> None:
        """Remove a stream that has ended."""
        self.streams.pop(number, None)

    def close(self) -> None:
        """Close all streams and their local files."""
        for stream in list(self.streams.values()):
            stream.close()

    def _small(self, room: int) -> list[memoryview]:
        taken = []
        while self._out and len(self._out[0]) <= room:
            taken.append(self._out.popleft())
            room -= len(taken[-1])
        return taken

    def _writable(self) -> None:
        self._waiting = False
        self.loop.watch(self._port.fileno(), self._readable)
        self.flush()

    def _readable(self) -> None:
        try:
            data = self._port.read()
            if data is None:
                return
            if not data:
                self._lose(CLOSED)
                return
            self.received_at = time.monotonic()
            if self._greeting is not None:
                data = self._greeting.feed(data)
            for frame in self._decoder.feed(data):
                self._take(frame)
        except OSError as error:
            self._lose(_why(error, "it cannot be read"))
        except FrameError as error:
            self._lose(str(error))

    def _take(self, frame: frames.Frame) -> None:
        kind, number, payload = frame
        if kind == frames.CONTROL:
            self._on_control(frames.decode_control(payload))
        elif kind == frames.BLOB:
            self._on_blob(payload)
        elif kind == frames.PING:
            # One answer is enough for all pings received before it is sent.
            if not self._answering:
                self._answering = True
                self.send(frames.encode(frames.PONG, 0))
        elif kind in (frames.DATA, frames.WINDOW):
            # A stream that is closed here may still be open there.
            stream = self.streams.get(number)
            if stream is not None and kind == frames.DATA:
                stream.take(payload)
            elif stream is not None:
                stream.grant(frames.decode_credit(payload))

    def _lose(self, why: str) -> None:
        if not self._lost:
            self._lost = True
            self._out.clear()
            self.loop.forget(self._port.fileno())
            self._on_lost(why)


def _why(error: OSError, what: str) -> str:
    """Return the reason of a loss. A peer that ends with unread data resets the connection, so that is an end, too."""
    return CLOSED if isinstance(error, ConnectionError) else f"{what}: {error.strerror or error}"
