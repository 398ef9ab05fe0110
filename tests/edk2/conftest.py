# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress that is remembered."""

from __future__ import annotations

import threading

import pytest


class Said(list[str]):
    """A progress callback that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def __call__(self, text: str) -> None:
        with self._changed:
            self.append(text)
            self._changed.notify_all()

    def has(self, part: str) -> bool:
        return any(part in text for text in self)

    def wait_for(self, part: str, timeout_s: float) -> bool:
        """Wait for a text with this part; False if none comes in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.has(part), timeout_s)


@pytest.fixture
def said() -> Said:
    return Said()
