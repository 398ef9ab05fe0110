# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest, of records of a launch and the contents in its list."""

from __future__ import annotations

import pytest

from snp_harness.apic.event_kinds import LAUNCH
from snp_harness.capture.collect import Collector
from snp_harness.capture.launch_log import PAGES_MAX, LaunchLog
from snp_harness.capture.record import LAUNCH_FINISH, RECORD, HostRecord, RecordKind
from snp_harness.platforms.launch_list import ENTRY, LIST, Machine, pack
from snp_harness.svsm.launch import Launch, Pages, PageType
from snp_harness.svsm.launch_digest import digest_of
from tests.launch.ring import make_record

LAUNCHED = Launch(
    pages=(
        Pages(PageType.NORMAL, 0xFFFFD000, 2, b"firmware" * 600),
        Pages(PageType.NORMAL, 0xFFFFF000, 1, b"reset"),
        Pages(PageType.ZERO, 0x800000, 3),
        Pages(PageType.UNMEASURED, 0x900000, 1, b"parameters"),
        Pages(PageType.CPUID, 0x901000, 1),
        Pages(PageType.SECRETS, 0x902000, 1),
        Pages(PageType.NORMAL, 0x903000, 2, b"an SVSM" * 700),
    ),
    vmsas=((0, b"V" * 4096), (1, b"W" * 4096)),
)
PACKED = pack(LAUNCHED, b"", Machine(512 << 20, 0, 40))


def record(**fields: int) -> HostRecord:
    return HostRecord._make(RECORD.unpack(make_record(1, kind=RecordKind.LAUNCH, **fields)))


def launched() -> list[HostRecord]:
    """What the hypervisor records of the list; the first entry is memory."""
    count = int.from_bytes(PACKED.read(LIST.size - 8, 8), "little")
    entries = [ENTRY.unpack(PACKED.read(LIST.size + number * ENTRY.size, ENTRY.size)) for number in range(1, count)]
    made = [record(aux=kind, address=gpa, value=pages, extra=offset) for kind, _, gpa, pages, offset, _ in entries]
    return [*made, record(aux=LAUNCH_FINISH)]


def digests(records: list[HostRecord], *, known: bool = True) -> list[object]:
    collector = Collector()
    log = LaunchLog(collector, PACKED.read if known else None)
    for one in records:
        log.take(one)
    timeline = collector.finish(
        witness="w", platform="p", gaps=[], lost=0, not_observed=frozenset(), alternate_injection=True, svsm=True
    )
    return [event.fields["digest"] for event in timeline.events if event.kind == LAUNCH]


def test_digest_of_what_was_launched() -> None:
    assert digests(launched()) == [digest_of(LAUNCHED).hex()]


def test_another_order_is_another_digest() -> None:
    first, second, *others = launched()
    [found] = digests([second, first, *others])
    assert found != digest_of(LAUNCHED).hex()


@pytest.mark.parametrize("wrong", [record(aux=7, value=1), record(aux=PageType.ZERO, value=PAGES_MAX + 1)])
def test_a_record_that_no_launch_has(wrong: HostRecord) -> None:
    assert digests([wrong, *launched()]) == []


def test_nothing_without_the_list() -> None:
    assert digests(launched(), known=False) == []


def test_nothing_before_the_end_of_the_launch() -> None:
    assert digests(launched()[:-1]) == []
