# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the #VMEXITs of a run that was recorded at log.level 3: by VMPL, kind, register and module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from snp_harness.apic.access import Phase
from snp_harness.capture.module_names import Firmware, ModuleMap
from snp_harness.capture.record import FLAG_WRITE, RECORD, HostRecord, RecordKind, RecordRmpOp
from snp_harness.launch.ring import RECORD_SIZE
from snp_harness.svsm.sev import GhcbRequest, NaeEvent

#: The log level that records each exit (harness/emulator/include/config.h).
LOG_LEVEL = 3
#: Exit codes (APM vol. 2, appendix C; harness/emulator/include/svm_exit.h).
EXIT_NAMES = {
    0x18: "CR8 write",
    0x27: "DR7 read",
    0x37: "DR7 write",
    0x41: "#DB",
    0x46: "#UD",
    0x4D: "#GP",
    0x60: "INTR",
    0x61: "NMI",
    0x62: "SMI",
    0x6E: "RDTSC",
    0x6F: "RDPMC",
    0x72: "CPUID",
    0x74: "IRET",
    0x76: "INVD",
    0x77: "PAUSE",
    0x78: "HLT",
    0x7B: "IOIO",
    0x7C: "MSR",
    0x7F: "SHUTDOWN",
    0x81: "VMMCALL",
    0x87: "RDTSCP",
    0x89: "WBINVD",
    0x8A: "MONITOR",
    0x8B: "MWAIT",
    0x400: "NPF",
    0x403: "VMGEXIT",
}
_UD, _CPUID, _IOIO, _MSR, _NPF, _VMGEXIT = 0x46, 0x72, 0x7B, 0x7C, 0x400, 0x403
_PORT_SHIFT = 16
_PAGE = ~0xFFF
#: Info of a GHCB MSR request: the low bits.
_REQUEST_MASK = 0xFFF
#: MTRRs: one kind.
_MTRRS = frozenset({0xFE, *range(0x200, 0x210), *range(0x250, 0x270), 0x2FF})
#: Where the counts are also taken: before the first exit of a PEI module, and of BdsDxe.
MARKS = {Phase.PEI: "end of SEC", Phase.BDS: "first exit of BdsDxe"}
#: And when this is on the console. Where port I/O is native, its exits at this port are the log's, and not counted.
CONSOLE_MARK = "BdsDxe: on the console"
_CONSOLE_TEXT, _CONSOLE_PORT = b"BdsDxe: ", 0x3F8
_EVENTS: dict[int, str] = {event.value: event.name for event in NaeEvent}
_REQUESTS: dict[int, str] = {request.value: request.name for request in GhcbRequest}


_Key = TypeVar("_Key", str, "Row")


class Row(NamedTuple):
    """What exits are counted by. register: MSR, port, CPUID leaf or page in hex, or empty. module: empty if unknown."""

    vmpl: int
    kind: str
    register: str
    module: str


class ExitProfile:
    """The exits of a log. firmware: names the modules. guest_vmpl: the firmware's; at lower ones runs the SVSM.

    rows: the counts. marks: counts by kind at each of MARKS and CONSOLE_MARK that was reached. records: processed.
    """

    def __init__(self, firmware: Firmware, guest_vmpl: int) -> None:
        self.rows: Counter[Row] = Counter()
        self.marks: dict[str, dict[str, int]] = {}
        self.records = 0
        self._modules = ModuleMap(firmware)
        self._guest_vmpl = guest_vmpl
        #: The last exit, until the next one: the records between say what it was for. The pc of the #VC's instruction.
        self._exit: HostRecord | None = None
        self._purpose = ""
        self._register: str | None = None
        self._pc = 0
        self._is_vc = False
        self._printed = b""

    def take(self, batch: bytes) -> None:
        """Process whole records, in order."""
        self.records += len(batch) // RECORD_SIZE
        for fields in RECORD.iter_unpack(batch):
            kind = fields[7]
            if kind == RecordKind.EXIT:
                self.finish()
                record = HostRecord._make(fields)
                self._mark(record)
                self._exit, self._pc = record, record.rip
            elif kind == RecordKind.MODULE:
                self._modules.add_image(fields[3], fields[4] & 0xFFFFFFFF, fields[4] >> 32)
                continue
            self._is_vc |= kind == RecordKind.VC
            if kind == RecordKind.IO and fields[3] == _CONSOLE_PORT:
                self._print(HostRecord._make(fields))
            if self._exit is not None and not self._purpose:
                self._explain(HostRecord._make(fields), self._exit)

    def finish(self) -> None:
        """Count the last exit."""
        record, self._exit = self._exit, None
        if record is None:
            return
        name = EXIT_NAMES.get(record.address, f"exit {record.address:X}")
        register = self._register
        if record.address == _MSR:
            name, register = "WRMSR" if record.value & 1 else "RDMSR", f"{record.extra:X}"
        elif record.address == _CPUID:
            register = f"{record.extra:X}"
        elif record.address == _IOIO:
            register = f"{record.value >> _PORT_SHIFT & 0xFFFF:X}"
        kind = f"{name} {self._purpose}".strip()
        if record.address != _IOIO or self._is_vc or record.value >> _PORT_SHIFT & 0xFFFF != _CONSOLE_PORT:
            self.rows[Row(record.vmpl, kind, register or "", self._module(record.vmpl))] += 1
        self._purpose, self._register, self._is_vc = "", None, False

    def kinds(self) -> dict[str, int]:
        """Return the counts by kind, and for MSRs by number, the most frequent first."""
        counts: Counter[str] = Counter()
        for row, count in self.rows.items():
            kind = row.kind
            if kind in ("RDMSR", "WRMSR"):
                kind += " of MTRRs" if int(row.register, 16) in _MTRRS else f" {row.register}"
            counts[kind] += count
        return dict(_most(counts))

    def to_json(self) -> dict[str, Any]:
        """Return the profile as JSON values."""
        return {
            "exits": self.rows.total(),
            "kinds": self.kinds(),
            "marks": self.marks,
            "rows": [{**row._asdict(), "count": count} for row, count in _most(self.rows)],
        }

    def lines(self, most: int) -> Iterator[str]:
        """Yield the profile as two tables. most: rows of each."""
        total = max(1, self.rows.total())
        for title, rows in (
            ("kind", self.kinds()),
            ("VMPL, kind, register and module", {_text(row): count for row, count in _most(self.rows)}),
        ):
            left = sum(list(rows.values())[most:])
            yield f"exits by {title}: {self.rows.total()}"
            for text, count in list(rows.items())[:most]:
                yield f"  {count:>8} {count * 100 / total:>5.1f} %  {text}"
            if left:
                yield f"  {left:>8} {left * 100 / total:>5.1f} %  {len(rows) - most} others"
        for mark, kinds in self.marks.items():
            yield f"exits until {mark}: {sum(kinds.values())}"

    def _explain(self, record: HostRecord, exit_record: HostRecord) -> None:
        """Use a record that follows an exit as what the exit was for."""
        code, kind = exit_record.address, record.kind
        if code == _VMGEXIT and kind == RecordKind.NAE:
            self._purpose = _EVENTS.get(record.address) or EXIT_NAMES.get(record.address, f"{record.address:X}")
            self._pc = record.rip
            if record.address == _IOIO:
                self._register = f"{record.value >> _PORT_SHIFT & 0xFFFF:X}"
            elif record.address in (NaeEvent.MMIO_READ, NaeEvent.MMIO_WRITE):
                self._register = f"{record.value & _PAGE:X}"
        elif code == _VMGEXIT and kind == RecordKind.GHCB_MSR:
            self._purpose = _REQUESTS.get(record.address & _REQUEST_MASK, f"request {record.address & _REQUEST_MASK:X}")
        elif code == _VMGEXIT and kind == RecordKind.VMPL_SWITCH:
            self._purpose = "RUN_VMPL"
        elif code == _UD and kind == RecordKind.RMP_CHANGE:
            self._purpose = "RMPADJUST" if record.aux == RecordRmpOp.RMPADJUST else "PVALIDATE"
        elif code == _NPF and kind in (RecordKind.VC, RecordKind.MMIO, RecordKind.APIC):
            self._purpose, self._register = "MMIO", f"{exit_record.extra & _PAGE:X}"

    def _mark(self, record: HostRecord) -> None:
        if record.vmpl < self._guest_vmpl or record.vcpu:
            return
        phase = self._modules.place(record.rip).phase
        if phase in MARKS and MARKS[phase] not in self.marks:
            self.marks[MARKS[phase]] = self.kinds()

    def _print(self, record: HostRecord) -> None:
        if record.flags & FLAG_WRITE and record.vmpl >= self._guest_vmpl:
            self._printed = (self._printed + bytes([record.value & 0xFF]))[-len(_CONSOLE_TEXT) :]
            if self._printed == _CONSOLE_TEXT and CONSOLE_MARK not in self.marks:
                self.marks[CONSOLE_MARK] = self.kinds()

    def _module(self, vmpl: int) -> str:
        return "(SVSM)" if vmpl < self._guest_vmpl else self._modules.place(self._pc).module or ""


def _text(row: Row) -> str:
    return f"VMPL{row.vmpl} {row.kind:<20} {row.register:<10} {row.module}".rstrip()


def _most(counts: Mapping[_Key, int]) -> list[tuple[_Key, int]]:
    """Return keys and counts, the highest first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
