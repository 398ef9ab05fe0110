# SPDX-License-Identifier: GPL-2.0-or-later
"""A small event loop over file descriptors: what a run waits on, it waits on here, at once and never by sleeping."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import Protocol

from snp_harness.launch.patience import Patience


class HasFileno(Protocol):
    """A file, a socket."""

    def fileno(self) -> int:
        """The descriptor's number."""
        ...


class EventLoop:
    """Calls a function when its descriptor can be read. One thread; the functions are called from `run_until`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, file: int | HasFileno, on_readable: Callable[[], None]) -> None:
        """Call `on_readable` whenever `file` has something to read, or has ended."""
        self._selector.register(file, selectors.EVENT_READ, on_readable)

    def remove(self, file: int | HasFileno) -> None:
        """Stop watching; nothing happens if it is not watched."""
        try:
            self._selector.unregister(file)
        except (KeyError, ValueError):
            return

    def turn(self, timeout_s: float) -> bool:
        """Wait until something can be read, at most so long, and call its functions. False if nothing came."""
        ready = self._selector.select(max(0.0, timeout_s))
        for key, _ in ready:
            # A function called before may have removed this one.
            if key.fd in self._selector.get_map():
                key.data()
        return bool(ready)

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Turn until done() is true; False if it is not in `timeout_s` seconds. Lets through what functions raise."""
        patience = Patience(timeout_s)
        while not done():
            step_s = patience.step()
            if step_s <= 0:
                return False
            self.turn(step_s)
        return True

    def close(self) -> None:
        """Forget all descriptors; they stay open."""
        self._selector.close()
