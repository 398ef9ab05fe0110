# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from snp_harness.capture.entries import ACCESS, EVENT, PHASE, Entries
from snp_harness.capture.goal import LogState


def test_entries_keep_their_order_and_their_places_in_the_log() -> None:
    entries = Entries()
    entries.add(PHASE)
    entries.log_place = 7, 2
    entries.add(ACCESS)
    entries.log_place = 9, 3
    entries.add(EVENT)
    entries.add(ACCESS)
    assert [entries[number] for number in range(len(entries))] == [PHASE, ACCESS, EVENT, ACCESS]
    assert [entries.count(ACCESS, end) for end in range(5)] == [0, 0, 1, 1, 2]
    places = [entries.log_at(end) for end in range(5)]
    assert places == [None, None, LogState(7, 2), LogState(9, 3), LogState(9, 3)]
