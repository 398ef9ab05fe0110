# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's console on the terminal of the harness."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snp_harness.guest.guest import Guest

#: Ctrl-], as in telnet.
END_KEY = b"\x1d"
_STEP_S = 0.05
_READ = 4096


def relay(guest: Guest) -> None:
    """Connect a guest's console to stdin and stdout until Ctrl-], or the guest's end."""
    keyboard = 0
    # A kernel that panics has its console, as long as somebody looks at it.
    with _raw(keyboard), guest.console.bad_patterns(only=True):
        watched = [keyboard]
        while guest.running:
            _print(guest.console.read(_STEP_S))
            if not select.select(watched, [], [], 0)[0]:
                continue
            typed = os.read(keyboard, _READ)
            if END_KEY in typed:
                break
            if not typed:
                # The end of a file that was typed: the guest may still answer.
                watched = []
            elif guest.running:
                guest.console.send(typed.decode(errors="replace"))
        _print(guest.console.read(0))


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Have a terminal pass on each key, also Ctrl-C."""
    if not os.isatty(descriptor):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
