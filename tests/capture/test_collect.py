# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import time

import pytest

from snp_harness.apic.access import Phase
from snp_harness.capture.collect import Collector


def test_the_start_of_the_witness_is_the_earliest_that_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read late looks as if the witness had started later than it did."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    collector = Collector()
    seen: list[float | None] = []
    for read, phase, time_ns in (
        (100.0, Phase.RESET, None),
        (100.0, Phase.SEC, 1_000_000_000),
        (110.0, Phase.PEI, 10_500_000_000),
        (111.0, Phase.DXE, 12_500_000_000),
    ):
        now[0] = read
        collector.enter(phase, time_ns, "")
        seen.append(collector.started_at)
    assert seen == [None, 99.0, 99.0, 98.5]
