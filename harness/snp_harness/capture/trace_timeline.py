# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's trace events as a timeline.

QEMU's APIC reports the register that was accessed, but not the path. While the events of its memory regions are
enabled, an access to the APIC page has a line of theirs as well: before the APIC's line for a read, after it for a
write. An APIC line without it is an MSR access. Later only the mode shows the path: in xAPIC mode every access is MMIO.

Phases: QEMU's events have no pc. A phase is recognised by the first use of a device (measured on OVMF 2022.11 to
2026.08): SEC does not use fw_cfg, PlatformPei does; PEI reaches PCI configuration space by ports, DXE by MMCONFIG on
q35; LocalApicTimerDxe, on the BSP, writes the timer's divide register. So a phase begins there at the latest.
"""

from __future__ import annotations

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import EN, EXTD, ApicMode, is_legal, mode_of
from snp_harness.apic.registers import APIC_BASE, TIMER_DIVIDE, by_offset
from snp_harness.capture.collect import Collector
from snp_harness.capture.console_text import ConsoleText
from snp_harness.capture.qemu_trace import LineSplitter, TraceEvent, TraceKind, parse_line

WITNESS = "QEMU trace events"
#: QEMU's trace events do not show these. A refused MSR access has no line.
NOT_OBSERVED = frozenset(
    {"pc", "module", "vmpl", "outcome", "page-state", "svsm-calls", "interrupts", "alternate-injection"}
)
#: Lines of memory regions after which their events are disabled: OVMF reaches DXE in a tenth of them unless it polls.
REGION_LINES = 20_000

_INTERESTING = (b"apic", b"fw_cfg_select", b"mmcfg", b"serial_write")
#: Registers of a 16550A by their offsets (its data sheet): the data's is the divisor's while DLAB is set, and with
#: loopback nothing is sent.
_DATA, _LINE_CONTROL, _MODEM = 0, 3, 4
_DLAB, _LOOPBACK = 0x80, 0x10
_REGION = b"memory_region_ops"
_REGISTER_WIDTH = 4


class TraceTimeline:
    """Converts QEMU's log to a timeline. vcpus: of the machine. console: searches what the guest prints on its only
    serial port, None if that is not in the log.

    regions_wanted: False when the events of memory regions are not needed any more; the caller then disables them.
    """

    def __init__(self, vcpus: int, collector: Collector, console: ConsoleText | None = None) -> None:
        self.regions_wanted = True
        self.unread = 0
        self._collector = collector
        self._vcpus = vcpus
        self._lines = LineSplitter()
        self._console = console
        self._printed = False
        self._serial = {_LINE_CONTROL: 0, _MODEM: 0}
        self._region_lines = 0
        self._modes = {ApicMode.XAPIC}
        self._first_ns: int | None = None
        self._read: TraceEvent | None = None
        self._write: TraceEvent | None = None

    def skip(self, gap_ns: int) -> None:
        """Leave out a time, in which there was no machine, from those of what follows."""
        if self._first_ns is not None:
            self._first_ns += gap_ns

    def feed(self, data: bytes) -> None:
        """Process the next bytes of the log."""
        for line in self._lines.feed(data):
            if _REGION in line:
                self._region_lines += 1
            if any(word in line for word in _INTERESTING):
                event = parse_line(line)
                if event is not None:
                    self.take(event)
        self._search()
        self.unread = self._lines.cut
        if self._region_lines > REGION_LINES:
            self.regions_wanted = False

    def take(self, event: TraceEvent) -> None:
        """Process one event."""
        if self._collector.phase < Phase.SEC:
            self._first_ns = event.time_ns
            self._collector.enter(Phase.SEC, 0, "the guest's first trace event; the reset vector is not distinguished")
        if event.kind is TraceKind.SERIAL:
            self._print(event)
            return
        self._search()
        match event.kind:
            case TraceKind.APIC_READ:
                self.flush()
                self._read = event
            case TraceKind.PAGE_READ:
                self._page_read(event)
            case TraceKind.PAGE_WRITE:
                self.flush()
                self._write = event
            case TraceKind.APIC_WRITE:
                self._apic_write(event)
            case TraceKind.BASE_READ | TraceKind.BASE_WRITE:
                self._base(event)
            case TraceKind.FW_CFG:
                self.flush()
                self._collector.enter(Phase.PEI, self._time(event), "first use of fw_cfg: SEC has ended before")
            case TraceKind.MMCONFIG:
                self.flush()
                self._enter_dxe(event, "first use of MMCONFIG: PEI has ended before")

    def _print(self, event: TraceEvent) -> None:
        self.flush()
        if event.number in self._serial:
            self._serial[event.number] = event.value
        hidden = self._serial[_LINE_CONTROL] & _DLAB or self._serial[_MODEM] & _LOOPBACK
        if event.number == _DATA and not hidden and self._console is not None:
            self._console.add(event.value & 0xFF)
            self._printed = True

    def _search(self) -> None:
        """Find what was printed, before anything else is added."""
        if self._printed and self._console is not None:
            self._printed = False
            self._console.search()

    def flush(self) -> None:
        """Add the accesses whose other half is missing."""
        read, self._read = self._read, None
        if read is not None:
            self._add(read, None)
        write, self._write = self._write, None
        if write is not None:
            self._page_only(write)

    def _page_read(self, page: TraceEvent) -> None:
        read, self._read = self._read, None
        if read is not None and read.number == page.number:
            self._add(read, page)
            return
        if read is not None:
            self._add(read, None)
        self._page_only(page)

    def _apic_write(self, event: TraceEvent) -> None:
        read, self._read = self._read, None
        if read is not None:
            self._add(read, None)
        page, self._write = self._write, None
        if page is not None and page.number != event.number:
            self._page_only(page)
            page = None
        self._add(event, page)
        # The BSP's: in PEI an AP takes over the BSP's setting (MpInitLib, SyncLocalApicTimerSetting).
        if event.number == TIMER_DIVIDE.offset and self._vcpu(page) == 0 and self._collector.phase >= Phase.PEI:
            self._enter_dxe(event, "first write of the timer's divide register (LocalApicTimerDxe)")

    def _enter_dxe(self, event: TraceEvent, evidence: str) -> None:
        self._collector.enter(Phase.DXE, self._time(event), evidence)
        self.regions_wanted = False

    def _add(self, event: TraceEvent, page: TraceEvent | None) -> None:
        """Add an access that QEMU's APIC served. page: its event of the memory region."""
        mode = self._mode()
        if page is not None:
            path, size = Path.MMIO, page.size
        elif mode is ApicMode.XAPIC:
            path, size = Path.MMIO, None
        elif self.regions_wanted:
            path, size = Path.MSR, 8
        else:
            path, size = Path.UNKNOWN, None
        self._collector.access(
            Operation.READ if event.kind is TraceKind.APIC_READ else Operation.WRITE,
            by_offset(event.number),
            path,
            value=event.value,
            size=size,
            vcpu=self._vcpu(page),
            vmpl=None,
            mode=mode,
            outcome=Outcome.OK,
            served_by=Server.HYPERVISOR,
            time_ns=self._time(event),
        )

    def _page_only(self, page: TraceEvent) -> None:
        """Add an access to the APIC page that was too narrow for the APIC to serve. MSIs of devices do not count."""
        if page.vcpu == -1 or page.number < 1 << _REGISTER_WIDTH or (page.size or 0) >= _REGISTER_WIDTH:
            return
        self._collector.access(
            Operation.READ if page.kind is TraceKind.PAGE_READ else Operation.WRITE,
            by_offset(page.number),
            Path.MMIO,
            value=page.value,
            size=page.size,
            vcpu=self._vcpu(page),
            vmpl=None,
            mode=self._mode(),
            outcome=Outcome.NOT_CLAIMED,
            served_by=Server.NOBODY,
            time_ns=self._time(page),
        )

    def _base(self, event: TraceEvent) -> None:
        write = event.kind is TraceKind.BASE_WRITE
        before = self._mode()
        after = mode_of(event.value & (EN | EXTD))
        self._collector.access(
            Operation.WRITE if write else Operation.READ,
            APIC_BASE,
            Path.MSR,
            value=event.value,
            size=8,
            vcpu=self._vcpu(None),
            vmpl=None,
            mode=before,
            outcome=Outcome.NOT_OBSERVED if write else Outcome.OK,
            served_by=Server.NOT_OBSERVED if write else Server.HYPERVISOR,
            time_ns=self._time(event),
        )
        if self._vcpus > 1:
            self._modes.add(after)
        elif not write or before is None or is_legal(before, after):
            self._modes = {after}

    def _mode(self) -> ApicMode | None:
        """Return the mode of the vCPU of an access: known while all vCPUs can be in one mode only."""
        return next(iter(self._modes)) if len(self._modes) == 1 else None

    def _vcpu(self, page: TraceEvent | None) -> int | None:
        if page is not None and page.vcpu is not None and page.vcpu >= 0:
            return page.vcpu
        return 0 if self._vcpus == 1 else None

    def _time(self, event: TraceEvent) -> int | None:
        """Time since the first event; 0 if the clock was set back."""
        if event.time_ns is None or self._first_ns is None:
            return None
        return max(0, event.time_ns - self._first_ns)
