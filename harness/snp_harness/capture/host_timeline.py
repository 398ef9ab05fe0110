# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of the emulated hypervisor as a timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from snp_harness.apic.access import VMPL_MAX, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.event_kinds import GUEST_EXIT, SVSM_EXIT
from snp_harness.apic.jsonfield import TIME_MAX
from snp_harness.apic.registers import (
    APIC_BASE,
    X2APIC_MSR_FIRST,
    X2APIC_MSR_LAST,
    Register,
    by_msr,
    by_offset,
)
from snp_harness.apic.timeline import Known
from snp_harness.capture import entries
from snp_harness.capture.collect import Collector
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.executed import ExecutedCode
from snp_harness.capture.goal import LogState, Position
from snp_harness.capture.host_end import PRIVATE_MMIO_END, HostEnd, exit_status, host_end
from snp_harness.capture.host_events import HostEvents
from snp_harness.capture.injection import InjectionEvents
from snp_harness.capture.launch_log import LaunchLog
from snp_harness.capture.module_names import Firmware
from snp_harness.capture.open_access import OpenAccesses
from snp_harness.capture.record import (
    ANSWERS_BITS,
    ANSWERS_SHIFT,
    FLAG_VALUE,
    FLAG_WRITE,
    RECORD,
    HostRecord,
    RecordKind,
    RecordOutcome,
    RecordPath,
)
from snp_harness.capture.svsm_track import SvsmTrack
from snp_harness.svsm.protocol import Result

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
#: Position in a record's fields.
_VALUE = 4
_ANSWERS_MASK = (1 << ANSWERS_BITS) - 1
#: Kinds that add an access or may begin a phase.
_IN_ORDER = frozenset(
    {RecordKind.ACCESS, RecordKind.APIC, RecordKind.APIC_BASE, RecordKind.MODULE, RecordKind.BYTES, RecordKind.START}
)
#: Accesses without an answer that are remembered: handlers nest, and a guest may answer any number itself.
_OPEN_MAX = 1024


class HostTimeline:
    """Converts records to a timeline.

    guest_vmpl: the tested firmware's, which may run code at lower ones (higher numbers) as well; accesses of the others
    to an APIC are the SVSM's. symbols: returns the function of a pc of the SVSM. launched: bytes of the launch list.
    console: searches what the guest prints, None if that is not in the log.
    end: set when the hypervisor has stopped. counts: records by kind.
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
        self._collector = collector
        self._guest_vmpl = guest_vmpl
        self._code = ExecutedCode(firmware, guest_vmpl, collector)
        self._events = HostEvents(guest_vmpl, collector, self._code, self._of_svsm)
        self._injection = InjectionEvents(guest_vmpl, collector)
        self._symbols = symbols
        self._svsm = SvsmTrack(guest_vmpl, collector, symbols)
        #: The access whose answer is awaited next, and by the low bits of their numbers those that had none at once:
        #: their records and indices in the timeline.
        self._awaited: HostRecord | None = None
        self._open: dict[int, tuple[HostRecord, int | None]] = {}
        self._unfinished = OpenAccesses(guest_vmpl)
        self._last_ns = 0
        self._handlers: dict[int, Callable[[HostRecord], None]] = {
            RecordKind.START: self._start,
            RecordKind.END: self._end,
            RecordKind.ACCESS: self._begin,
            RecordKind.APIC: self._apic,
            RecordKind.APIC_BASE: self._apic_base,
            RecordKind.MODULE: self._code.take_module,
            RecordKind.BYTES: self._code.take_bytes,
            RecordKind.LAUNCH: LaunchLog(collector, launched).take,
            **self._events.handlers,
            **self._injection.handlers,
        }
        self._known = frozenset(map(int, RecordKind))
        self._console = console
        self._number = 0
        collector.log_state = self._log_state

    @property
    def skipped(self) -> list[str]:
        """What was not seen, in sentences."""
        return self._code.skipped

    @property
    def guest_features(self) -> int | None:
        """SEV_FEATURES that the SVSM created the guest with; None: none was created."""
        return self._events.guest_features

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
        where = self._of_svsm if record.vmpl < self._guest_vmpl else self._code.modules.describe
        end = host_end(record, self._events.violations.get((record.vcpu, record.vmpl)), where, self._guest_vmpl)
        if self.end is None:
            self.end = end
        detail = "gpa" if end.kind == PRIVATE_MMIO_END else "value"
        fields = {"reason": record.address, detail: record.value, "extra": record.extra, "pc": record.rip}
        if end.kind in (GUEST_EXIT, SVSM_EXIT):
            fields["status"] = exit_status(record)
        self._collector.event(end.kind, record.time_ns, record.vcpu, end.text, vmpl=record.vmpl, **fields)

    def _apic(self, record: HostRecord) -> None:
        if record.vmpl < self._guest_vmpl:
            self._events.foreign_access(record)
            return
        of_base = record.address == APIC_BASE.msr and record.aux >> ANSWERS_SHIFT
        if record.path != RecordPath.MMIO and not X2APIC_MSR_FIRST <= record.address <= X2APIC_MSR_LAST and not of_base:
            # The TSC deadline (MSR 6E0) belongs to the APIC timer, but is not a register of the APIC. Other numbers
            # that the SVSM was asked for are calls (capture/injection.py).
            return
        self._access(record, register_of(record), Path.MSR if of_base else _PATHS.get(record.path))

    def _apic_base(self, record: HostRecord) -> None:
        if record.vmpl < self._guest_vmpl:
            self._events.foreign_access(record)
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
        place, phase = self._code.placed(record)
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

    def describe(self, pc: int) -> str:
        """Return a pc with its module, or while only the SVSM has run, with its function."""
        return self._of_svsm(pc) if self._collector.svsm_stage else self._code.modules.describe(pc)

    def _of_svsm(self, pc: int) -> str:
        name = self._symbols(pc)
        return f"{pc:X}" if name is None else f"{pc:X} ({name})"


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
