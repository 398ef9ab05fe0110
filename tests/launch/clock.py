# SPDX-License-Identifier: GPL-2.0-or-later
"""A clock that a test sets."""

from __future__ import annotations


class Clock:
    """In the place of the module time: it stands until it is put forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """As time.monotonic."""
        return self.now
