# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import Iterable

import pytest

from snp_harness.capture.record import HostRecord, RecordKind
from tests.helpers.equal_records import difference, without_time

EOI = 0xFEE000B0
PAGE, OTHER = 0x1F000000, 0x1F001000


def record(kind: RecordKind, address: int = 0, **more: int) -> HostRecord:
    return HostRecord(**(dict.fromkeys(HostRecord._fields, 0) | {"kind": kind, "address": address} | more))


def tick() -> list[HostRecord]:
    return [record(RecordKind.INTERRUPT, 0x20), record(RecordKind.VC, 0x72), record(RecordKind.APIC, EOI),
            record(RecordKind.NAE)]  # fmt: skip


def compare(first: Iterable[HostRecord], second: Iterable[HostRecord], *, ticks: bool = False) -> str:
    return difference(without_time(first, ticks=ticks), without_time(second, ticks=ticks))


IN, OUT = record(RecordKind.IO, 0x60), record(RecordKind.IO, 0x61)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([IN, OUT], [IN._replace(seq=5, time_ns=6, check=7), OUT]),
        ([IN, OUT, *tick()], [IN, *tick(), OUT]),
        ([IN, *tick(), *tick()], [IN]),
        ([IN, record(RecordKind.IO, 0x608, value=1)], [record(RecordKind.IO, 0x608, value=2), IN]),
        ([IN, record(RecordKind.BYTES, 1)], [record(RecordKind.BYTES, 1), IN]),
        ([IN, OUT._replace(vcpu=1)], [OUT._replace(vcpu=1), IN]),
        (
            [record(RecordKind.VMSA, PAGE), record(RecordKind.VMSA, OTHER)],
            [record(RecordKind.VMSA, OTHER), record(RecordKind.VMSA, PAGE)],
        ),
    ],
)
def test_time_makes_no_difference(first: list[HostRecord], second: list[HostRecord]) -> None:
    assert compare(first, second) == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([IN, OUT], [IN]),
        ([IN, OUT], [OUT, IN]),
        ([IN], [IN._replace(rip=1)]),
        ([IN], [IN._replace(vcpu=1)]),
        ([*tick(), IN], tick()),
        ([record(RecordKind.VMSA, PAGE)], [record(RecordKind.VMSA, OTHER)]),
        ([record(RecordKind.VMSA, PAGE)], [record(RecordKind.VMSA, PAGE + 1)]),
        ([record(RecordKind.APIC, 0xFEE00300, value=PAGE)], [record(RecordKind.APIC, 0xFEE00300, value=OTHER)]),
        ([record(RecordKind.BYTES, 1)], [record(RecordKind.BYTES, 2)]),
    ],
)
def test_what_differs_is_found(first: list[HostRecord], second: list[HostRecord]) -> None:
    assert compare(first, second)


def test_in_ticks_devices_are_polled() -> None:
    assert compare([IN, OUT], [OUT, IN, IN], ticks=True) == ""
    assert compare([IN, OUT], [IN], ticks=True)
    call = record(RecordKind.SVSM_CALL, 1)
    assert compare([call, OUT], [OUT, call, call], ticks=True)
