# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of the emulated hypervisor as a timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.jsonfield import TIME_MAX
from snp_harness.apic.registers import (
    APIC_BASE,
    X2APIC_MSR_FIRST,
    X2APIC_MSR_LAST,
    Register,
    by_msr,
    by_offset,
)
from snp_harness.capture.collect import SORT_LIMIT, SORTS_LIMIT, Collector
from snp_harness.capture.injection import InjectionEvents
from snp_harness.capture.module_names import Firmware, ModuleMap, Place
from snp_harness.capture.record import (
    FLAG_WRITE,
    RECORD,
    RECORD_OFFSETS,
    HostRecord,
    RecordEnd,
    RecordKind,
    RecordOutcome,
    RecordPath,
    RecordViolation,
)
from snp_harness.svsm.protocol import Result
from snp_harness.svsm.sev import SvsmTermination, TerminationSet, gpa_text

WITNESS = "emulated host log"

#: aux of an APIC record: EN << 1 | EXTD.
_MODES = (ApicMode.DISABLED, ApicMode.INVALID, ApicMode.XAPIC, ApicMode.X2APIC)
_PATHS: dict[int, Path] = {RecordPath.MMIO: Path.MMIO, RecordPath.MSR: Path.MSR, RecordPath.SVSM: Path.SVSM}
_OUTCOMES: dict[int, Outcome] = {
    RecordOutcome.OK: Outcome.OK,
    RecordOutcome.GP: Outcome.GP,
    RecordOutcome.NOT_CLAIMED: Outcome.NOT_CLAIMED,
    RecordOutcome.ERROR: Outcome.ERROR,
}
#: Results of an SVSM call that has to be made again (58019, table 4).
_REPEATED = frozenset({Result.BUSY, Result.INCOMPLETE})
_PAGE_OFFSET = 0xFFF

_END_TEXT = {
    RecordEnd.SHUTDOWN: "the guest shut down (triple fault)",
    RecordEnd.VMRUN: "VMRUN refused the guest's state (VMEXIT_INVALID)",
    RecordEnd.TERMINATE: "the guest asked to be ended, reason set {value:X}, reason {extra:X}",
    RecordEnd.UNKNOWN_EXIT: "the hypervisor does not handle #VMEXIT {aux:X}, EXITINFO1 {value:X}, EXITINFO2 {extra:X}",
    RecordEnd.VC: "#VC {value:X} could not be delivered, failure {extra}",
    RecordEnd.HOST_FAULT: "the hypervisor itself faulted, vector {value}, CR2 {extra:X}",
    RecordEnd.ASSERT: "an assertion of the hypervisor failed",
    RecordEnd.INSTRUCTION: "the hypervisor cannot emulate the instruction {value:016X} (bytes, little endian)",
    RecordEnd.PRIVATE_MMIO: "the guest accessed {gpa}, where there is no memory, without paging: a private access",
    RecordEnd.CONFIG: "the hypervisor refused its configuration block, field at {value:X}",
    RecordEnd.NO_VMSA: "nothing is left to run: no VMSA for the VMPL",
    RecordEnd.NAE: "the firmware reported an exit that it does not support, {value:X}",
    RecordEnd.VMPL: "the guest's VMPL may not access GPA {gpa}, RMP entry {extra:X}",
    RecordEnd.GHCB: "VMGEXIT with a GHCB at {gpa}, which is not registered: KVM ends the guest",
    RecordEnd.INIT: "the guest had INIT sent to the processor that the hypervisor runs on",
}
#: Ends that are a failure of the hypervisor; the guest causes the others.
_HYPERVISOR_FAILURES = frozenset({RecordEnd.VMRUN, RecordEnd.HOST_FAULT, RecordEnd.ASSERT, RecordEnd.CONFIG})
#: Kinds of their events, all in snp_harness.apic.timeline.END_KINDS; the others are "host-end".
_END_KIND = {
    RecordEnd.SHUTDOWN: "guest-shutdown",
    RecordEnd.TERMINATE: "guest-termination",
    RecordEnd.PRIVATE_MMIO: "private-mmio-end",
}
_VIOLATION_TEXT = {
    RecordViolation.NOT_VALIDATED: "private access to a page that is not validated",
    RecordViolation.SHARED: "private access to a shared page",
    RecordViolation.PRIVATE: "shared access to a private page",
    RecordViolation.VMPL: "access that the VMPL may not make",
    RecordViolation.PVALIDATE: "PVALIDATE of a page that is not assigned",
    RecordViolation.GHCB: "the GHCB's page is not shared",
    RecordViolation.MMIO: "private access to a GPA without memory",
}


@dataclass(frozen=True, slots=True)
class HostEnd:
    """The hypervisor stopped. text: why. hypervisor_failed: the cause is the hypervisor, or its configuration.

    lacks_feature: the SVSM, not the tested firmware, ended the run because a hypervisor feature is missing.
    """

    text: str
    hypervisor_failed: bool
    lacks_feature: bool = False


class HostTimeline:
    """Converts records to a timeline.

    guest_vmpl: the tested firmware's; accesses of other VMPLs to an APIC are not the firmware's.
    end: set when the hypervisor has stopped. counts: records by kind.
    """

    def __init__(self, firmware: Firmware, guest_vmpl: int, collector: Collector) -> None:
        self.end: HostEnd | None = None
        self.counts: Counter[int] = Counter()
        self.unknown = 0
        self._collector = collector
        self._modules = ModuleMap(firmware)
        self._guest_vmpl = guest_vmpl
        self._injection = InjectionEvents(guest_vmpl, collector)
        self._foreign_sorts: Counter[tuple[int, int, int]] = Counter()
        self._handlers: dict[int, Callable[[HostRecord], None]] = {
            RecordKind.START: self._start,
            RecordKind.END: self._end,
            RecordKind.APIC: self._apic,
            RecordKind.APIC_BASE: self._apic_base,
            RecordKind.MODULE: self._module,
            RecordKind.CODE: self._code,
            RecordKind.RMP_VIOLATION: self._violation,
            RecordKind.STATS: self._stats,
            RecordKind.TEXT: self._text,
            RecordKind.VMSA: self._vmsa,
            **self._injection.handlers,
        }
        self._known = frozenset(map(int, RecordKind))

    def take(self, batch: bytes) -> None:
        """Process valid records, in order."""
        handlers = self._handlers
        counts = self.counts
        for fields in RECORD.iter_unpack(batch):
            kind = fields[7]
            counts[kind] += 1
            handler = handlers.get(kind)
            if handler is not None:
                record = HostRecord._make(fields)
                # A time out of a timeline's range is an error of the hypervisor; the other fields still count.
                handler(record if record.time_ns <= TIME_MAX else record._replace(time_ns=TIME_MAX))
            elif kind not in self._known:
                self.unknown += 1

    def _start(self, record: HostRecord) -> None:
        self._collector.enter(Phase.RESET, record.time_ns, "the emulated host started the guest")

    def _end(self, record: HostRecord) -> None:
        self._injection.flush()
        try:
            end = RecordEnd(record.address)
        except ValueError:
            text, failure, kind = f"the hypervisor stopped for unknown reason {record.address}", True, "host-end"
        else:
            text = _END_TEXT[end].format(
                value=record.value, gpa=gpa_text(record.value), extra=record.extra, aux=record.aux
            )
            failure, kind = end in _HYPERVISOR_FAILURES, _END_KIND.get(end, "host-end")
        place = self._modules.place(record.rip)
        where = f"{record.rip:X}"
        if place.module is not None and not failure:
            where += f" ({place.module}+{record.rip - place.base:X})"
        text = f"{text}, at pc {where}"
        if self.end is None:
            reason = (record.address, record.value, record.extra)
            lacks = reason == (RecordEnd.TERMINATE, TerminationSet.SVSM, SvsmTermination.FEATURE)
            # The tested firmware can send the same reason, which proves nothing.
            self.end = HostEnd(text, failure, lacks and record.vmpl != self._guest_vmpl)
        detail = "gpa" if kind == "private-mmio-end" else "value"
        fields = {"reason": record.address, detail: record.value, "extra": record.extra, "pc": record.rip}
        self._collector.event(kind, record.time_ns, record.vcpu, text, vmpl=record.vmpl, **fields)

    def _apic(self, record: HostRecord) -> None:
        if record.vmpl != self._guest_vmpl:
            self._foreign(record)
            return
        mmio = record.path == RecordPath.MMIO
        if not mmio and not X2APIC_MSR_FIRST <= record.address <= X2APIC_MSR_LAST:
            # The TSC deadline (MSR 6E0) belongs to the APIC timer, but is not a register of the APIC.
            return
        register = by_offset(record.address & _PAGE_OFFSET) if mmio else by_msr(record.address)
        self._access(record, register, _PATHS.get(record.path))

    def _apic_base(self, record: HostRecord) -> None:
        if record.vmpl != self._guest_vmpl:
            self._foreign(record)
            return
        self._access(record, APIC_BASE, Path.MSR)

    def _access(self, record: HostRecord, register: Register, path: Path | None) -> None:
        place = self._modules.place(record.rip)
        self._enter(place, record)
        outcome = _OUTCOMES.get(record.outcome, Outcome.ERROR)
        if path is Path.SVSM and record.extra in _REPEATED:
            outcome = Outcome.BUSY
        if outcome is Outcome.NOT_CLAIMED:
            server = Server.NOBODY
        elif path is Path.SVSM:
            server = Server.SVSM
        else:
            server = Server.HYPERVISOR
        self._collector.access(
            Operation.WRITE if record.flags & FLAG_WRITE else Operation.READ,
            register,
            path or Path.UNKNOWN,
            value=record.value,
            size=record.size,
            vcpu=record.vcpu,
            vmpl=record.vmpl,
            mode=_MODES[record.aux & 3],
            outcome=outcome,
            served_by=server,
            pc=record.rip,
            module=place.module,
            module_offset=place.offset(record.rip),
            time_ns=record.time_ns,
        )

    def _foreign(self, record: HostRecord) -> None:
        """Add an event for an access of another VMPL, the SVSM's, to an APIC, which is not an access of the firmware.

        Only the first for each register and direction: an SVSM that serves a timer makes hundreds a second.
        """
        sort = (record.vmpl, record.address, record.flags & FLAG_WRITE)
        if self._foreign_sorts[sort] >= SORT_LIMIT or len(self._foreign_sorts) > SORTS_LIMIT:
            return
        self._foreign_sorts[sort] += 1
        write = "write" if record.flags & FLAG_WRITE else "read"
        self._collector.event(
            "other-vmpl-apic",
            record.time_ns,
            record.vcpu,
            f"VMPL{record.vmpl}: APIC {write} of {record.address or APIC_BASE.msr:X}, value {record.value:X}",
            vmpl=record.vmpl,
            address=record.address,
            value=record.value,
            pc=record.rip,
        )

    def _module(self, record: HostRecord) -> None:
        place = self._modules.add_image(record.address, record.value & 0xFFFFFFFF, record.value >> 32)
        if record.vmpl == self._guest_vmpl:
            self._enter(place, record)

    def _code(self, record: HostRecord) -> None:
        if record.vmpl == self._guest_vmpl:
            self._enter(self._modules.place(record.rip), record)

    def _enter(self, place: Place, record: HostRecord) -> None:
        """Record a later phase if the module of a pc shows that it has begun."""
        if place.phase is None or place.phase <= self._collector.phase:
            return
        if place.module is not None:
            evidence = f"#VMEXIT in {place.module}+{record.rip - place.base:X}"
        else:
            evidence = f"#VMEXIT at {record.rip:X}, a kernel's address"
        self._collector.enter(place.phase, record.time_ns, evidence)

    def _violation(self, record: HostRecord) -> None:
        try:
            what = _VIOLATION_TEXT[RecordViolation(record.aux)]
        except ValueError:
            what = f"violation {record.aux}"
        place = self._modules.place(record.rip)
        where = f"{place.module}+{record.rip - place.base:X}" if place.module else f"{record.rip:X}"
        self._collector.event(
            "private-mmio" if record.aux == RecordViolation.MMIO else "rmp-violation",
            record.time_ns,
            record.vcpu,
            f"{what}: GPA {gpa_text(record.address)} in {where}",
            gpa=record.address,
            violation=record.aux,
            error_code=record.value,
            rmp_entry=record.extra,
            vmpl=record.vmpl,
            pc=record.rip,
        )

    def _vmsa(self, record: HostRecord) -> None:
        answer = "ok" if record.outcome == RecordOutcome.OK else "refused"
        self._collector.event(
            "vmsa",
            record.time_ns,
            record.vcpu,
            f"AP creation: VMSA {gpa_text(record.address)}, SEV_FEATURES {record.extra:X}, {answer}",
            gpa=record.address,
            info1=record.value,
            sev_features=record.extra,
            vmpl=record.vmpl,
        )

    def _stats(self, record: HostRecord) -> None:
        self._collector.event(
            "exits",
            record.time_ns,
            record.vcpu,
            f"#VMEXIT {record.address:X}: {record.value} times",
            exit_code=record.address,
            count=record.value,
            host_ticks=record.extra,
        )

    def _text(self, record: HostRecord) -> None:
        raw = RECORD.pack(*record)[RECORD_OFFSETS["rip"] : RECORD_OFFSETS["check"]].partition(b"\0")[0]
        text = "".join(character if character.isprintable() else "?" for character in raw.decode("ascii", "replace"))
        self._collector.event("host-text", record.time_ns, record.vcpu, f"{text} (line {record.aux})", line=record.aux)
