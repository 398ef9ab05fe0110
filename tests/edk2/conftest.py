# SPDX-License-Identifier: GPL-2.0-or-later
"""A cache of its own for each test, except for those that build the real edk2."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from snp_harness.debian.cache import cache_root


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return cache_root()


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
