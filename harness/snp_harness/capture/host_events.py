# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of the emulated host's records that are neither the firmware's accesses nor about interrupts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from snp_harness.apic.registers import APIC_BASE
from snp_harness.capture.collect import Collector
from snp_harness.capture.condense import SORT_LIMIT, SORTS_LIMIT
from snp_harness.capture.executed import ExecutedCode
from snp_harness.capture.record import (
    FLAG_WRITE,
    RECORD,
    RECORD_OFFSETS,
    HostRecord,
    RecordKind,
    RecordOutcome,
    RecordRefused,
    RecordViolation,
)
from snp_harness.svsm.sev import gpa_text

#: SW_EXITINFO1 of AP creation (harness/emulator/include/ghcb.h, NAE_AP_*).
_AP_OPERATION, _AP_DESTROY, _AP_VMPL_SHIFT, _AP_VMPL = 0xFFFF, 2, 16, 0xF

_REFUSED_TEXT = {
    RecordRefused.WINDOW: "a window over other devices or memory, configuration space",
    RecordRefused.PORT: "the TCO timer or a device's ejection, port",
    RecordRefused.A20: "address line 20 off, port",
    RecordRefused.SMI: "SMI or INIT for a processor of the emulator, address",
    RecordRefused.EJECT: "the ejection of a processor, port",
    RecordRefused.MESSAGE: "an interrupt message of the HPET, GPA",
    RecordRefused.DMA: "fw_cfg DMA to or from memory that is not shared, GPA",
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


class HostEvents:
    """Adds the events to the collector.

    code: whose it is. of_svsm: returns a pc of the SVSM with its function. handlers: by kind of record. violations: the
    last RMP violation of each vCPU's VMPL, which may be why that ends. guest_features: SEV_FEATURES of the VMSA that
    the SVSM created first for the guest; None: none was created.
    """

    def __init__(
        self, guest_vmpl: int, collector: Collector, code: ExecutedCode, of_svsm: Callable[[int], str]
    ) -> None:
        self.violations: dict[tuple[int, int], str] = {}
        self.guest_features: int | None = None
        self._foreign_sorts: Counter[tuple[int, int, int]] = Counter()
        self._guest_vmpl = guest_vmpl
        self._collector = collector
        self._code = code
        self._of_svsm = of_svsm
        self.handlers: dict[int, Callable[[HostRecord], None]] = {
            RecordKind.RMP_VIOLATION: self._violation,
            RecordKind.STATS: self._stats,
            RecordKind.TEXT: self._text,
            RecordKind.VMSA: self._vmsa,
            RecordKind.REFUSED: self._refused,
        }

    def foreign_access(self, record: HostRecord) -> None:
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
            f"VMPL{record.vmpl}: APIC {write} of {record.address or APIC_BASE.msr:X}, value {record.value:X},"
            f" at {self._of_svsm(record.rip)}",
            vmpl=record.vmpl,
            address=record.address,
            value=record.value,
            pc=record.rip,
        )

    def _violation(self, record: HostRecord) -> None:
        try:
            what = _VIOLATION_TEXT[RecordViolation(record.aux)]
        except ValueError:
            what = f"violation {record.aux}"
        place, phase = self._code.placed(record)
        where = self._of_svsm(record.rip) if record.vmpl < self._guest_vmpl else place.name(record.rip)
        text = f"{what}: GPA {gpa_text(record.address)} in {where}"
        if record.aux != RecordViolation.MMIO:
            self.violations[record.vcpu, record.vmpl] = text
        self._collector.event(
            "private-mmio" if record.aux == RecordViolation.MMIO else "rmp-violation",
            record.time_ns,
            record.vcpu,
            text,
            gpa=record.address,
            violation=record.aux,
            error_code=record.value,
            rmp_entry=record.extra,
            vmpl=record.vmpl,
            pc=record.rip,
            phase=phase.name,
        )

    def _vmsa(self, record: HostRecord) -> None:
        answer = "ok" if record.outcome == RecordOutcome.OK else "refused"
        operation, vmpl = record.value & _AP_OPERATION, record.value >> _AP_VMPL_SHIFT & _AP_VMPL
        created = record.outcome == RecordOutcome.OK and operation != _AP_DESTROY and vmpl == self._guest_vmpl
        # The SVSM's first one: it is the launch vCPU's, and no wish of the guest's.
        if created and record.vmpl < vmpl and self.guest_features is None:
            self.guest_features = record.extra
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

    def _refused(self, record: HostRecord) -> None:
        """Add an event for a write to a device that the hypervisor did not pass on: it would reach the emulator."""
        try:
            what = _REFUSED_TEXT[RecordRefused(record.aux)]
        except ValueError:
            what = f"sort {record.aux}, address"
        where = self._code.modules.place(record.rip).name(record.rip)
        self._collector.event(
            "device-write-refused",
            record.time_ns,
            record.vcpu,
            f"not passed on: {what} {record.address:X}, value {record.value:X}, in {where}",
            address=record.address,
            value=record.value,
            sort=record.aux,
            vmpl=record.vmpl,
            pc=record.rip,
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
