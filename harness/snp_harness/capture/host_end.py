# SPDX-License-Identifier: GPL-2.0-or-later
"""Why the emulated hypervisor stopped, in words: its END records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from snp_harness.apic.apic_base import APIC_PAGE, APIC_PAGE_SIZE
from snp_harness.apic.event_kinds import GUEST_EXIT, GUEST_POWER_OFF, GUEST_RESET, SVSM_EXIT, SVSM_TERMINATION
from snp_harness.apic.registers import by_offset
from snp_harness.capture.record import HostRecord, RecordEnd
from snp_harness.svsm.sev import SvsmTermination, TerminationSet, gpa_text, termination_text

PRIVATE_MMIO_END = "private-mmio-end"
HOST_END = "host-end"
#: What of a guest's status is in QEMU's.
_EXIT_STATUS_MASK = 0x7F
_PAGE_OFFSET = APIC_PAGE_SIZE - 1
#: Exit codes of #VMEXIT (APM volume 2, appendix C).
_SVM_EXIT_MAX = 0xFFF

_END_TEXT = {
    RecordEnd.SHUTDOWN: "the {who} shut down (triple fault)",
    RecordEnd.VMRUN: "VMRUN refused the {who}'s state (VMEXIT_INVALID)",
    RecordEnd.TERMINATE: "the {who} asked to be ended, reason set {value:X}, reason {extra:X}{words}",
    RecordEnd.UNKNOWN_EXIT: "the hypervisor does not handle #VMEXIT {aux:X}, EXITINFO1 {value:X}, EXITINFO2 {extra:X}",
    RecordEnd.VC: "#VC {value:X} could not be delivered, failure {extra}{words}",
    RecordEnd.HOST_FAULT: "the hypervisor itself faulted, vector {value}, CR2 {extra:X}",
    RecordEnd.ASSERT: "an assertion of the hypervisor failed",
    RecordEnd.INSTRUCTION: "the hypervisor cannot emulate the instruction {value:016X} (bytes, little endian){where}",
    RecordEnd.PRIVATE_MMIO: "the {who} accessed {gpa}, where there is no memory, without paging: a private access",
    RecordEnd.CONFIG: "the hypervisor refused its configuration block, field at {value:X}",
    RecordEnd.NO_VMSA: "nothing is left to run: no VMSA for the VMPL",
    RecordEnd.NAE: "the firmware reported an exit that it does not support, {value:X}{words}",
    RecordEnd.VMPL: "the guest's VMPL may not access GPA {gpa}, RMP entry {extra:X}",
    RecordEnd.NOT_SNP: "the {who} made GHCB request {value:X}, which KVM accepts of SEV-SNP guests only",
    RecordEnd.GHCB: "VMGEXIT with a GHCB at {gpa}, which is not registered: KVM ends the guest",
    RecordEnd.GUEST_REQUEST: "a guest request has a page at {gpa}, where there is no memory: KVM ends the guest",
    RecordEnd.SUSPEND: "the {who} suspended the machine (S3): it would wake up at the hypervisor's reset vector",
    RecordEnd.RESET: "the {who} reset the machine by port {extra:X}",
    RecordEnd.POWER_OFF: "the {who} powered the machine off",
    RecordEnd.BREAKPOINT: "the {who} set a breakpoint at an address of the hypervisor",
    RecordEnd.DEBUG_EXIT: "the {who} ended by isa-debug-exit with status {status}",
    RecordEnd.LAUNCH: "the security processor refused the launch (SNP_LAUNCH_FINISH){words}",
    RecordEnd.INIT: "the {who} had INIT sent to the processor that the hypervisor runs on",
}
#: Ends that an RMP violation before them may have caused.
_CAUSED = frozenset({RecordEnd.SHUTDOWN, RecordEnd.TERMINATE, RecordEnd.VC, RecordEnd.NAE})
#: enum vc_failure of harness/emulator/hardware/event.c.
_VC_FAILURES = {
    1: "real mode",
    2: "the IDT has no gate for it",
    3: "the IDT is not mapped",
    4: "the GDT is not mapped",
    5: "the stack is not mapped",
    6: "the TSS is not mapped",
}
#: enum psp_status of harness/emulator/include/psp.h.
_LAUNCH_STATUS = {
    0x07: "the guest policy is not the ID block's, or not a valid one",
    0x0B: "the launch digest is not the ID block's",
}
#: The error code of #VC for a page that is not validated (APM volume 2, 15.36.10).
_NOT_VALIDATED_CODE = 0x404
#: Ends that are a failure of the hypervisor; the guest causes the others.
_HYPERVISOR_FAILURES = frozenset({RecordEnd.VMRUN, RecordEnd.HOST_FAULT, RecordEnd.ASSERT, RecordEnd.CONFIG})
#: Kinds of their events, all in snp_harness.apic.timeline.END_KINDS; the others are HOST_END.
_END_KIND = {
    RecordEnd.SHUTDOWN: "guest-shutdown",
    RecordEnd.TERMINATE: "guest-termination",
    RecordEnd.PRIVATE_MMIO: PRIVATE_MMIO_END,
    RecordEnd.DEBUG_EXIT: GUEST_EXIT,
    RecordEnd.RESET: GUEST_RESET,
    RecordEnd.POWER_OFF: GUEST_POWER_OFF,
}
#: The same where the SVSM has caused the end, which says nothing about the firmware.
_SVSM_END_KIND = {
    RecordEnd.SHUTDOWN: SVSM_TERMINATION,
    RecordEnd.TERMINATE: SVSM_TERMINATION,
    RecordEnd.DEBUG_EXIT: SVSM_EXIT,
    RecordEnd.RESET: SVSM_TERMINATION,
    RecordEnd.POWER_OFF: SVSM_TERMINATION,
}


@dataclass(frozen=True, slots=True)
class HostEnd:
    """The hypervisor stopped. kind: of its event. text: why.

    hypervisor_failed: the cause is the hypervisor, or its configuration.
    by_svsm: the SVSM has caused it. lacks_feature: since a hypervisor feature is missing.
    """

    kind: str
    text: str
    hypervisor_failed: bool
    lacks_feature: bool = False
    by_svsm: bool = False

    @property
    def exited(self) -> bool:
        """Whether the guest ended the run by isa-debug-exit."""
        return self.kind == GUEST_EXIT

    @property
    def left(self) -> bool:
        """Whether the guest reset the machine or powered it off."""
        return self.kind in (GUEST_RESET, GUEST_POWER_OFF)


def host_end(record: HostRecord, violation: str | None, where: Callable[[int], str], guest_vmpl: int) -> HostEnd:
    """Return what an END record means.

    violation: the vCPU's RMP violation before it, which may be the cause. where: describes a pc. guest_vmpl: of the
    tested firmware.
    """
    by_svsm = record.vmpl < guest_vmpl
    try:
        end = RecordEnd(record.address)
    except ValueError:
        text, failure, kind = f"the hypervisor stopped for unknown reason {record.address}", True, HOST_END
    else:
        text = _END_TEXT[end].format(
            who="SVSM" if by_svsm else "guest",
            value=record.value,
            gpa=gpa_text(record.value),
            extra=record.extra,
            aux=record.aux,
            where=_accessed(record),
            words=_words(end, record),
            status=exit_status(record),
        )
        if end in _CAUSED and violation is not None:
            text += f", after {violation}"
        kinds = _SVSM_END_KIND if by_svsm else _END_KIND
        failure, kind = end in _HYPERVISOR_FAILURES, kinds.get(end, HOST_END)
    text = f"{text}, at pc {f'{record.rip:X}' if failure else where(record.rip)}"
    reason = (record.address, record.value, record.extra)
    lacks = reason == (RecordEnd.TERMINATE, TerminationSet.SVSM, SvsmTermination.FEATURE)
    # The tested firmware can send the same reason, which proves nothing.
    return HostEnd(kind, text, failure, lacks and by_svsm, by_svsm and not failure)


def exit_status(record: HostRecord) -> int:
    """Return the guest's status of a DEBUG_EXIT."""
    return record.value & _EXIT_STATUS_MASK


def _words(end: RecordEnd, record: HostRecord) -> str:
    """Return what the numbers of an end mean, in brackets, "" if that is not known."""
    text = ""
    if end is RecordEnd.TERMINATE:
        text = termination_text(record.value, record.extra)
    elif end is RecordEnd.VC:
        text = _VC_FAILURES.get(record.extra, "")
    elif end is RecordEnd.LAUNCH:
        text = _LAUNCH_STATUS.get(record.value, f"status {record.value:X}")
    elif end is RecordEnd.NAE and record.value == _NOT_VALIDATED_CODE:
        text = "#VC for a page that is not validated"
    return f" ({text})" if text else ""


def _accessed(record: HostRecord) -> str:
    """Return what an instruction that ended the run accesses; `extra` is its GPA, or the code of another exit."""
    if record.address != RecordEnd.INSTRUCTION or record.extra <= _SVM_EXIT_MAX:
        return ""
    register = ""
    if record.extra & ~_PAGE_OFFSET == APIC_PAGE:
        register = f", local-APIC register {by_offset(record.extra & _PAGE_OFFSET).name}"
    return f", which accesses GPA {record.extra:X}{register}"
