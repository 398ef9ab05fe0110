# SPDX-License-Identifier: GPL-2.0-or-later
"""One VMPL's own track in a raw log of the emulated host: what it asked for, changed and answered, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from snp_harness.apic.registers import APIC_BASE
from snp_harness.capture.host_timeline import register_of
from snp_harness.capture.record import (
    FLAG_WRITE,
    RECORD,
    HostRecord,
    RecordKind,
    RecordOutcome,
    RecordRmpOp,
)
from snp_harness.svsm.protocol import call_name, result_name
from snp_harness.svsm.sev import MSR_GHCB, GhcbRequest, NaeEvent, gpa_text

_PAGE = 1 << 12
_LARGE_PAGE = 1 << 21
_REQUEST_MASK = 0xFFF
#: Changes of pages that are held back because the next one may continue them.
_HELD_MAX = 8
#: Not what a VMPL does.
_LEFT_OUT = frozenset(
    {RecordKind.START, RecordKind.STATS, RecordKind.BYTES, RecordKind.MODULE, RecordKind.TEXT, RecordKind.EXIT}
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a VMPL did. pc: 0 where none is known. what: in words. count: how often, one after the other.

    end: behind the last page of a change of pages, which the next one may continue.
    """

    time_ns: int
    vcpu: int
    vmpl: int
    pc: int
    what: str
    count: int = 1
    end: int = 0

    def line(self, name: Callable[[int], str | None]) -> str:
        """Return a line of text. name: returns a pc's function."""
        function = name(self.pc)
        place = f"{self.pc:X}" if function is None else f"{self.pc:X} {function}"
        last = f" to {self.end - 1:X}" if self.end and self.count > 1 else ""
        times = f" ({self.count} times)" if self.count > 1 else ""
        return f"{self.time_ns / 1e9:>12.6f} {self.vcpu}/{self.vmpl} {place:<48} {self.what}{last}{times}"

    def to_json(self, name: Callable[[int], str | None]) -> dict[str, object]:
        """Return the step as JSON values."""
        return {
            "time_ns": self.time_ns,
            "vcpu": self.vcpu,
            "vmpl": self.vmpl,
            "pc": f"{self.pc:#x}",
            "function": name(self.pc),
            "what": self.what,
            "last": f"{self.end - 1:#x}" if self.end else None,
            "count": self.count,
        }


def steps(batches: Iterable[bytes], vmpl: int, guest_vmpl: int) -> Iterator[Step]:
    """Yield what a VMPL did; the same thing done again, and changes of pages that follow each other, are one step.

    batches: of whole records. guest_vmpl: of the firmware, whose calls the SVSM answers: they are in its track, too.
    """
    held: dict[int, list[Step]] = {}
    for batch in batches:
        for fields in RECORD.iter_unpack(batch):
            record = HostRecord._make(fields)
            step = _step(record) if _concerns(record, vmpl, guest_vmpl) else None
            if step is None:
                continue
            open_steps = held.setdefault(step.vcpu, [])
            number = next((n for n, before in enumerate(open_steps) if _continues(before, step, record)), None)
            if number is not None:
                before = open_steps[number]
                open_steps[number] = replace(before, count=before.count + 1, end=step.end)
                continue
            # An SVSM validates a page and adjusts it, then the next: both go on as long as nothing else is done.
            if not step.end or len(open_steps) == _HELD_MAX or not all(before.end for before in open_steps):
                yield from open_steps
                open_steps.clear()
            open_steps.append(step)
    yield from sorted((step for left in held.values() for step in left), key=lambda step: step.time_ns)


def _concerns(record: HostRecord, vmpl: int, guest_vmpl: int) -> bool:
    if record.kind == RecordKind.SVSM_RESULT:
        return vmpl < guest_vmpl
    return record.vmpl == vmpl and record.kind not in _LEFT_OUT


def _continues(before: Step, step: Step, record: HostRecord) -> bool:
    if before.pc != step.pc or before.vmpl != step.vmpl:
        return False
    if not step.end:
        return before.what == step.what
    kind = step.what.rpartition(" ")[0]
    return before.end == record.address and before.what.rpartition(" ")[0] == kind


def _step(record: HostRecord) -> Step | None:
    what = _what(record)
    if what is None:
        return None
    vmpl, pc, end = record.vmpl, record.rip, 0
    if record.kind == RecordKind.SVSM_RESULT:
        # The record has the guest's pc and VMPL.
        vmpl, pc = 0, 0
    elif record.kind == RecordKind.RMP_CHANGE and record.outcome == RecordOutcome.OK:
        end = record.address + (_LARGE_PAGE if record.size else _PAGE)
    return Step(record.time_ns, record.vcpu, vmpl, pc, what, end=end)


def _what(record: HostRecord) -> str | None:
    """Return what a record says that was done, None for a kind that is not shown."""
    failed = "" if record.outcome == RecordOutcome.OK else ", refused"
    value = f"{'write' if record.flags & FLAG_WRITE else 'read'}, value {record.value:X}"
    match record.kind:
        case RecordKind.RMP_CHANGE:
            return f"{_name(RecordRmpOp, record.aux)}{failed} {record.address:X}"
        case RecordKind.SVSM_RESULT:
            return f"answers {call_name(record.address)} of the guest: {result_name(record.value)}"
        case RecordKind.SVSM_CALL:
            return f"calls {call_name(record.address)}, RCX {record.value:X}"
        case RecordKind.GHCB_MSR:
            request = _name(GhcbRequest, record.address & _REQUEST_MASK)
            return f"GHCB MSR request {request}: {record.address:X}, answer {record.value:X}{failed}"
        case RecordKind.NAE:
            event = _name(NaeEvent, record.address)
            return f"NAE event {event}, {record.value:X}, {record.extra:X}{failed}"
        case RecordKind.APIC | RecordKind.ACCESS:
            return f"APIC {register_of(record).name} {value}{failed}"
        case RecordKind.APIC_BASE:
            return f"{APIC_BASE.name} {value}{failed}"
        case RecordKind.MSR:
            return f"MSR {record.address or MSR_GHCB:X} {value}{failed}"
        case RecordKind.RMP_VIOLATION:
            return f"RMP violation {record.aux}: {gpa_text(record.address)}, error {record.value:X}"
        case RecordKind.VMSA:
            return f"AP creation: VMSA {record.address:X}, SEV_FEATURES {record.extra:X}{failed}"
        case RecordKind.VMPL_SWITCH:
            return f"runs, exit {record.value:X} of the other"
        case RecordKind.IO:
            return f"port {record.address:X} {value}"
        case RecordKind.MMIO:
            return f"device at {record.address:X} {value}"
        case RecordKind.VC:
            return f"#VC {record.address:X}, {record.value:X}"
        case RecordKind.INTERRUPT:
            return f"takes vector {record.address:X}"
        case RecordKind.ALTERNATE:
            return f"Alternate Injection of VMPL{record.address} {'begins' if record.value else 'ends'}"
        case RecordKind.END:
            return f"ends the run: {record.address}, {record.value:X}, {record.extra:X}"
    return None


def _name(numbers: type[GhcbRequest] | type[NaeEvent] | type[RecordRmpOp], value: int) -> str:
    try:
        return numbers(value).name
    except ValueError:
        return f"{value:X}"
