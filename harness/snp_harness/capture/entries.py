# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of what a collector has: the kind of each entry, and how much of the witness's log was ahead of it."""

from __future__ import annotations

from snp_harness.capture.goal import LogState

#: Kinds of entries.
ACCESS, EVENT, PHASE = range(3)


class Entries:
    """The entries so far. log_place: how many records, and of them ACCESS records, the log has; zeros without one."""

    def __init__(self) -> None:
        self.log_place = (0, 0)
        self._kinds = bytearray()
        self._places: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, number: int) -> int:
        """Return the kind of an entry."""
        return self._kinds[number]

    def add(self, kind: int) -> None:
        """Add an entry at the log's present place."""
        self._kinds.append(kind)
        self._places.append(self.log_place)

    def count(self, kind: int, end: int) -> int:
        """Return how many of the first `end` entries are of a kind."""
        return self._kinds.count(kind, 0, end)

    def log_at(self, end: int) -> LogState | None:
        """Return what the log had at the last of the first `end` entries; None without a log."""
        records, accesses = self._places[end - 1] if end else (0, 0)
        return LogState(records, accesses) if records else None
