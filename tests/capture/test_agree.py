# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison of two witnesses."""

from __future__ import annotations

import dataclasses

from snp_harness.apic.access import Operation, Path
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import by_offset
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.capture.agree import disagreement
from tests.capture.qemu_lines import RECORDED_7_2, timeline_of

SEEN, _ = timeline_of(RECORDED_7_2)


def changed(number: int, **fields: object) -> Timeline:
    """The recorded timeline with another register access of that number."""
    registers = [access for access in SEEN.accesses if not access.is_base]
    target = registers[number]
    accesses = tuple(
        dataclasses.replace(access, **fields) if access is target else access  # type: ignore[arg-type]
        for access in SEEN.accesses
    )
    return dataclasses.replace(SEEN, accesses=accesses, witness="the other")


def without_last(count: int) -> Timeline:
    return dataclasses.replace(SEEN, accesses=SEEN.accesses[:-count])


def test_the_same_agree() -> None:
    assert disagreement(SEEN, SEEN) is None


def test_what_was_not_observed_agrees_with_anything() -> None:
    assert disagreement(SEEN, changed(1, size=None, vcpu=None, mode=None, path=Path.UNKNOWN, pc=5)) is None


def test_every_field_that_both_saw_counts() -> None:
    for fields in (
        {"operation": Operation.READ},
        {"register": by_offset(0x320)},
        {"value": 0x1FE},
        {"size": 8},
        {"vcpu": 1},
        {"mode": ApicMode.X2APIC},
        {"path": Path.MSR},
    ):
        text = disagreement(SEEN, changed(1, **fields))
        assert text is not None
        assert text.startswith(f"register access 1: {next(iter(fields))} is ")


def test_apic_base_does_not_count() -> None:
    registers = tuple(access for access in SEEN.accesses if not access.is_base)
    assert len(registers) < len(SEEN.accesses)
    assert disagreement(SEEN, dataclasses.replace(SEEN, accesses=registers)) is None


def test_what_is_condensed_is_not_compared() -> None:
    condensed = dataclasses.replace(without_last(3), events=(Event("condensed", None, None, "", {"accesses": 3}),))
    assert disagreement(SEEN, condensed) is None
    assert disagreement(condensed, changed(0, value=1)) is not None


def test_one_access_more_at_the_end_is_the_end_of_the_run() -> None:
    assert disagreement(SEEN, without_last(1)) is None
    assert disagreement(without_last(1), SEEN) is None
    assert disagreement(SEEN, without_last(2)) == ("QEMU trace events has 4 register accesses, QEMU trace events has 2")
