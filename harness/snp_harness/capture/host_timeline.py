# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of the emulated hypervisor as a timeline."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable

from snp_harness.apic.access import VMPL_MAX, Operation, Outcome, Path, Phase, Server
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
from snp_harness.apic.timeline import GUEST_EXIT, SVSM_EXIT, Known
from snp_harness.capture import entries
from snp_harness.capture.collect import Collector
from snp_harness.capture.condense import SORT_LIMIT, SORTS_LIMIT
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.goal import LogState, Position
from snp_harness.capture.host_end import PRIVATE_MMIO_END, HostEnd, exit_status, host_end
from snp_harness.capture.injection import InjectionEvents
from snp_harness.capture.launch_log import LaunchLog
from snp_harness.capture.module_names import KERNEL_HALF, UNKNOWN_CODE, Firmware, ModuleMap, Place
from snp_harness.capture.open_access import OpenAccesses
from snp_harness.capture.record import (
    ANSWERS_BITS,
    ANSWERS_SHIFT,
    FLAG_VALUE,
    FLAG_WRITE,
    RECORD,
    RECORD_OFFSETS,
    HostRecord,
    RecordKind,
    RecordOutcome,
    RecordPath,
    RecordRefused,
    RecordViolation,
)
from snp_harness.capture.svsm_track import SvsmTrack
from snp_harness.svsm.protocol import Result
from snp_harness.svsm.sev import gpa_text

WITNESS = "emulated host log"
#: The vCPU that runs firmware; the others run what it starts on them.
BOOT_VCPU = 0
#: address, value and extra of a record are the bytes of an instruction.
_CODE = struct.Struct("<QQQ")
#: SW_EXITINFO1 of AP creation (harness/emulator/include/ghcb.h, NAE_AP_*).
_AP_OPERATION, _AP_DESTROY, _AP_VMPL_SHIFT, _AP_VMPL = 0xFFFF, 2, 16, 0xF
#: Instructions of all vCPUs that are remembered; others are unknown.
_EXECUTED_MAX = 1 << 16

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
#: Position in a record's fields.
_VALUE = 4
_ANSWERS_MASK = (1 << ANSWERS_BITS) - 1
#: Kinds that add an access or may begin a phase.
_IN_ORDER = frozenset(
    {RecordKind.ACCESS, RecordKind.APIC, RecordKind.APIC_BASE, RecordKind.MODULE, RecordKind.BYTES, RecordKind.START}
)
#: Accesses without an answer that are remembered: handlers nest, and a guest may answer any number itself.
_OPEN_MAX = 1024

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


class HostTimeline:
    """Converts records to a timeline.

    guest_vmpl: the tested firmware's, which may run code at lower ones (higher numbers) as well; accesses of the others
    to an APIC are the SVSM's. symbols: returns the function of a pc of the SVSM. launched: bytes of the launch list.
    console: searches what the guest prints, None if that is not in the log.
    end: set when the hypervisor has stopped. counts: records by kind. modules: of the firmware, where they run.
    skipped: what was not seen, in sentences: phases, and code of the firmware that the SVSM's VMPL executed.
    """

    def __init__(
        self,
        firmware: Firmware,
        guest_vmpl: int,
        collector: Collector,
        symbols: Callable[[int], str | None] = lambda _: None,
        launched: Callable[[int, int], bytes] | None = None,
        console: ConsoleText | None = None,
    ) -> None:
        self.end: HostEnd | None = None
        self.counts: Counter[int] = Counter()
        self.unknown = 0
        #: The last RMP violation of each vCPU's VMPL, which may be why that ends.
        self._violations: dict[tuple[int, int], str] = {}
        self._collector = collector
        self.modules = ModuleMap(firmware)
        #: Whose code the instruction at a pc of a vCPU was when it was executed last.
        self._executed: dict[tuple[int, int], Place] = {}
        self.skipped: list[str] = []
        #: The SVSM's VMPL executed code of the firmware.
        self._misplaced = False
        self._guest_vmpl = guest_vmpl
        #: SEV_FEATURES of the VMSA that the SVSM created first for the guest; None: none was created.
        self.guest_features: int | None = None
        self._injection = InjectionEvents(guest_vmpl, collector)
        self._symbols = symbols
        self._svsm = SvsmTrack(guest_vmpl, collector, symbols)
        #: The access whose answer is awaited next, and by the low bits of their numbers those that had none at once:
        #: their records and indices in the timeline.
        self._awaited: HostRecord | None = None
        self._open: dict[int, tuple[HostRecord, int | None]] = {}
        self._unfinished = OpenAccesses(guest_vmpl)
        self._last_ns = 0
        self._foreign_sorts: Counter[tuple[int, int, int]] = Counter()
        self._handlers: dict[int, Callable[[HostRecord], None]] = {
            RecordKind.START: self._start,
            RecordKind.END: self._end,
            RecordKind.ACCESS: self._begin,
            RecordKind.APIC: self._apic,
            RecordKind.APIC_BASE: self._apic_base,
            RecordKind.MODULE: self._module,
            RecordKind.BYTES: self._bytes,
            RecordKind.RMP_VIOLATION: self._violation,
            RecordKind.STATS: self._stats,
            RecordKind.TEXT: self._text,
            RecordKind.VMSA: self._vmsa,
            RecordKind.REFUSED: self._refused,
            RecordKind.LAUNCH: LaunchLog(collector, launched).take,
            **self._injection.handlers,
        }
        self._known = frozenset(map(int, RecordKind))
        self._console = console
        self._number = 0
        collector.log_state = self._log_state

    def take(self, batch: bytes) -> None:
        """Process valid records, in order."""
        handlers = self._handlers
        counts = self.counts
        unfinished = self._unfinished
        svsm, guest_vmpl = self._svsm, self._guest_vmpl
        console, printed = self._console, False
        number = self._number
        for fields in RECORD.iter_unpack(batch):
            kind = fields[7]
            if kind == RecordKind.CONSOLE and console is not None:
                console.add(fields[_VALUE] & 0xFF)
                printed = True
                if self._awaited is not None:
                    self._unanswered()
            elif printed and console is not None:
                # At its place: before the record that follows.
                console.search()
                printed = False
            counts[kind] += 1
            number += 1
            if kind == RecordKind.EXIT:  # of a profile: a timeline is the same at every log level
                continue
            handler = handlers.get(kind)
            unfinished.take(fields)
            # Of the guest's records few concern the SVSM: a call for each would be a fifth of the time.
            if fields[9] < guest_vmpl or kind == RecordKind.SVSM_RESULT or svsm.awaits_guest:
                svsm.take(fields)
            if handler is not None:
                self._collector.entries.log_place = number, counts[RecordKind.ACCESS]
                record = HostRecord._make(fields)
                if self._awaited is not None and kind in _IN_ORDER and not _answers(record, self._awaited):
                    self._unanswered()
                # A time out of a timeline's range is an error of the hypervisor; the other fields still count.
                handler(record if record.time_ns <= TIME_MAX else record._replace(time_ns=TIME_MAX))
            elif kind not in self._known:
                self.unknown += 1
            self._last_ns = fields[1]
        self._number = number
        if printed and console is not None:
            console.search()

    def is_open(self, position: Position | None = None) -> bool:
        """Whether a vCPU is on the way to the answer of an access. position: only of those before it."""
        if self._awaited is not None and position is None:
            return True
        before = None if position is None else self._collector.entries.count(entries.ACCESS, position.entries)
        on_way = self._unfinished.at_end(self._last_ns)
        return any(
            record.seq in on_way and index is not None and (before is None or index < before)
            for record, index in self._open.values()
        )

    def _log_state(self) -> LogState:
        behind = 0 if self._console is None else self._console.behind
        return LogState(self.counts.total() - behind, self.counts[RecordKind.ACCESS], self._svsm.activity())

    def finish(self, quiet_ns: int = 0) -> None:
        """Add what was open at the end: who would have answered the accesses that it cut off is not known.

        quiet_ns: how long the run went on after its last record.
        """
        self._injection.flush()
        activity = self._svsm.activity()
        if activity is not None:
            self._collector.event(activity.kind, None, None, activity.text, **activity.fields)
        if self._awaited is not None:
            self._unanswered()
        cut_off = self._unfinished.at_end(self._last_ns + quiet_ns)
        for record, index in self._open.values():
            if index is not None and record.seq in cut_off:
                self._collector.amend(index, served_by=Server.NOT_OBSERVED)

    def _begin(self, record: HostRecord) -> None:
        if record.vmpl >= self._guest_vmpl:
            self._awaited = record

    def _unanswered(self) -> None:
        """Add the awaited access as one that the guest's own #VC handler answers, unless an answer comes later."""
        record, self._awaited = self._awaited, None
        assert record is not None
        index = self._add(record, register_of(record), _PATHS.get(record.path), Outcome.NOT_OBSERVED, Server.GUEST)
        self._open[record.seq & _ANSWERS_MASK] = record, index
        if len(self._open) > _OPEN_MAX:
            del self._open[next(iter(self._open))]

    def _start(self, record: HostRecord) -> None:
        self._collector.enter(Phase.RESET, record.time_ns, "the emulated host started the guest", Known.PROVEN)

    def _end(self, record: HostRecord) -> None:
        self._injection.flush()
        where = self._of_svsm if record.vmpl < self._guest_vmpl else self.modules.describe
        end = host_end(record, self._violations.get((record.vcpu, record.vmpl)), where, self._guest_vmpl)
        if self.end is None:
            self.end = end
        detail = "gpa" if end.kind == PRIVATE_MMIO_END else "value"
        fields = {"reason": record.address, detail: record.value, "extra": record.extra, "pc": record.rip}
        if end.kind in (GUEST_EXIT, SVSM_EXIT):
            fields["status"] = exit_status(record)
        self._collector.event(end.kind, record.time_ns, record.vcpu, end.text, vmpl=record.vmpl, **fields)

    def _apic(self, record: HostRecord) -> None:
        if record.vmpl < self._guest_vmpl:
            self._foreign(record)
            return
        of_base = record.address == APIC_BASE.msr and record.aux >> ANSWERS_SHIFT
        if record.path != RecordPath.MMIO and not X2APIC_MSR_FIRST <= record.address <= X2APIC_MSR_LAST and not of_base:
            # The TSC deadline (MSR 6E0) belongs to the APIC timer, but is not a register of the APIC. Other numbers
            # that the SVSM was asked for are calls (capture/injection.py).
            return
        self._access(record, register_of(record), Path.MSR if of_base else _PATHS.get(record.path))

    def _apic_base(self, record: HostRecord) -> None:
        if record.vmpl < self._guest_vmpl:
            self._foreign(record)
            return
        self._access(record, APIC_BASE, Path.MSR)

    def _access(self, record: HostRecord, register: Register, path: Path | None) -> None:
        """Add an access that was answered, or the answer to one that was added before."""
        outcome = _OUTCOMES.get(record.outcome, Outcome.ERROR)
        if path is Path.SVSM and record.extra in _REPEATED:
            outcome = Outcome.BUSY
        if outcome is Outcome.NOT_CLAIMED:
            server = Server.NOBODY
        elif record.path == RecordPath.SVSM:
            server = Server.SVSM
        else:
            server = Server.HYPERVISOR
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            self._add(record._replace(time_ns=self._time(record, awaited)), register, path, outcome, server)
            return
        number = record.aux >> ANSWERS_SHIFT
        begun, index = self._open.get(number, (None, None))
        if begun is None or not _answers(record, begun):
            self._add(record, register, path, outcome, server)
            return
        del self._open[number]
        if index is None:
            self._collector.uncount()
            self._add(record, register, path, outcome, server)
            return
        self._collector.amend(
            index,
            operation=_operation(record),
            path=path or Path.UNKNOWN,
            value=record.value,
            size=record.size,
            outcome=outcome,
            served_by=server,
            time_ns=self._time(record, begun),
        )

    def _time(self, record: HostRecord, begun: HostRecord) -> int:
        """Return when the processor made an access; if the SVSM was called for it, when it was called."""
        called_ns = self._injection.called_ns(record.vcpu) if record.path == RecordPath.SVSM else None
        return begun.time_ns if called_ns is None else called_ns

    def _add(
        self, record: HostRecord, register: Register, path: Path | None, outcome: Outcome, server: Server
    ) -> int | None:
        place, phase = self._placed(record)
        observed = record.kind != RecordKind.ACCESS or record.flags & FLAG_VALUE
        return self._collector.access(
            _operation(record),
            register,
            path or Path.UNKNOWN,
            value=record.value if observed else None,
            size=record.size or None,
            vcpu=record.vcpu,
            vmpl=record.vmpl if record.vmpl <= VMPL_MAX else None,
            mode=_MODES[record.aux & 3],
            outcome=outcome,
            served_by=server,
            phase=phase,
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
            f"VMPL{record.vmpl}: APIC {write} of {record.address or APIC_BASE.msr:X}, value {record.value:X},"
            f" at {self._of_svsm(record.rip)}",
            vmpl=record.vmpl,
            address=record.address,
            value=record.value,
            pc=record.rip,
        )

    def _module(self, record: HostRecord) -> None:
        # A header names a module, and proves nothing.
        self.modules.add_image(record.address, record.value & 0xFFFFFFFF, record.value >> 32)

    def _bytes(self, record: HostRecord) -> None:
        """Find out whose code was executed, and record a later phase if the boot processor shows that it has begun."""
        code = _CODE.pack(record.address, record.value, record.extra)[: record.size]
        place = self.modules.proven(record.rip, code) if code else UNKNOWN_CODE
        if record.vmpl < self._guest_vmpl:
            if place.module is not None and not self._misplaced:
                self._misplaced = True
                what = f"code of the firmware ({place.name(record.rip)})"
                self.skipped.append(f"VMPL{record.vmpl} executed {what}, whose accesses there were not judged")
            return
        key = record.vcpu, record.rip
        if key in self._executed or len(self._executed) < _EXECUTED_MAX:
            self._executed[key] = place
        if record.vcpu == BOOT_VCPU:
            self._enter(place, record)

    def _enter(self, place: Place, record: HostRecord) -> None:
        reached = self._collector.phase
        if place.phase is None:
            if record.rip >= KERNEL_HALF and reached is Phase.BDS:
                evidence = f"#VMEXIT at {record.rip:X}, outside all modules"
                self._collector.enter(Phase.OS, record.time_ns, evidence, Known.INFERRED)
            return
        if place.phase <= reached:
            return
        if place.phase > reached + 1 and reached < Phase.DXE:
            skipped = ", ".join(phase.name for phase in Phase if reached < phase < place.phase)
            self.skipped.append(f"{skipped} was not seen before {place.phase.name}")
        evidence = f"#VMEXIT in {place.name(record.rip)}"
        self._collector.enter(place.phase, record.time_ns, evidence, Known.PROVEN)

    def describe(self, pc: int) -> str:
        """Return a pc with its module, or while only the SVSM has run, with its function."""
        return self._of_svsm(pc) if self._collector.svsm_stage else self.modules.describe(pc)

    def _of_svsm(self, pc: int) -> str:
        name = self._symbols(pc)
        return f"{pc:X}" if name is None else f"{pc:X} ({name})"

    def _placed(self, record: HostRecord) -> tuple[Place, Phase]:
        """Whose code a record's instruction is, and the phase that it belongs to.

        SEC's own code is SEC's at any time. Code of a later module is of the phase that was reached. Unknown code may
        be SEC's until DXE was reached.
        """
        place = self._executed.get((record.vcpu, record.rip), UNKNOWN_CODE)
        reached = self._collector.phase
        if place.phase is None:
            return place, reached if reached >= Phase.DXE else Phase.UNKNOWN
        if place.phase <= Phase.SEC:
            return place, place.phase
        return place, reached if reached > Phase.SEC else Phase.UNKNOWN

    def _violation(self, record: HostRecord) -> None:
        try:
            what = _VIOLATION_TEXT[RecordViolation(record.aux)]
        except ValueError:
            what = f"violation {record.aux}"
        place, phase = self._placed(record)
        where = self._of_svsm(record.rip) if record.vmpl < self._guest_vmpl else place.name(record.rip)
        text = f"{what}: GPA {gpa_text(record.address)} in {where}"
        if record.aux != RecordViolation.MMIO:
            self._violations[record.vcpu, record.vmpl] = text
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
        where = self.modules.place(record.rip).name(record.rip)
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


def _operation(record: HostRecord) -> Operation:
    return Operation.WRITE if record.flags & FLAG_WRITE else Operation.READ


def register_of(record: HostRecord) -> Register:
    """Return the register that a record of an access names, by its page offset or its MSR."""
    return by_offset(record.address & _PAGE_OFFSET) if record.path == RecordPath.MMIO else by_msr(record.address)


def _answers(record: HostRecord, begun: HostRecord) -> bool:
    """Whether a record is the answer to an access: it names its number, and is about the same register and mode."""
    return (
        record.kind in (RecordKind.APIC, RecordKind.APIC_BASE)
        and (record.vcpu, record.vmpl) == (begun.vcpu, begun.vmpl)
        and record.aux >> ANSWERS_SHIFT == begun.seq & _ANSWERS_MASK
        and record.aux & 3 == begun.aux & 3
        and (record.kind == RecordKind.APIC_BASE or record.address == begun.address)
    )
