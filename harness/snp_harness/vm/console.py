# SPDX-License-Identifier: GPL-2.0-or-later
"""A console of the guest: read continuously, kept in a bounded file, searched for expected text and for crashes."""

from __future__ import annotations

import codecs
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from snp_harness.launch.loop import Loop
from snp_harness.launch.patience import Patience
from snp_harness.vm.qemu_errors import CannotWriteError, ConsoleError, ConsoleTimeoutError, GuestCrashError, printable

if TYPE_CHECKING:
    from snp_harness.vm.expect import Expectation

#: Bytes kept of a console: a guest that prints without end must not fill the disk.
LOG_LIMIT = 64 << 20
LOG_NOTE = b"\n[snp-harness: the log is full, the rest is not kept]\n"
#: Characters that a match may span.
WINDOW = 4096
#: Characters kept for `expect`.
PENDING = 1 << 20
_RECEIVE = 1 << 16
#: Seconds between two marks of `Console.marks`, and how many are kept.
MARK_S = 0.002
MARKS_MAX = 10_000
#: Characters of a line of the guest that a message quotes.
LINE = 200

#: What firmware prints when it crashes: an unhandled exception, a failed assertion; and Linux.
#: edk2 UefiCpuPkg CpuExceptionHandlerLib (DumpCpuContext), MdePkg DebugLib (DebugAssert).
BAD_PATTERNS: tuple[str, ...] = (
    r"!!!! X64 Exception Type - [0-9A-F]{2}[^\r\n]*",
    r"!!!! IA32 Exception Type - [0-9A-F]{2}[^\r\n]*",
    r"(?m)^ASSERT \[[^\]\r\n]{1,80}\][^\r\n]*",
    r"Kernel panic - not syncing[^\r\n]*",
)
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?=]*[ -/]*[@-~]|[@-_])")


class BoundedLog:
    """A file of at most `limit` bytes, `path`; bytes above it are only counted, and `note` is written once."""

    def __init__(self, path: Path, limit: int = LOG_LIMIT, note: bytes = LOG_NOTE) -> None:
        self.path = path
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise CannotWriteError(path, error) from None
        self._left = limit
        self._note = note
        self.dropped = 0

    def write(self, data: bytes) -> None:
        """Append. Raises CannotWriteError once; later data is only counted."""
        kept = data[: self._left]
        if kept:
            self._append(kept)
            self._left -= len(kept)
        if len(kept) < len(data):
            if not self.dropped:
                self._append(self._note)
            self.dropped += len(data) - len(kept)

    def _append(self, data: bytes) -> None:
        try:
            # Unbuffered: on a full disk a part is written, and the rest is refused.
            while data:
                data = data[self._file.write(data) or 0 :]
        except OSError as error:
            self._left = 0
            self.dropped += len(data)
            raise CannotWriteError(self.path, error) from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class PendingText:
    """Text of a console that was not returned yet; the oldest is dropped above PENDING characters."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._texts)

    def add(self, text: str) -> None:
        """Add text at the end."""
        self._texts.append(text)
        self._size += len(text)
        while self._size > PENDING and len(self._texts) > 1:
            self._size -= len(self._texts.popleft())

    def peek(self) -> str:
        """Return all of it."""
        return "".join(self._texts)

    def take(self) -> str:
        """Return all of it, once."""
        text = self.peek()
        self._texts.clear()
        self._size = 0
        return text


class Connection(Protocol):
    """A socket, or an object with these methods of a socket."""

    def fileno(self) -> int:
        """The descriptor to watch."""
        ...

    def setblocking(self, flag: bool, /) -> None:
        """Choose whether the methods below block."""
        ...

    def recv(self, size: int, /) -> bytes:
        """Read up to `size` bytes; b"" at the end."""
        ...

    def send(self, data: bytes, /) -> int:
        """Write; returns how many bytes were written."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Console:
    """One serial port of the guest.

    name: "serial", "svsm". file: the name of its log. crash: what a bad pattern matched, as `printable` text, None
    as long as none has; it grows until the line is whole. read_at: time.monotonic() of what was read last. marks:
    numbers of bytes, each with the time.monotonic() at which what follows was read. All methods belong to the
    thread that turns the loop.
    """

    def __init__(
        self, name: str, connection: Connection, loop: Loop, log: BoundedLog, bad: Sequence[str] = BAD_PATTERNS
    ) -> None:
        self.name = name
        self.file = log.path.name
        self.crash: str | None = None
        self.read_at = time.monotonic()
        self.marks: list[tuple[int, float]] = []
        self.closed = False
        #: The pexpect object, made by the first `expect`.
        self.spawn: object | None = None
        #: What shows a crash; `search_for` replaces it.
        self.bad = [re.compile(pattern) for pattern in bad]
        self._size = 0
        self._connection = connection
        self._connection.setblocking(False)
        self._loop = loop
        self._log = log
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._tail = ""
        self._pending = PendingText()
        self._watches: list[tuple[re.Pattern[str], Callable[[str], None]]] = []
        self._bad_from = 0
        self._crash_whole = False
        self._received: Callable[[str], None] | None = None
        loop.watch(connection, self._readable)

    def watch(self, pattern: str, seen: Callable[[str], None]) -> None:
        """Call `seen` with the text that matches, once, when the console first prints it."""
        self._watches.append((re.compile(pattern), seen))

    def listen(self, receive: Callable[[str], None]) -> None:
        """Call `receive` with all text from now on, and with what was not read yet; `read` returns nothing then."""
        if self._pending:
            receive(self._pending.take())
        self._received = receive

    def go_on(self, before: bytes, crash: str | None, marks: list[tuple[int, float]]) -> None:
        """Have shown `before` already, with this crash and these marks; `read` and `listen` do not return it."""
        self._log.write(before)
        self._size = len(before)
        self.marks = marks
        text = self._decoder.decode(before)
        self.crash, self._crash_whole = crash, True
        self._search(text)
        self._crash_whole = crash is not None
        self._tail = text[-WINDOW:]
        self._bad_from = len(self._tail)

    def search_for(self, bad: list[re.Pattern[str]]) -> None:
        """Search what is printed from now on for these patterns, in place of those before; forget an earlier crash."""
        self.bad = bad
        self.crash = None
        self._crash_whole = False
        self._bad_from = len(self._tail)

    @property
    def path(self) -> Path:
        """Return the path of the log."""
        return self._log.path

    @property
    def last_line(self) -> str:
        """Return the last line that is not empty, without escape sequences."""
        lines = [line.strip() for line in _ESCAPE.sub("", self._tail).splitlines()]
        return printable(next((line for line in reversed(lines) if line), "")[-LINE:], LINE)

    def expect(self, patterns: str | Sequence[str], timeout_s: float) -> Expectation:
        """Wait until one of the regular expressions is printed, after the text that earlier calls returned.

        Raises ConsoleTimeoutError, GuestCrashError as soon as the guest crashes, ConsoleError at the console's end.
        """
        from snp_harness.vm.expect import expect

        return expect(self, [patterns] if isinstance(patterns, str) else list(patterns), timeout_s)

    def send(self, text: str, timeout_s: float = 60.0) -> None:
        """Send `text` as input. Raises ConsoleTimeoutError if the guest does not read it."""
        data = text.encode()
        patience = Patience(timeout_s)
        while data:
            sent = self.send_some(data)
            data = data[sent:]
            if not sent:
                if patience.step() <= 0:
                    raise ConsoleTimeoutError(
                        f"the {self.name} console accepted no input for {timeout_s:g} s", "the guest does not read it"
                    )
                self._loop.turn(0.05)

    def send_some(self, data: bytes) -> int:
        """Send as much as the guest reads now; returns how many bytes that was. Raises ConsoleError."""
        try:
            return self._connection.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConsoleError(f"the {self.name} console is closed: {error.strerror}", "QEMU has ended") from None

    def read(self, timeout_s: float) -> str:
        """Return what was printed and not returned yet, after a wait if there is nothing; "" at the timeout."""
        self._loop.run_until(lambda: bool(self._pending) or self.closed or self.crash is not None, timeout_s)
        return self._pending.take()

    def raise_if_crashed(self) -> None:
        """Raise GuestCrashError if the console shows a crash."""
        if self.crash is not None:
            raise GuestCrashError(f"the guest crashed, its {self.name} console shows: {self.crash}", "see its log")

    def close(self) -> None:
        """Read what is left, and close the socket and the log."""
        with contextlib.suppress(CannotWriteError):
            while not self.closed and self._take():
                pass
        self._end()
        self._connection.close()
        self._log.close()

    def _readable(self) -> None:
        self._take()

    def _take(self) -> bool:
        """Read what is there; False if there is nothing or the console has ended."""
        try:
            data = self._connection.recv(_RECEIVE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self.read_at = time.monotonic()
        if len(self.marks) < MARKS_MAX and (not self.marks or self.read_at - self.marks[-1][1] >= MARK_S):
            self.marks.append((self._size, self.read_at))
        self._size += len(data)
        self._log.write(data)
        text = self._decoder.decode(data)
        if self._received is not None:
            self._received(text)
        else:
            self._pending.add(text)
        text = self._tail + text
        self._search(text)
        self._tail = text[-WINDOW:]
        self._bad_from = max(0, self._bad_from - (len(text) - len(self._tail)))
        return True

    def _search(self, text: str) -> None:
        for watch in list(self._watches):
            match = watch[0].search(text)
            if match:
                self._watches.remove(watch)
                watch[1](match.group())
        if not self._crash_whole:
            self._search_crash(text[self._bad_from :])

    def _search_crash(self, text: str) -> None:
        match = next(filter(None, (pattern.search(text) for pattern in self.bad)), None)
        if match:
            self.crash = printable(match.group().strip(), LINE)
            self._crash_whole = match.end() < len(text) or len(match.group()) > LINE

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self._loop.forget(self._connection)
