# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's trace events: the ones that are enabled, and the parser of their lines.

Lines are those of tracefs' trace_pipe: task, thread, processor, flags, time, event, and the event's own text. The text
(arch/x86/kvm/trace.h, include/trace/events/kvm.h) differs between kernels (docs/kvm.md): only the beginning that all of
them share is parsed. Recorded and compared: 5.10, 6.1, 6.12 and 7.2.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from snp_harness.apic.apic_base import APIC_PAGE, APIC_PAGE_SIZE

#: OVMF's fw_cfg selector, its debug console and the first serial port: writes to them show the phase.
FW_CFG_PORT = 0x510
DEBUG_PORT = 0x402
SERIAL_PORT = 0x3F8

#: Exits for interrupts of the host are excluded: SVM's reason 60, VMX's reason 1 (SVM does not use that number).
_NO_INTERRUPTS = "exit_reason != 0x60 && exit_reason != 0x1"
#: Exits that accesses to the APIC cause. SVM: MSR, nested page fault, AVIC's two. VMX: RDMSR, WRMSR, APIC access, EOI,
#: EPT violation and misconfiguration, APIC write (arch/x86/include/uapi/asm/{svm,vmx}.h).
_ACCESSES = (0x7C, 0x400, 0x401, 0x402, 31, 32, 44, 45, 48, 49, 56)
#: The filter of kvm_exit when only accesses are needed: the exits that show phases come before DXE.
EXITS_OF_ACCESSES = " || ".join(f"exit_reason == {reason:#x}" for reason in _ACCESSES)
#: VMGEXITs for port I/O are excluded: kvm_pio contains the same, a character of the console each.
_NO_PORTS = "exit_reason != 0x7b"
_VMGEXIT = 0x403

#: Events that an access needs, each with the filter of its fields.
REQUIRED_EVENTS = {"kvm_exit": _NO_INTERRUPTS, "kvm_apic": "", "kvm_msr": "", "kvm_mmio": ""}
_AVIC = {"kvm_avic_unaccelerated_access": ""}
#: For a guest without SEV, whose pc shows its phase.
PLAIN_EVENTS = {**REQUIRED_EVENTS, "kvm_pio": f"port == {FW_CFG_PORT:#x}", **_AVIC}
#: For an SEV-ES or SEV-SNP guest, whose console does. Its VMGEXITs are read once, from their own event.
ENCRYPTED_EVENTS = {
    **REQUIRED_EVENTS,
    "kvm_exit": f"{_NO_INTERRUPTS} && exit_reason != {_VMGEXIT:#x}",
    "kvm_pio": f"port == {FW_CFG_PORT:#x} || port == {DEBUG_PORT:#x} || port == {SERIAL_PORT:#x}",
    "kvm_vmgexit_enter": _NO_PORTS,
    "kvm_vmgexit_msr_protocol_enter": "",
    # A shared access to the APIC page is a VMGEXIT; a private one is a page fault.
    "kvm_page_fault": f"fault_address >= {APIC_PAGE:#x} && fault_address < {APIC_PAGE + APIC_PAGE_SIZE:#x}",
    **_AVIC,
}
#: All events that may be requested.
EVENTS = {**PLAIN_EVENTS, **ENCRYPTED_EVENTS}

#: Longest line that is parsed, bytes; the longest of these events has 220.
LINE_LIMIT = 1024


class KvmEventKind(enum.Enum):
    """The subject of a line. UNREAD: a requested event in an unknown form. LOST: events were lost before it."""

    EXIT = "kvm_exit"
    APIC = "kvm_apic"
    MSR = "kvm_msr"
    MMIO = "kvm_mmio"
    PIO = "kvm_pio"
    PAGE_FAULT = "kvm_page_fault"
    AVIC = "kvm_avic_unaccelerated_access"
    VMGEXIT = "kvm_vmgexit_enter"
    GHCB_MSR = "kvm_vmgexit_msr_protocol_enter"
    UNREAD = "unread"
    LOST = "lost events"


@dataclass(frozen=True, slots=True)
class KvmEvent:
    """One line.

    thread: of the host, as the kernel numbers it. time_ns: of the trace clock, in whole microseconds.
    vcpu: of the events that contain it (KVM's number, which is the APIC ID). write: the direction of an access.
    number: offset in the APIC page (APIC), MSR number, physical address (MMIO, PAGE_FAULT), port, the GHCB MSR's value,
    a VMGEXIT's exit code; how many events were lost. value: read or written; None where the event has none.
    size: bytes. refused: the MSR access raised #GP. unanswered: KVM did not serve the MMIO read; QEMU may.
    reason: of an exit, as the kernel names it. rip: of an exit. info1: of an exit or a VMGEXIT; a fault's error code.
    """

    kind: KvmEventKind
    thread: int
    time_ns: int
    vcpu: int | None = None
    write: bool = False
    number: int = 0
    value: int | None = None
    size: int | None = None
    refused: bool = False
    unanswered: bool = False
    reason: str = ""
    rip: int | None = None
    info1: int | None = None


# The task's name has up to 15 characters, any but a newline; flags are absent without `irq-info`, the thread group is
# present with `record-tgid`. Seconds and microseconds; a clock with another unit has no point.
# trace-cmd separates the event's text with several spaces.
_HEAD = re.compile(
    rb"\s*.{0,64}-(?P<thread>\d{1,10})\s+(?:\(\s*[-\d]{1,10}\)\s+)?\[\d{1,6}\]\s+(?:[^\s]{1,12}\s+)?"
    rb"(?P<seconds>\d{1,12})\.(?P<micro>\d{6}): (?P<event>kvm_[a-z_]{1,40}): {1,40}(?P<text>.*)\Z"
)
#: An event's name after a time, whatever is before it.
_OURS = re.compile(rb"\d: (?P<event>kvm_[a-z_]{1,40}): ")
_LOST = re.compile(rb"CPU:\d{1,6} \[LOST (?:(?P<count>\d{1,20}) )?EVENTS\]\Z")

_EXIT = re.compile(
    rb"(?:vcpu (?P<vcpu>\d{1,10}) )?reason (?P<reason>[A-Za-z0-9_]{1,40})(?: [A-Z_ ]{0,60})?"
    rb" rip 0x(?P<rip>[0-9a-f]{1,16})"
    rb" info1? (?:0x)?(?P<info1>[0-9a-f]{1,16}) (?:info2 )?(?:0x)?[0-9a-f]{1,16}(?:\s.*)?\Z"
)
_APIC = re.compile(
    rb"apic_(?P<direction>read|write) (?:APIC_(?P<name>[A-Z0-9_]{1,16})|0x(?P<number>[0-9a-f]{1,4}))"
    rb" = 0x(?P<value>[0-9a-f]{1,16})\Z"
)
_MSR = re.compile(
    rb"msr_(?P<direction>read|write) (?P<number>[0-9a-f]{1,8}) = 0x(?P<value>[0-9a-f]{1,16})(?P<refused> \(#GP\))?\Z"
)
_MMIO = re.compile(
    rb"mmio (?P<direction>unsatisfied-read|read|write) len (?P<size>\d{1,4}) gpa 0x(?P<number>[0-9a-f]{1,16})"
    rb" val 0x(?P<value>[0-9a-f]{1,16})\Z"
)
_PIO = re.compile(
    rb"pio_(?P<direction>read|write) at 0x(?P<number>[0-9a-f]{1,8}) size (?P<size>\d{1,4}) count \d{1,10}"
    rb" val 0x(?P<value>[0-9a-f]{1,8})(?:\s.*)?\Z"
)
_PAGE_FAULT = re.compile(
    rb"(?:vcpu (?P<vcpu>\d{1,10}) rip 0x[0-9a-f]{1,16} )?address (?:0x)?(?P<number>[0-9a-f]{1,16})"
    rb" error_code (?:0x)?(?P<info1>[0-9a-f]{1,16})\Z"
)
_AVIC_TEXT = re.compile(
    rb"vcpu=(?P<vcpu>\d{1,10}), offset=0x(?P<number>[0-9a-f]{1,8})\(.*\), (?:trap|fault),"
    rb" (?P<direction>read|write),.*\Z"
)
_VMGEXIT_TEXT = re.compile(
    rb"vcpu (?P<vcpu>\d{1,10}), exit_reason (?P<number>[0-9a-f]{1,16}), exit_info1 (?P<info1>[0-9a-f]{1,16}),"
    rb" exit_info2 [0-9a-f]{1,16}(?:\D.*)?\Z"
)
_GHCB_MSR = re.compile(
    rb"vcpu (?P<vcpu>\d{1,10}), ghcb_gpa (?P<number>[0-9a-f]{1,16})(?:, result -?\d{1,10})?(?:\D.*)?\Z"
)

#: Linux's names of the APIC's registers (arch/x86/include/asm/apicdef.h); those without a name are printed as offsets.
_OFFSETS = {
    b"ID": 0x20,
    b"LVR": 0x30,
    b"TASKPRI": 0x80,
    b"ARBPRI": 0x90,
    b"PROCPRI": 0xA0,
    b"EOI": 0xB0,
    b"RRR": 0xC0,
    b"LDR": 0xD0,
    b"DFR": 0xE0,
    b"SPIV": 0xF0,
    b"ISR": 0x100,
    b"TMR": 0x180,
    b"IRR": 0x200,
    b"ESR": 0x280,
    b"ICR": 0x300,
    b"ICR2": 0x310,
    b"LVTT": 0x320,
    b"LVTTHMR": 0x330,
    b"LVTPC": 0x340,
    b"LVT0": 0x350,
    b"LVT1": 0x360,
    b"LVTERR": 0x370,
    b"TMICT": 0x380,
    b"TMCCT": 0x390,
    b"TDCR": 0x3E0,
    b"SELF_IPI": 0x3F0,
    b"EFEAT": 0x400,
    b"ECTRL": 0x410,
}

#: The groups of the patterns that are numbers, by the field's name, and their bases.
_BASES = {"vcpu": 10, "size": 10, "number": 16, "value": 16, "rip": 16, "info1": 16}


def parse_line(line: bytes) -> KvmEvent | None:
    """Parse a line without its newline; None if it is not one of these events."""
    if len(line) > LINE_LIMIT:
        return KvmEvent(KvmEventKind.UNREAD, 0, 0)
    head = _HEAD.match(line)
    if head is None:
        lost = _LOST.match(line)
        if lost is not None:
            return KvmEvent(KvmEventKind.LOST, 0, 0, number=int(lost["count"] or 1))
        ours = _OURS.search(line)
        return KvmEvent(KvmEventKind.UNREAD, 0, 0) if ours is not None and ours["event"] in _FORMS else None
    form = _FORMS.get(head["event"])
    if form is None:
        return None
    thread = int(head["thread"])
    time_ns = int(head["seconds"]) * 10**9 + int(head["micro"]) * 1000
    kind, pattern = form
    found = pattern.match(head["text"])
    event = None if found is None else _event(kind, thread, time_ns, found.groupdict())
    return event or KvmEvent(KvmEventKind.UNREAD, thread, time_ns)


def _event(kind: KvmEventKind, thread: int, time_ns: int, found: dict[str, bytes | None]) -> KvmEvent | None:
    """Return the event with these groups of its pattern, None for a register without a known name."""
    numbers = {name: int(text, _BASES[name]) for name, text in found.items() if text is not None and name in _BASES}
    direction, reason, name = found.get("direction"), found.get("reason"), found.get("name")
    write, unanswered = direction == b"write", direction == b"unsatisfied-read"
    refused = found.get("refused") is not None
    if name is not None:
        if name not in _OFFSETS:
            return None
        numbers["number"] = _OFFSETS[name]
    if kind is KvmEventKind.MSR:
        numbers["size"] = 8
    if unanswered or (refused and not write):
        # It has no value; the kernel prints 0.
        del numbers["value"]
    return KvmEvent(
        kind,
        thread,
        time_ns,
        write=write,
        refused=refused,
        unanswered=unanswered,
        reason=reason.decode("ascii") if reason else "",
        **numbers,
    )


_FORMS = {
    kind.value.encode("ascii"): (kind, pattern)
    for kind, pattern in (
        (KvmEventKind.EXIT, _EXIT),
        (KvmEventKind.APIC, _APIC),
        (KvmEventKind.MSR, _MSR),
        (KvmEventKind.MMIO, _MMIO),
        (KvmEventKind.PIO, _PIO),
        (KvmEventKind.PAGE_FAULT, _PAGE_FAULT),
        (KvmEventKind.AVIC, _AVIC_TEXT),
        (KvmEventKind.VMGEXIT, _VMGEXIT_TEXT),
        (KvmEventKind.GHCB_MSR, _GHCB_MSR),
    )
}
