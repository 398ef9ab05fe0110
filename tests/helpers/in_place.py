# SPDX-License-Identifier: GPL-2.0-or-later
"""For tests with answers inside QEMU."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.timeline import Timeline
from snp_harness.debian.qemu_bundle import cached_qemu

#: IN_PLACE_COUNT of harness/emulator/include/in_place.h.
IN_PLACE_COUNT = 0xFD


def new_qemu() -> Path:
    """Return a QEMU that has such a plugin interface; skips the test without one."""
    bundle = cached_qemu("sid")
    if bundle is None:
        pytest.skip("no QEMU of debian:sid: snp-harness fetch qemu sid")
    return bundle.directory


def answered(timeline: Timeline) -> int:
    """Return how many reads were answered, as the hypervisor reports it when a guest ends."""
    counts = {event.fields["exit_code"]: event.fields["count"] for event in timeline.events if event.kind == "exits"}
    assert counts
    count = counts.get(IN_PLACE_COUNT, 0)
    assert isinstance(count, int)
    return count
