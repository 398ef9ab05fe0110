# SPDX-License-Identifier: GPL-2.0-or-later
"""The loop over descriptors, timers and calls from other threads, for a run, an agent, and the near end of a link."""

from __future__ import annotations

import collections
import contextlib
import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import Optional, Protocol, Union

from snp_harness.launch.patience import Patience

#: Functions to call when a descriptor is readable and writable; None: not watched for it.
_Watch = tuple[Optional[Callable[[], None]], Optional[Callable[[], None]]]


class HasFileno(Protocol):
    """A file or a socket."""

    def fileno(self) -> int:
        """Return the descriptor's number."""
        ...


File = Union[int, HasFileno]


class Timer:
    """A delayed call. cancelled: it will not be made."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        """Cancel the call."""
        self.cancelled = True


class Loop:
    """A loop that one thread turns. All functions are called in it, and `turn` raises their exceptions.

    after_turn: called at the end of each turn.
    """

    def __init__(self) -> None:
        self.after_turn: Callable[[], None] = _nothing
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._closed = False
        self._wake_lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        self.watch(self._wake_read, self._woken)

    def watch(
        self, file: File, readable: Callable[[], None] | None = None, writable: Callable[[], None] | None = None
    ) -> None:
        """Call `readable` when file can be read or has ended, `writable` when it can be written; neither: `forget`."""
        fd = file if isinstance(file, int) else file.fileno()
        # A file that is closed is not watched.
        if self._closed or fd < 0:
            return
        events = (selectors.EVENT_READ if readable else 0) | (selectors.EVENT_WRITE if writable else 0)
        known = fd in self._selector.get_map()
        data: _Watch = (readable, writable)
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, data)
        else:
            self._selector.register(fd, events, data)

    def forget(self, file: File) -> None:
        """Stop watching, before the file is closed; nothing happens if it is not watched."""
        self.watch(file)

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once, after `delay_s` seconds. Returns the timer, which can be cancelled."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), timer))
        return timer

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn; ignored after `close`. Only `soon` and `wake` may be called from other threads."""
        self._calls.append(call)
        # If the pipe is full, the loop will wake anyway.
        with self._wake_lock, contextlib.suppress(BlockingIOError):
            if not self._closed:
                os.write(self._wake_write, b"\0")

    def wake(self) -> None:
        """End the wait of the current turn, from any thread."""
        self.soon(_nothing)

    def turn(self, timeout_s: float | None = None) -> bool:
        """Wait for at most `timeout_s` seconds until a call is due, and make it. False if no descriptor was ready."""
        wait = None if timeout_s is None else max(0.0, timeout_s)
        if self._timers:
            next_s = max(0.0, self._timers[0][0] - time.monotonic())
            wait = next_s if wait is None else min(wait, next_s)
        if self._calls:
            # An exception of an earlier call has left these.
            wait = 0.0
        ready = self._selector.select(wait)
        for key, events in ready:
            self._dispatch(key.fd, events)
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                timer.call()
        for _ in range(len(self._calls)):
            self._calls.popleft()()
        self.after_turn()
        return bool(ready)

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Turn until done() is true; False if that takes more than `timeout_s` seconds."""
        patience = Patience(timeout_s)
        while not done():
            step_s = patience.step()
            if step_s <= 0:
                return False
            self.turn(step_s)
        return True

    def close(self) -> None:
        """Stop watching and end the loop. Watched descriptors stay open. `turn` must not be called after it."""
        with self._wake_lock:
            if self._closed:
                return
            self._closed = True
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _dispatch(self, fd: int, events: int) -> None:
        # An earlier function may have changed the watched descriptors.
        for event, which in ((selectors.EVENT_READ, 0), (selectors.EVENT_WRITE, 1)):
            key = self._selector.get_map().get(fd)
            if key is not None and events & event:
                call = key.data[which]
                if call is not None:
                    call()

    def _woken(self) -> None:
        os.read(self._wake_read, 4096)


def _nothing() -> None:
    """Do nothing."""
