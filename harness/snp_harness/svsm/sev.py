# SPDX-License-Identifier: GPL-2.0-or-later
"""SEV-SNP as a guest sees it: SEV_STATUS, hypervisor features, GHCB requests and NAE events.

harness/emulator/include/{sev,ghcb}.h have the same numbers for C; a test compares them.
"""

from __future__ import annotations

import enum

#: Positions of the C-bit (CPUID 8000001F EBX 5:0): 47 on Zen 1 and Zen 2, 51 since. Guest memory lies below both.
C_BITS = (47, 51)
#: MSR of the GHCB (APM volume 2, section 15.35.8).
MSR_GHCB = 0xC0010130
#: MSR SEV_STATUS (APM volume 2, section 15.34.10).
MSR_SEV_STATUS = 0xC0010131
#: Software MSR of the SVSM calling area (58019, section 3).
MSR_SVSM_CAA = 0xC001F000
#: SEV_STATUS bit = SEV_FEATURES bit + this (SEV_FEATURES: VMSA offset 3B0, APM volume 2, table B-4).
SEV_FEATURES_SHIFT = 2


class SevStatus(enum.IntFlag):
    """Bits of MSR SEV_STATUS (APM volume 2, section 15.34.10)."""

    SEV = 1 << 0
    SEV_ES = 1 << 1
    SNP = 1 << 2
    VTOM = 1 << 3
    REFLECT_VC = 1 << 4
    RESTRICTED_INJECTION = 1 << 5
    ALTERNATE_INJECTION = 1 << 6
    DEBUG_SWAP = 1 << 7
    PREVENT_HOST_IBS = 1 << 8
    BTB_ISOLATION = 1 << 9
    VMPL_SSS = 1 << 10
    SECURE_TSC = 1 << 11
    VMGEXIT_PARAMETER = 1 << 12
    VMSA_REG_PROT = 1 << 16
    SMT_PROTECTION = 1 << 17
    SECURE_AVIC = 1 << 18


class HypervisorFeature(enum.IntFlag):
    """Bits that the hypervisor features request returns (AMD publication 56421, section 4).

    Bit 9: COCONUT, whose older sources use bit 7.
    """

    SNP = 1 << 0
    AP_CREATION = 1 << 1
    RESTRICTED_INJECTION = 1 << 2
    RESTRICTED_INJECTION_TIMER = 1 << 3
    APIC_ID_LIST = 1 << 4
    MULTI_VMPL = 1 << 5
    PSC = 1 << 6
    TIO = 1 << 7
    UNREGISTER = 1 << 8
    ALTERNATE_INJECTION = 1 << 9
    ALTERNATE_INJECTION_OLD = TIO


class GhcbRequest(enum.IntEnum):
    """Requests of the GHCB MSR protocol, bits 11:0; the answer is request + 1 except for SEV_INFO (001) and TERM.

    Source: 56421, section 2.3.1.
    """

    SEV_INFO = 0x002
    CPUID = 0x004
    AP_RESET_HOLD = 0x006
    PREF_GPA = 0x010
    REG_GPA = 0x012
    PSC = 0x014
    RUN_VMPL = 0x016
    UNREG_GPA = 0x018
    HV_FEATURES = 0x080
    TERM = 0x100


class TerminationSet(enum.IntEnum):
    """Reason code sets of a termination request (56421, section 2.3.1); 7 is the reference SVSM's own."""

    GENERAL = 0
    LINUX = 1
    SVSM = 7


class SvsmTermination(enum.IntEnum):
    """Reason codes of set SVSM (harness/emulator/svsm/ghcb_call.h), as far as they are distinguished."""

    FEATURE = 5


#: What the reason codes mean. Sets 0 and 1: Linux arch/x86/include/asm/sev-common.h and 56421, section 2.3.1; edk2 uses
#: set 0. Set 7: harness/emulator/svsm/ghcb_call.h.
_TERMINATIONS: dict[tuple[int, int], str] = {
    (TerminationSet.GENERAL, 0): "general request",
    (TerminationSet.GENERAL, 1): "GHCB protocol version not supported",
    (TerminationSet.GENERAL, 2): "SEV-SNP features not supported",
    (TerminationSet.LINUX, 0): "the GHCB could not be registered",
    (TerminationSet.LINUX, 1): "a page state change failed",
    (TerminationSet.LINUX, 2): "PVALIDATE failed",
    (TerminationSet.LINUX, 3): "not at VMPL0",
    (TerminationSet.LINUX, 4): "the CPUID page is not valid",
    (TerminationSet.LINUX, 5): "CPUID by the hypervisor failed",
    (TerminationSet.LINUX, 6): "the secrets page is not valid",
    (TerminationSet.LINUX, 7): "the secrets page names no SVSM",
    (TerminationSet.LINUX, 8): "the SVSM says VMPL0",
    (TerminationSet.LINUX, 9): "the SVSM calling area is not aligned",
    (TerminationSet.LINUX, 10): "Secure TSC could not be set up",
    (TerminationSet.LINUX, 11): "the clock is not Secure TSC",
    (TerminationSet.SVSM, 1): "the SVSM had an exception, see its console",
    (TerminationSet.SVSM, 2): "the SVSM's boot block is inconsistent",
    (TerminationSet.SVSM, 3): "the SVSM has no SNP",
    (TerminationSet.SVSM, 4): "the SVSM's GHCB could not be set up",
    (TerminationSet.SVSM, 5): "the SVSM misses a hypervisor feature",
    (TerminationSet.SVSM, 6): "the SVSM could not assign the guest's pages",
    (TerminationSet.SVSM, 7): "the guest's VMSA was refused",
    (TerminationSet.SVSM, 8): "the guest's VMPL cannot be run",
    (TerminationSet.SVSM, 9): "the hypervisor refuses an event of Alternate Injection",
    (TerminationSet.SVSM, 10): "a machine check",
    (TerminationSet.SVSM, 11): "another vCPU could not be started",
}


def termination_text(reason_set: int, reason: int) -> str:
    """Return a reason in words, "" for an unknown one."""
    return _TERMINATIONS.get((reason_set, reason), "")


class NaeEvent(enum.IntEnum):
    """NAE events, SW_EXITCODE (56421, tables 5 and 7; 1B-1D: COCONUT). Up to 403 they are SVM exit codes.

    HV_TIMER is UNVERIFIED: it is an unassigned number, which no source names.
    """

    DR7_READ = 0x027
    DR7_WRITE = 0x037
    RDTSC = 0x06E
    RDPMC = 0x06F
    CPUID = 0x072
    INVD = 0x076
    IOIO = 0x07B
    MSR = 0x07C
    VMMCALL = 0x081
    RDTSCP = 0x087
    WBINVD = 0x089
    MONITOR = 0x08A
    MWAIT = 0x08B
    MMIO_READ = 0x80000001
    MMIO_WRITE = 0x80000002
    NMI_COMPLETE = 0x80000003
    AP_RESET_HOLD = 0x80000004
    AP_JUMP_TABLE = 0x80000005
    PSC = 0x80000010
    GUEST_REQUEST = 0x80000011
    EXTENDED_GUEST_REQUEST = 0x80000012
    AP_CREATION = 0x80000013
    HV_DOORBELL = 0x80000014
    HV_IPI = 0x80000015
    HV_TIMER = 0x80000016
    APIC_IDS = 0x80000017
    RUN_VMPL = 0x80000018
    SECURE_AVIC = 0x8000001A
    CONFIGURE_INJECTION = 0x8000001B
    DISABLE_ALTERNATE_INJECTION = 0x8000001C
    SPECIFIC_EOI = 0x8000001D
    HV_FEATURES = 0x8000FFFD
    TERMINATE = 0x8000FFFE
    UNSUPPORTED = 0x8000FFFF


_SNP_GUEST = SevStatus.SEV | SevStatus.SEV_ES | SevStatus.SNP


def sev_status(vmpl: int, guest_vmpl: int, *, alternate_injection: bool) -> SevStatus:
    """Return MSR SEV_STATUS as a VMPL of an emulated SNP guest reads it.

    vmpl: the reader's, 0-3. guest_vmpl: the tested firmware's; 0 means that there is no SVSM.
    The SVSM at VMPL0 runs with restricted injection (#HV) and debug swap, as COCONUT requires; the guest has Alternate
    Injection. Raises ValueError for a VMPL outside 0-3.
    """
    if vmpl not in range(4) or guest_vmpl not in range(4):
        raise ValueError(f"VMPL {vmpl} or {guest_vmpl} is not one of 0-3")
    if vmpl == 0 and guest_vmpl != 0:
        return _SNP_GUEST | SevStatus.RESTRICTED_INJECTION | SevStatus.DEBUG_SWAP
    if vmpl == guest_vmpl and vmpl != 0 and alternate_injection:
        return _SNP_GUEST | SevStatus.ALTERNATE_INJECTION
    return _SNP_GUEST


def sev_features(status: SevStatus) -> int:
    """Return the SEV_FEATURES (VMSA offset 3B0) of a SEV_STATUS: its bits from SNP on."""
    return int(status) >> SEV_FEATURES_SHIFT


def gpa_text(gpa: int) -> str:
    """Return a guest physical address as text, with its C-bit apart: "FEE000F0 (C=1)", "809000"."""
    c_bits = gpa & sum(1 << position for position in C_BITS)
    return f"{gpa & ~c_bits:X} (C=1)" if c_bits else f"{gpa:X}"
