# SPDX-License-Identifier: GPL-2.0-or-later
"""The signals that end a command: only the first one counts, and while a guest runs it waits until it is asked for.

An exception at any place could be raised in a clean-up, in an import or between two steps that belong together, and
what was seen would be lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: Signals that end a run.
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Signals of which the order is known, at most.
_ORDER_MAX = 4096


class Terminated(KeyboardInterrupt):
    """A signal arrived: ends the run as Ctrl-C does, so that QEMU is stopped and the partial timeline kept.

    That of SIGINT is of this class, too: Python, when it runs a module, ends itself by SIGINT whatever its exit status
    is, if the very class KeyboardInterrupt has left an exec() of a string, as the definition of a dataclass is one.
    """

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.exit_status = 128 + number


class Interrupts:
    """The interrupts of one process. first: the first signal that arrived, None before it."""

    def __init__(self) -> None:
        self.first: Terminated | None = None
        self._scope = False
        self._held = False
        self._taken = False
        self._order = -1
        self._numbers: frozenset[int] = frozenset()

    @contextlib.contextmanager
    def handled(self, *, ends: bool) -> Iterator[None]:
        """Handle the signals in the main thread. One that is ignored stays ignored: nohup relies on it.

        ends: the process ends after the block, and no later signal changes its exit status.
        """
        previous = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
        numbers = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
        self.first, self._taken = None, False
        self._numbers = frozenset(map(int, numbers))
        with self._ordered():
            for number in numbers:
                signal.signal(number, self.arrive)
            try:
                yield
            finally:
                for number in numbers:
                    signal.signal(number, signal.SIG_IGN if ends and self.first is not None else previous[number])

    @contextlib.contextmanager
    def _ordered(self) -> Iterator[None]:
        """Keep the order of signals in a pipe: Python calls handlers that are due together by the signals' numbers."""
        try:
            self._order, write_fd = os.pipe()
        except OSError:
            # No descriptor is left.
            yield
            return
        for fd in (self._order, write_fd):
            os.set_blocking(fd, False)
        previous = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(previous)
            os.close(self._order)
            os.close(write_fd)
            self._order = -1

    def arrive(self, number: int, _frame: FrameType | None = None) -> None:
        """Raise the interrupt of a signal, or keep it if it is held; every later signal is ignored."""
        if self.first is not None:
            return
        with contextlib.suppress(OSError):
            number = next((early for early in os.read(self._order, _ORDER_MAX) if early in self._numbers), number)
        self.first = Terminated(number)
        if not self._held:
            raise self.first

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Raise, at the end of the block, an interrupt that was held and that nobody has taken."""
        self._scope = True
        try:
            yield
        finally:
            self._scope = self._held = False
            if self.first is not None and not self._taken:
                raise self.first

    def hold(self) -> None:
        """Hold interrupts from now to the end of the scope. Without a scope, or in another thread: no effect."""
        if self._scope and threading.current_thread() is threading.main_thread():
            self._held = True

    def take(self) -> Terminated | None:
        """Return the interrupt that is held, if any; the caller is responsible for it then."""
        if not self._held or self.first is None:
            return None
        self._taken = True
        return self.first


#: Of this process.
INTERRUPTS = Interrupts()
