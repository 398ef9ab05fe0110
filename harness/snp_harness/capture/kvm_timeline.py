# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's trace events as a timeline.

KVM's events of one access, in the order of the vCPU's thread (docs/kvm.md):

| access | events |
|---|---|
| read by MMIO | kvm_exit; kvm_apic read; kvm_mmio read |
| write by MMIO | kvm_exit; kvm_mmio write; kvm_apic write |
| RDMSR, WRMSR of 800-8FF and 1B | kvm_exit; kvm_apic, but not of all registers nor of refused accesses; kvm_msr |
| MMIO that no APIC claims | kvm_exit; kvm_mmio alone |

So kvm_mmio and kvm_msr show path, value and outcome; kvm_apic shows that the APIC served an MMIO access.
"""

from __future__ import annotations

from dataclasses import dataclass

from snp_harness.apic.access import Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import APIC_PAGE, APIC_PAGE_SIZE, ApicMode, mode_of
from snp_harness.apic.registers import (
    APIC_BASE,
    TIMER_DIVIDE,
    X2APIC_MSR_FIRST,
    X2APIC_MSR_LAST,
    Register,
    by_msr,
    by_offset,
)
from snp_harness.apic.timeline import Known
from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_console import PortConsole
from snp_harness.capture.kvm_trace import FW_CFG_PORT, KvmEvent, KvmEventKind, parse_line
from snp_harness.capture.module_names import Firmware, ModuleMap, Place
from snp_harness.capture.qemu_trace import LineSplitter
from snp_harness.svsm.sev import GhcbRequest, NaeEvent

WITNESS = "KVM trace events"
#: KVM's trace events do not show these of any guest,
NOT_OBSERVED = frozenset({"page-state", "svsm-calls", "interrupts"})
#: nor this of a guest without SEV, which has no VMPL,
NOT_OBSERVED_PLAIN = NOT_OBSERVED | {"vmpl", "alternate-injection"}
#: nor these of an SEV-ES or SEV-SNP guest, whose registers KVM cannot read.
NOT_OBSERVED_ENCRYPTED = NOT_OBSERVED | {"pc", "module"}
#: Threads that are distinguished: a guest's vCPUs, and some of QEMU's own.
THREAD_LIMIT = 4096

#: Pages of code whose modules are searched in the guest's memory.
PLACES_LIMIT = 4096

#: Reasons of the exits that an access to memory, or to an MSR, causes (arch/x86/include/uapi/asm/{svm,vmx}.h).
_MMIO_REASONS = frozenset({"npf", "EPT_VIOLATION", "EPT_MISCONFIG", "APIC_ACCESS"})
_MSR_REASONS = frozenset({"msr", "MSR_READ", "MSR_WRITE"})
#: Reasons that show that the processor serves a part of the APIC by itself, without events.
_ACCELERATED_REASONS = frozenset({"APIC_WRITE", "EOI_INDUCED", "avic_incomplete_ipi", "avic_unaccelerated_access"})
#: The same as VMGEXITs of an SEV-ES or SEV-SNP guest.
_NAE_MMIO = frozenset({NaeEvent.MMIO_READ, NaeEvent.MMIO_WRITE})
#: An SVSM's requests when it gives the guest Alternate Injection, and takes it away (COCONUT, kernel/src/sev/ghcb.rs).
_INJECTION = frozenset({NaeEvent.CONFIGURE_INJECTION, NaeEvent.DISABLE_ALTERNATE_INJECTION})
#: The request's number in the GHCB MSR protocol. Run VMPL has the VMPL in bits 39:32.
_MSR_INFO_MASK = 0xFFF

#: An access that KVM's APIC serves shows its mode (lapic.c: apic_mmio_read, kvm_x2apic_msr_read).
_SHOWN_MODES = {Path.MMIO: ApicMode.XAPIC, Path.MSR: ApicMode.X2APIC}
#: A processor starts in real mode, with this base of CS (APM volume 2, table 14-1).
_REAL_MODE = 1 << 16
_RESET_CS_BASE = 0xFFFF0000
#: Error code of a nested page fault: the guest's effective C-bit was 1 (Linux's PFERR_GUEST_ENC_MASK).
_PRIVATE = 1 << 34
_PAGE_OFFSET = APIC_PAGE_SIZE - 1
#: APIC_BASE's page number: bits 51:12.
_PAGE_MASK = ((1 << 52) - 1) & ~_PAGE_OFFSET
#: Device memory that firmware uses before DXE too: IOAPIC and above (HPET, TPM, the APIC page, flash).
_PLATFORM_DEVICES = 0xFEC00000
#: MMIO below is the VGA's, which the harness's machines do not have, or an error.
_DEVICES = 1 << 20


@dataclass(slots=True)
class _Thread:
    """The state of a host thread that runs a vCPU.

    explained: the access that caused the last exit. The other fields are events that wait for their other half.
    """

    vcpu: int | None = None
    reason: str = ""
    nae: int | None = None
    pc: int | None = None
    vmpl: int | None = None
    apic_read: KvmEvent | None = None
    apic_write: KvmEvent | None = None
    mmio_write: KvmEvent | None = None
    unanswered: KvmEvent | None = None
    explained: KvmEvent | None = None


class KvmTimeline:
    """Converts the text of tracefs to a timeline.

    firmware: names the module of a pc; None for a guest whose pc KVM cannot read (SEV-ES, SEV-SNP).
    svsm: an SVSM runs at VMPL0 on each vCPU before the firmware does; "run VMPL" calls show which of them runs.
    from_start: the trace begins with the guest; else phase and mode are unknown until an event shows them.
    vcpus: numbers of the vCPUs by their host threads, if QEMU has reported them. KVM's own number is the APIC ID, which
    leaves gaps if a socket's cores are not a power of two.
    lost: events that the kernel reports as missing. unread: lines that were too long, or in an unknown form.
    accelerated: the processor serves a part of the APIC by itself. exits: of the guest, so far.
    """

    def __init__(
        self, collector: Collector, firmware: Firmware | None, *, svsm: bool = False, from_start: bool = True
    ) -> None:
        self.vcpus: dict[int, int] = {}
        self.lost = 0
        self.unread = 0
        self.accelerated = ""
        self.exits = 0
        self._collector = collector
        self._modules = None if firmware is None else ModuleMap(firmware)
        self._svsm = svsm
        self._from_start = from_start
        self._lines = LineSplitter()
        self._cut = 0
        self._threads: dict[int, _Thread] = {}
        self._modes: dict[tuple[int | None, int | None], ApicMode] = {}
        self._pages: dict[int | None, int] = {}
        self._unnamed: dict[int, int] = {}
        self._asked: set[int] = set()
        self._consoles: dict[int, PortConsole] = {}
        self._first_ns: int | None = None

    def feed(self, data: bytes) -> None:
        """Process the next bytes of the trace."""
        for line in self._lines.feed(data):
            event = parse_line(line)
            if event is not None:
                self.take(event)
        self.unread += self._lines.cut - self._cut
        self._cut = self._lines.cut

    def take(self, event: KvmEvent) -> None:
        """Process one event."""
        if event.kind is KvmEventKind.LOST:
            self.lost += event.number
            self.flush()
            return
        if event.kind is KvmEventKind.UNREAD:
            self.unread += 1
            return
        if self._first_ns is None:
            self._begin(event)
        thread = self._thread(event)
        if event.vcpu is not None:
            thread.vcpu = self.vcpus.get(event.thread, event.vcpu)
        match event.kind:
            case KvmEventKind.EXIT:
                self._exit(thread, event)
            case KvmEventKind.APIC:
                self._apic(thread, event)
            case KvmEventKind.MMIO:
                self._mmio(thread, event)
            case KvmEventKind.MSR:
                self._msr(thread, event)
            case KvmEventKind.PIO:
                self._pio(thread, event)
            case KvmEventKind.PAGE_FAULT:
                self._page_fault(thread, event)
            case KvmEventKind.AVIC:
                self.accelerated = self.accelerated or "AVIC"
            case KvmEventKind.VMGEXIT:
                # An exit: encrypted guests' VMGEXITs are reported by this event only.
                self._flush(thread)
                self.exits += 1
                thread.reason = ""
                thread.nae = event.number
                if event.number == NaeEvent.RUN_VMPL and event.info1 is not None:
                    self._run_vmpl(thread, event.info1 & 3)
                elif event.number in _INJECTION and self._svsm and not thread.vmpl:
                    self._alternate(thread, event)
            case KvmEventKind.GHCB_MSR:
                thread.nae = None
                if event.number & _MSR_INFO_MASK == GhcbRequest.RUN_VMPL:
                    self._run_vmpl(thread, event.number >> 32 & 3)

    def flush(self) -> None:
        """Add the accesses whose other half is missing."""
        for thread in self._threads.values():
            self._flush(thread)

    def gaps(self) -> list[str]:
        """Return what the trace itself lacks, sentences."""
        gaps = []
        if self.lost:
            gaps.append(f"{self.lost} of KVM's trace events were lost")
        if self.unread:
            gaps.append(f"{self.unread} lines of KVM's trace could not be read")
        if self.accelerated:
            served = f"the processor handled a part of the APIC itself ({self.accelerated})"
            gaps.append(f"{served}: record with AVIC or APICv turned off")
        return gaps

    def unnamed(self, limit: int) -> list[int]:
        """Return addresses of code outside the known modules, one a page, each once, and at most so many."""
        pages = list(self._unnamed)[:limit]
        self._asked.update(pages)
        return [self._unnamed.pop(page) for page in pages]

    def add_image(self, base: int, size: int, entry: int) -> None:
        """Add an image that was found in guest memory; it can name the module of accesses before and after."""
        if self._modules is not None:
            self._modules.add_image(base, size, entry)

    def name_modules(self) -> None:
        """Set the modules of accesses whose images were found after them."""
        modules = self._modules
        if modules is None:
            return

        def find(pc: int) -> tuple[str, int] | None:
            place = modules.place(pc)
            return None if place.module is None else (place.module, place.base)

        self._collector.name_modules(find)

    def _begin(self, event: KvmEvent) -> None:
        self._first_ns = event.time_ns
        if self._modules is not None:
            self._collector.enter(Phase.RESET, 0, "KVM's first trace event of the guest")
        elif not self._svsm and self._from_start:
            self._collector.enter(
                Phase.SEC, 0, "KVM's first trace event of the guest; the reset vector is not distinguished"
            )

    def _thread(self, event: KvmEvent) -> _Thread:
        thread = self._threads.get(event.thread)
        if thread is None:
            thread = _Thread(vcpu=self.vcpus.get(event.thread), vmpl=0 if self._svsm else None)
            if len(self._threads) >= THREAD_LIMIT:
                self.unread += 1
                return thread
            self._threads[event.thread] = thread
        return thread

    def _exit(self, thread: _Thread, event: KvmEvent) -> None:
        self._flush(thread)
        self.exits += 1
        thread.reason = event.reason
        thread.nae = thread.explained = None
        if event.reason in _ACCELERATED_REASONS:
            self.accelerated = self.accelerated or event.reason
        if self._modules is None or event.rip is None:
            return
        pc = event.rip
        if pc < _REAL_MODE and self._collector.phase is Phase.RESET:
            # KVM reports the instruction pointer. After reset the code segment's base is not its selector's.
            pc += _RESET_CS_BASE
        thread.pc = pc
        place = self._modules.place(pc)
        if place.phase is Phase.OS and self._collector.phase < Phase.BDS:
            return  # firmware can map its code anywhere
        if place.phase is not None and place.phase > self._collector.phase:
            where = f"in {place.module}+{pc - place.base:X}" if place.module else f"at {pc:X}"
            known = Known.INFERRED if place.module is None else Known.LOCATED
            self._collector.enter(place.phase, self._time(event), f"exit {where}", known)

    def _run_vmpl(self, thread: _Thread, vmpl: int) -> None:
        if self._svsm:
            self._flush(thread)
            thread.vmpl = vmpl
            if vmpl and not self._collector.started:
                self._collector.enter(
                    Phase.SEC, 0, "the SVSM started the firmware; the reset vector is not distinguished"
                )

    def _alternate(self, thread: _Thread, event: KvmEvent) -> None:
        """The SVSM prepares a guest with Alternate Injection, or ends it: it has no other use for these requests."""
        active = event.number == NaeEvent.CONFIGURE_INJECTION
        text = f"Alternate Injection {'begins' if active else 'ends'}: the SVSM made request {event.number:X}"
        self._collector.event("alternate-injection", self._time(event), thread.vcpu, text, active=int(active))

    def _apic(self, thread: _Thread, event: KvmEvent) -> None:
        if not event.write:
            self._flush(thread)
            thread.apic_read = event
            return
        page, thread.mmio_write = thread.mmio_write, None
        if page is not None and page.number & _PAGE_OFFSET == event.number:
            self._add(thread, page, by_offset(event.number), Path.MMIO, Outcome.OK)
            # The BSP's: in PEI an AP takes over the BSP's setting (MpInitLib, SyncLocalApicTimerSetting).
            if event.number == TIMER_DIVIDE.offset and thread.vcpu == 0 and self._collector.phase >= Phase.PEI:
                self._enter(thread, Phase.DXE, event, "first write of the timer's divide register (LocalApicTimerDxe)")
            return
        if page is not None:
            self._unclaimed(thread, page)
        self._flush(thread)
        thread.apic_write = event

    def _mmio(self, thread: _Thread, event: KvmEvent) -> None:
        if event.number & ~_PAGE_OFFSET != self._pages.get(thread.vcpu, APIC_PAGE):
            if _DEVICES <= event.number < _PLATFORM_DEVICES and self._collector.phase >= Phase.PEI:
                evidence = f"first use of a device's memory, at {event.number:X}: PEI has ended before"
                self._enter(thread, Phase.DXE, event, evidence)
            return
        read, thread.apic_read = thread.apic_read, None
        if event.write:
            self._flush(thread)
            thread.mmio_write = event
        elif event.unanswered:
            self._flush(thread)
            thread.unanswered = event
        elif read is not None and read.number == event.number & _PAGE_OFFSET:
            self._add(thread, event, by_offset(read.number), Path.MMIO, Outcome.OK)
        else:
            # It may be QEMU's answer to an access that KVM did not serve.
            thread.unanswered = None
            self._flush(thread)
            self._unclaimed(thread, event)

    def _msr(self, thread: _Thread, event: KvmEvent) -> None:
        is_register = X2APIC_MSR_FIRST <= event.number <= X2APIC_MSR_LAST
        if not is_register and event.number != APIC_BASE.msr:
            return
        if is_register:
            # The APIC's own event for the same access.
            thread.apic_read = thread.apic_write = None
        self._flush(thread)
        if not is_register:
            self._base(thread, event)
            return
        self._add(thread, event, by_msr(event.number), Path.MSR, Outcome.GP if event.refused else Outcome.OK)

    def _base(self, thread: _Thread, event: KvmEvent) -> None:
        who = thread.vcpu, thread.vmpl
        if event.value is not None and not event.refused and not event.write:
            # A value that was read replaces earlier knowledge.
            self._modes[who] = mode_of(event.value)
        self._add(thread, event, APIC_BASE, Path.MSR, Outcome.GP if event.refused else Outcome.OK)
        if event.value is not None and not event.refused:
            self._modes[who] = mode_of(event.value)
            self._pages[thread.vcpu] = event.value & _PAGE_MASK

    def _pio(self, thread: _Thread, event: KvmEvent) -> None:
        if self._svsm and not thread.vmpl:
            return
        if event.number == FW_CFG_PORT:
            self._enter(thread, Phase.PEI, event, "first use of fw_cfg: SEC has ended before")
        elif event.write and event.value is not None:
            console = self._consoles.setdefault(event.number, PortConsole())
            shown = console.write(event.value, event.size or 1)
            if shown is not None:
                phase, text = shown
                self._enter(thread, phase, event, f"console: {_printable(text)}", Known.CONSOLE)

    def _enter(
        self, thread: _Thread, phase: Phase, event: KvmEvent, evidence: str, known: Known = Known.INFERRED
    ) -> None:
        """Record a phase that began here at the latest; accesses of the SVSM are not evidence."""
        if not self._svsm or thread.vmpl:
            self._collector.enter(phase, self._time(event), evidence, known)

    def _flush(self, thread: _Thread) -> None:
        halves, pages = (thread.apic_read, thread.apic_write), (thread.mmio_write, thread.unanswered)
        thread.apic_read = thread.apic_write = thread.mmio_write = thread.unanswered = None
        for half in halves:
            if half is not None:
                path = self._path(thread)
                register = by_msr(X2APIC_MSR_FIRST + (half.number >> 4)) if path is Path.MSR else by_offset(half.number)
                self._add(thread, half, register, path, Outcome.OK)
        for page in pages:
            if page is not None:
                self._unclaimed(thread, page)

    def _path(self, thread: _Thread) -> Path:
        """Return the path of an access whose other half is missing, by the exit that it caused."""
        if thread.reason in _MMIO_REASONS or thread.nae in _NAE_MMIO:
            return Path.MMIO
        if thread.reason in _MSR_REASONS or thread.nae == NaeEvent.MSR:
            return Path.MSR
        return Path.UNKNOWN

    def _unclaimed(self, thread: _Thread, page: KvmEvent) -> None:
        register = by_offset(page.number & _PAGE_OFFSET)
        self._add(thread, page, register, Path.MMIO, Outcome.NOT_CLAIMED)

    def _add(self, thread: _Thread, event: KvmEvent, register: Register, path: Path, outcome: Outcome) -> None:
        if self._svsm and thread.vmpl == 0:
            self._foreign(thread, event, register)
            return
        who = thread.vcpu, thread.vmpl
        shown = _SHOWN_MODES.get(path)
        if outcome is Outcome.OK and shown is not None and register is not APIC_BASE:
            self._modes[who] = shown
        pc = thread.pc if self._belongs(thread, event, path) else None
        place = None if pc is None or self._modules is None else self._modules.place(pc)
        if pc is not None and place is not None and place.module is None:
            self._wonder(pc)
        self._collector.access(
            Operation.WRITE if event.write else Operation.READ,
            register,
            path,
            value=event.value,
            size=event.size,
            vcpu=thread.vcpu,
            vmpl=thread.vmpl,
            mode=self._modes.get(who, ApicMode.XAPIC if self._from_start else None),
            outcome=outcome,
            served_by=Server.NOBODY if outcome is Outcome.NOT_CLAIMED else Server.HYPERVISOR,
            phase=self._phase(place),
            pc=pc,
            module=None if place is None else place.module,
            module_offset=None if place is None or pc is None else place.offset(pc),
            time_ns=self._time(event),
        )

    def _phase(self, place: Place | None) -> Phase | None:
        """Return the phase of an access, None for the current one. SEC's own code is SEC's at any time."""
        if place is not None and place.phase in (Phase.RESET, Phase.SEC):
            return place.phase
        return None if self._from_start or self._collector.phase > Phase.RESET else Phase.UNKNOWN

    def _wonder(self, pc: int) -> None:
        """Remember a pc whose module has to be found in guest memory."""
        page = pc & ~_PAGE_OFFSET
        if page not in self._asked and len(self._unnamed) + len(self._asked) < PLACES_LIMIT:
            self._unnamed.setdefault(page, pc)

    def _belongs(self, thread: _Thread, event: KvmEvent, path: Path) -> bool:
        """Return whether the access caused the last exit.

        Kernels before 5.17 report an MSR's fast path before its exit. An instruction may read and write one register.
        """
        before = thread.explained
        if path is Path.MMIO:
            belongs = thread.reason in _MMIO_REASONS and (
                before is None or (before.number, before.write) == (event.number, not event.write)
            )
        else:
            belongs = thread.reason in _MSR_REASONS and before is None
        if belongs:
            thread.explained = event
        return belongs

    def _page_fault(self, thread: _Thread, event: KvmEvent) -> None:
        """A private access to a page without private memory (APM volume 2, section 15.36.10: bit 34 is the C-bit)."""
        if self._modules is not None or not (event.info1 or 0) & _PRIVATE or (self._svsm and not thread.vmpl):
            return
        self._collector.event(
            "private-mmio",
            self._time(event),
            thread.vcpu,
            f"private access to a GPA without private memory: {event.number:X}",
            gpa=event.number,
            error_code=event.info1 or 0,
        )

    def _foreign(self, thread: _Thread, event: KvmEvent, register: Register) -> None:
        """Add an event for an access of the SVSM to an APIC, which is not an access of the firmware."""
        self._collector.event(
            "other-vmpl-apic",
            self._time(event),
            thread.vcpu,
            f"VMPL0: APIC {'write' if event.write else 'read'} of {register.name}",
            vmpl=0,
            address=event.number,
            value=event.value or 0,
        )

    def _time(self, event: KvmEvent) -> int:
        """Time since the first event; an event of another processor may be a little earlier."""
        return max(0, event.time_ns - (self._first_ns or 0))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
