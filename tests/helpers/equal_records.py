# SPDX-License-Identifier: GPL-2.0-or-later
"""Logs of the emulated host without what depends on time: they are equal if two runs differ in nothing else.

Time decides when a tick comes and what the guest does in it, what clocks say, how often the guest polls, and which AP
is the first of several: edk2's APs get their stacks and GHCBs in the order in which they arrive.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from snp_harness.capture.record import ANSWERS_SHIFT, FLAG_WRITE, HostRecord, RecordKind
from snp_harness.svsm.sev import NaeEvent
from tests.helpers.run_records import records_to_goal

#: QEMU's ACPI timer, where OVMF has it, and the data of the RTC.
_ACPI_TIMER, _RTC_DATA = 0x608, 0x71
_PAGE_SHIFT, _PAGE_OFFSET = 12, 0xFFF
#: Offset of the local APIC's register in its page.
_EOI = 0xB0
_IA32_APIC_BASE = 0x1B
#: Where code was seen first, which may be in a tick.
_PLACES = (RecordKind.MODULE, RecordKind.BYTES)
#: Of accesses to devices: from DXE's end on, edk2 polls some at each tick, after its EOI.
_DEVICES = (RecordKind.VC, RecordKind.NAE, RecordKind.IO, RecordKind.MMIO)
_RMP = (RecordKind.RMP_CHANGE, RecordKind.RMP_VIOLATION)
_APIC = (RecordKind.APIC, RecordKind.APIC_BASE)
#: The creation of an AP, which is not an access to a device.
_CREATION = (RecordKind.NAE, NaeEvent.AP_CREATION)
#: That have the VMSA or the GHCB of an AP.
_OF_PAGES = (
    RecordKind.VMSA,
    RecordKind.NAE,
    RecordKind.GHCB_MSR,
    RecordKind.SVSM_CALL,
    RecordKind.SVSM_RESULT,
    RecordKind.VMPL_SWITCH,
    RecordKind.RMP_CHANGE,
)


class Log(NamedTuple):
    """ordered: each vCPU's records. others: which there are, however often. ticks: records that were left out."""

    ordered: dict[int, list[HostRecord]]
    others: set[HostRecord]
    ticks: int


def read_log(directory: Path, *, ticks: bool = False) -> Log:
    """Return the log of the run in a directory, up to the run's end. ticks: the guest polls devices in them."""
    return without_time(records_to_goal(directory), ticks=ticks)


def without_time(records: Iterable[HostRecord], *, ticks: bool = False) -> Log:
    """Return what does not depend on time."""
    by_vcpu: defaultdict[int, list[HostRecord]] = defaultdict(list)
    for record in records:
        if record.kind != RecordKind.START:
            by_vcpu[record.vcpu].append(record)
    ordered, others, left_out = {}, set(), 0
    for vcpu, own in by_vcpu.items():
        kept = list(_without_ticks(own))
        left_out += len(own) - len(kept)
        ordered[vcpu] = [_timeless(record) for record in kept if not _by_time(record, ticks)]
        # Code is seen where a tick interrupts it.
        others |= {
            _timeless(record) for record in kept if _by_time(record, ticks) and not (ticks and record.kind in _PLACES)
        }
    return Log(ordered, others, left_out)


def _without_ticks(records: list[HostRecord]) -> Iterator[HostRecord]:
    """Yield one vCPU's records, but those from an interrupt to its EOI, with the answer to that."""
    remaining = iter(records)
    for record in remaining:
        if record.kind != RecordKind.INTERRUPT:
            yield record
            continue
        for handled in remaining:
            if handled.kind in _PLACES:
                yield handled
            elif handled.kind == RecordKind.APIC and handled.address & _PAGE_OFFSET == _EOI:
                break
        next(remaining, None)


def _by_time(record: HostRecord, ticks: bool) -> bool:
    """Return whether the record's place or number depends on time."""
    if record.kind == RecordKind.IO and record.address == _ACPI_TIMER:
        return True
    if record.kind in (RecordKind.ACCESS, RecordKind.APIC_BASE) and not record.flags & FLAG_WRITE:
        return ticks and record.address == _IA32_APIC_BASE
    of_device = record.kind in _DEVICES and (record.kind, record.address) != _CREATION
    return record.kind in _PLACES or (ticks and of_device)


def _timeless(record: HostRecord) -> HostRecord:
    """Return the record without its number, and other numbers that follow from it or from time."""
    record = record._replace(seq=0, time_ns=0, check=0)
    if record.kind in _PLACES:
        return record._replace(vcpu=0, rip=0)
    if record.kind in _APIC:  # aux: which record it answers
        return record._replace(aux=record.aux & (1 << ANSWERS_SHIFT) - 1)
    if record.kind in _RMP and record.vmpl == 0:  # the SVSM has code for one page and code for many
        return record._replace(rip=0)
    if record.kind == RecordKind.IO and record.address in (_RTC_DATA, _ACPI_TIMER):
        return record._replace(value=0)
    return record


def difference(first: Log, second: Log) -> str:
    """Return the first difference of two logs, "" if there is none."""
    if first.ordered.keys() != second.ordered.keys():
        return f"vCPUs {sorted(first.ordered)} and {sorted(second.ordered)}"
    pages: dict[int, int] = {}
    for vcpu in sorted(first.ordered):
        for number, pair in enumerate(itertools.zip_longest(first.ordered[vcpu], second.ordered[vcpu])):
            if not _same(*pair, pages):
                return f"vCPU {vcpu}, record {number} of those compared: {pair[0]} and {pair[1]}"
    if pages.keys() != set(pages.values()):
        return f"other pages of APs: {sorted(pages.keys() ^ set(pages.values()))}"
    other = first.others ^ second.others
    return f"only one has {sorted(other)[:4]}" if other else ""


def _same(first: HostRecord | None, second: HostRecord | None, pages: dict[int, int]) -> bool:
    """Compare two records. pages: those that APs have exchanged, which gets what these records show of them."""
    if first is None or second is None or first.kind not in _OF_PAGES or first.kind != second.kind:
        return first == second
    found = [(old, new) for old, new in zip(first, second, strict=True) if old != new]
    return all(_exchanged(old, new, pages) for old, new in found)


def _exchanged(old: int, new: int, pages: dict[int, int]) -> bool:
    """Return whether the numbers are the same place in two pages that are exchanged."""
    page = new >> _PAGE_SHIFT
    return not (old ^ new) & _PAGE_OFFSET and page == pages.setdefault(old >> _PAGE_SHIFT, page)
