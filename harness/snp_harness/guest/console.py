# SPDX-License-Identifier: GPL-2.0-or-later
"""A console of a guest that is held: pexpect's expect and send, and patterns that fail at once."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from snp_harness.guest.guest_errors import GuestTimeoutError
from snp_harness.launch.patience import Patience
from snp_harness.vm.console import PendingText
from snp_harness.vm.expect import Expectation, expect
from snp_harness.vm.qemu_errors import ConsoleTimeoutError

if TYPE_CHECKING:
    from snp_harness.guest.keeper import Keeper
    from snp_harness.vm.console import Console

#: A regular expression.
Pattern = str | re.Pattern[str]
#: Seconds between two attempts to send to a guest that does not read.
_SEND_S = 0.05


class GuestConsole:
    """A console: what pexpect's `spawn` has for a program's terminal.

    name: "serial" or "svsm". timeout_s: of `expect` and `send`. before, match, after: of the last `expect` that found
    something.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.before = ""
        self.after = ""
        self.match: re.Match[str] | None = None
        #: The pexpect object, made by the first `expect`.
        self.spawn: object | None = None
        self._pending = PendingText()
        self._lock = threading.Lock()

    def attach(self, keeper: Keeper, console: Console) -> None:
        """Use this console of a boot; called in the guest's thread. What an earlier boot printed stays readable."""
        self._keeper = keeper
        self._console = console
        console.listen(self._receive)

    def expect(self, pattern: Pattern | Sequence[Pattern], timeout_s: float | None = None) -> int:
        """Wait until a regular expression is printed, after the text that earlier calls returned; returns its index.

        pattern: one, or several, of which the one that is printed first counts. timeout_s: None for the console's.
        Raises ConsoleTimeoutError, ConsoleError at the end of the console, and GuestCrashError as soon as a bad pattern
        is printed.
        """
        patterns = [pattern] if isinstance(pattern, str | re.Pattern) else list(pattern)
        found: Expectation = expect(self, patterns, self.timeout_s if timeout_s is None else timeout_s)
        self.before, self.match, self.after = found.before, found.match, found.match.group()
        return found.index

    def expect_exact(self, text: str | Sequence[str], timeout_s: float | None = None) -> int:
        """Wait as `expect`, for text and not for a regular expression."""
        return self.expect([re.escape(one) for one in ([text] if isinstance(text, str) else text)], timeout_s)

    def send(self, text: str) -> None:
        """Type `text`. Raises ConsoleTimeoutError if the guest does not read it, GuestEndedError."""
        data = text.encode()
        patience = Patience(self.timeout_s)
        while data:
            data = data[self._keeper.call(lambda _, rest=data: self._console.send_some(rest)) :]  # type: ignore[misc]
            if data and patience.step() <= 0:
                raise ConsoleTimeoutError(
                    f"the {self.name} console accepted no input for {self.timeout_s:g} s", "the guest does not read it"
                )
            if data:
                time.sleep(_SEND_S)

    def sendline(self, text: str = "") -> None:
        """Type `text` and the return key."""
        self.send(f"{text}\r")

    @contextlib.contextmanager
    def temporary_timeout(self, timeout_s: float) -> Iterator[None]:
        """Have another timeout in the block."""
        before, self.timeout_s = self.timeout_s, timeout_s
        try:
            yield
        finally:
            self.timeout_s = before

    @contextlib.contextmanager
    def bad_patterns(self, *patterns: str, only: bool = False) -> Iterator[None]:
        """Have these regular expressions fail every wait for the guest in the block, as soon as one is printed.

        only: in place of those that show a crash; without patterns, nothing printed in the block fails.
        """
        before = self._console.bad
        bad = [*(() if only else before), *map(re.compile, patterns)]
        self._keeper.call(lambda _: self._console.search_for(bad))
        try:
            yield
        finally:
            if self._keeper.ending is None:
                self._keeper.call(lambda _: self._console.search_for(before))

    @property
    def unread(self) -> str:
        """Return what was printed and not matched yet."""
        buffered = "" if self.spawn is None else str(getattr(self.spawn, "buffer", ""))
        with self._lock:
            return buffered + self._pending.peek()

    def go_back(self, unread: str) -> None:
        """Have just this left to match."""
        self.spawn = None
        with self._lock:
            self._pending.take()
            self._pending.add(unread)

    @property
    def text(self) -> str:
        """Return all that was printed in this boot, as far as its log is kept."""
        return self._console.path.read_bytes().decode(errors="replace")

    @property
    def last_line(self) -> str:
        """Return the last line that is not empty, without escape sequences."""
        return self._console.last_line

    # What follows is what snp_harness.vm.expect needs of a console.

    @property
    def closed(self) -> bool:
        """Whether nothing will be printed any more."""
        return self._keeper.ending is not None

    def raise_if_crashed(self) -> None:
        """Raise GuestCrashError if a bad pattern was printed, GuestStuckError if the guest cannot go on."""
        self._keeper.raise_if_in_trouble()

    def read(self, timeout_s: float) -> str:
        """Return what was printed and not returned yet, after a wait if there is nothing; "" at the timeout."""

        def check() -> str | None:
            closed = self.closed
            if closed:
                self._keeper.settle()
            with self._lock:
                text = self._pending.take()
            return text or ("" if closed else None)

        with contextlib.suppress(GuestTimeoutError):
            return self._keeper.wait(check, timeout_s, "text")
        return ""

    def _receive(self, text: str) -> None:
        with self._lock:
            self._pending.add(text)
