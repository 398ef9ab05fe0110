# SPDX-License-Identifier: GPL-2.0-or-later
"""Small mistakes in the code of the series, each with the unit test that is there for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """A replacement of text that occurs once in a file. suite: of the tests. caught_by: a test that must fail."""

    name: str
    suite: str
    path: str
    before: str
    after: str
    caught_by: str


def _handler(name: str, before: str, after: str, caught_by: str) -> Mutant:
    return Mutant(name, "CcExitLibGoogleTest", "OvmfPkg/Library/CcExitLib/CcExitVcHandler.c", before, after, caught_by)


def _library(name: str, before: str, after: str, caught_by: str) -> Mutant:
    return Mutant(name, "AmdSvsmLibGoogleTest", "OvmfPkg/Library/AmdSvsmLib/AmdSvsmLib.c", before, after, caught_by)


def _sec(name: str, before: str, after: str, caught_by: str) -> Mutant:
    return Mutant(name, "SecX2ApicGoogleTest", "OvmfPkg/Sec/AmdSev.c", before, after, caught_by)


def _timer(name: str, before: str, after: str, caught_by: str) -> Mutant:
    path = "OvmfPkg/LocalApicTimerDxe/LocalApicTimerDxe.c"
    return Mutant(name, "LocalApicTimerDxeGoogleTest", path, before, after, caught_by)


MUTANTS = (
    # Routing.
    _handler("ldr-to-hypervisor", "    case MSR_IA32_X2APIC_LDR:\n", "", "EachRegisterIsServedByOneOfThem"),
    _handler(
        "timer-to-svsm",
        "    case MSR_IA32_X2APIC_LDR:\n",
        "    case MSR_IA32_X2APIC_LDR:\n    case MSR_IA32_X2APIC_LVT_TIMER:\n",
        "EachRegisterIsServedByOneOfThem",
    ),
    _handler(
        "last-irr-to-hypervisor",
        "(Register <= MSR_IA32_X2APIC_IRR7)",
        "(Register < MSR_IA32_X2APIC_IRR7)",
        "EachRegisterIsServedByOneOfThem",
    ),
    _handler(
        "direction-swapped",
        "  if (Write) {\n    Status =",
        "  if (!Write) {\n    Status =",
        "EachRegisterIsServedByOneOfThem",
    ),
    _handler(
        "without-injection",
        "  if (!AmdSvsmSnpAlternateInjectionIsEnabled ()) {\n    return FALSE;\n  }\n",
        "",
        "AllIsTheHypervisorsWithoutAlternateInjection",
    ),
    _handler(
        "not-offered",
        "AmdSvsmApicIsSupported () ? SVSM_APIC_OFFERED : SVSM_APIC_NOT_OFFERED",
        "SVSM_APIC_OFFERED",
        "AllIsTheHypervisorsIfTheProtocolIsNotOffered",
    ),
    _handler("asked-each-time", "  if (SevEsData->SvsmApic == 0) {", "  {", "SvsmIsAskedOnceForEachVcpu"),
    # INIT and STARTUP.
    _handler(
        "init-to-svsm",
        "IcrLow.Bits.DeliveryMode != LOCAL_APIC_DELIVERY_MODE_INIT",
        "TRUE",
        "InitAndStartupIpisGoToTheHypervisor",
    ),
    _handler(
        "startup-to-svsm",
        "IcrLow.Bits.DeliveryMode != LOCAL_APIC_DELIVERY_MODE_STARTUP",
        "TRUE",
        "InitAndStartupIpisGoToTheHypervisor",
    ),
    _handler(
        "nmi-to-hypervisor",
        "LOCAL_APIC_DELIVERY_MODE_STARTUP",
        "LOCAL_APIC_DELIVERY_MODE_NMI",
        "InitAndStartupIpisGoToTheHypervisor",
    ),
    _handler("icr-read-split", "return !Write ||\n", "return FALSE ||\n", "IcrIsReadFromTheSvsm"),
    # Results and values.
    _handler(
        "refusal-ignored",
        "    return GpEvent.Uint64;\n  }\n\n  if (EFI_ERROR (Status)) {",
        "    return GpEvent.Uint64 & 0;\n  }\n\n  if (EFI_ERROR (Status)) {",
        "RefusalOfTheSvsmIsGp",
    ),
    _handler("gp-of-the-id", " && (Register != MSR_IA32_X2APIC_APICID)", "", "RefusalOfTheApicIdTerminates"),
    _handler(
        "each-error-is-gp",
        "  if ((Status == EFI_INVALID_PARAMETER) && ",
        "  if (EFI_ERROR (Status) && ",
        "CallThatIsNotServedTerminates",
    ),
    _handler(
        "error-is-success",
        "  if (EFI_ERROR (Status)) {\n    //\n    // The SVSM does not serve",
        "  if (FALSE) {\n    //\n    // The SVSM does not serve",
        "CallThatIsNotServedTerminates",
    ),
    _handler(
        "halves-swapped",
        "Value    = LShiftU64 (Regs->Rdx, 32) | (UINT32)Regs->Rax",
        "Value    = LShiftU64 (Regs->Rax, 32) | (UINT32)Regs->Rdx",
        "WrittenValueIsThatOfEdxAndEax",
    ),
    _handler(
        "rax-not-cut",
        "Value    = LShiftU64 (Regs->Rdx, 32) | (UINT32)Regs->Rax",
        "Value    = LShiftU64 (Regs->Rdx, 32) | Regs->Rax",
        "WrittenValueIsThatOfEdxAndEax",
    ),
    _handler(
        "read-value-not-cut", "    Regs->Rax = (UINT32)Value;", "    Regs->Rax = Value;", "ReadValueGoesToEdxAndEax"
    ),
    _handler("cr8-not-written", "      Regs->Cr8 = RShiftU64 (Value, 4);\n", "", "WrittenTprIsAlsoInCr8"),
    # What the hypervisor says of the local APIC.
    _handler(
        "base-not-checked",
        "    if (Register == MSR_IA32_APIC_BASE) {",
        "    if (FALSE) {",
        "ApicBaseOfTheHypervisorIsChecked",
    ),
    _handler(
        "disabled-apic", " && (Msr.Bits.EN != 0)", " && (Msr.Uint64 != MAX_UINT64)", "ApicBaseOfTheHypervisorIsChecked"
    ),
    _handler(
        "low-half-of-the-base",
        "((ApicBase & ~(UINT64)EFI_PAGE_MASK)",
        "(((UINT32)ApicBase & ~(UINT64)EFI_PAGE_MASK)",
        "ApicBaseOfTheHypervisorIsChecked",
    ),
    _handler(
        "page-not-checked",
        "  CheckApicPage (MemoryAddress);\n",
        "  if (FALSE) {\n    CheckApicPage (MemoryAddress);\n  }\n",
        "AccessToTheXApicPageTerminates",
    ),
    _handler(
        "first-register-of-the-page",
        "  if ((MemoryAddress & ~(UINTN)EFI_PAGE_MASK) !=",
        "  if (MemoryAddress !=",
        "AccessToTheXApicPageTerminates",
    ),
    # Calls of the SVSM.
    _library(
        "another-protocol",
        "AmdSvsmQueryProtocol (SVSM_PROTOCOL_APIC,",
        "AmdSvsmQueryProtocol (SVSM_PROTOCOL_APIC - 1,",
        "ProtocolIsSupportedIfTheSvsmHasAVersion",
    ),
    _library(
        "write-is-read",
        "SvsmApicCall (SVSM_APIC_WRITE_REGISTER,",
        "SvsmApicCall (SVSM_APIC_READ_REGISTER,",
        "WriteRegister",
    ),
    _library("value-from-rcx", "*Value = SvsmCallData.RdxOut", "*Value = SvsmCallData.RcxOut", "ReadRegister"),
    _library(
        "value-of-a-refused-read",
        "  if (!EFI_ERROR (Status)) {\n    *Value",
        "  if (TRUE) {\n    *Value",
        "RefusedReadLeavesTheValue",
    ),
    _library(
        "unknown-is-success",
        "or the result has no meaning\n      //\n      return EFI_PROTOCOL_ERROR;",
        "or the result has no meaning\n      //\n      return EFI_SUCCESS;",
        "RefusedCallIsReportedAndNotRepeated",
    ),
    _library(
        "address-not-refused",
        "    case SVSM_ERR_INVALID_ADDRESS:\n    case SVSM_ERR_INVALID_PARAMETER:\n      return EFI_INVALID_PARAMETER;",
        "    case SVSM_ERR_INVALID_PARAMETER:\n      return EFI_INVALID_PARAMETER;",
        "RefusedCallIsReportedAndNotRepeated",
    ),
    _library(
        "half-a-result",
        "Ret = (UINTN)SvsmCallData->RaxOut;",
        "Ret = (UINT32)SvsmCallData->RaxOut;",
        "RefusedCallIsReportedAndNotRepeated",
    ),
    _library("few-repetitions", "SVSM_REPETITIONS  1000000", "SVSM_REPETITIONS  1000", "BusyForEverTerminates"),
    _library(
        "terminated-with-interrupts",
        "  DisableInterrupts ();\n  SnpTerminate ();",
        "  SnpTerminate ();",
        "TerminationIsWithInterruptsOff",
    ),
    _library(
        "busy-is-final",
        "Ret == SVSM_ERR_INCOMPLETE || Ret == SVSM_ERR_BUSY",
        "Ret == SVSM_ERR_INCOMPLETE",
        "IncompleteAndBusyAreRepeated",
    ),
    _library("pending-ignored", "    if (Pending != 0) {", "    if (FALSE) {", "UnseenRequestTerminates"),
    _library(
        "vector-refused",
        "  if (Enable) {\n    Configuration",
        "  if (!Enable) {\n    Configuration",
        "ConfigureVector",
    ),
    _library("not-deregistered", "SVSM_APIC_CONFIGURE_DEREGISTER, 0,", "0, 0,", "Deregister"),
    _library("calling-area-of-the-bsp", "  if (Caa != 0) {", "  if (FALSE) {", "CallingAreaIsThatOfTheVcpu"),
    _library(
        "status-in-any-guest",
        "  if (CcProbe () != CcGuestTypeAmdSev) {",
        "  if (FALSE) {",
        "SevStatusIsReadInSevGuestsOnly",
    ),
    _library("snp-not-needed", "(Msr.Bits.SevSnpBit != 0) && ", "", "AlternateInjectionNeedsSnpAndItsBit"),
    # The entry into x2APIC mode.
    _sec("cpuid-ignored", "  if (Ecx.Bits.x2APIC == 0) {", "  if (FALSE) {", "CpuWithoutX2ApicTerminates"),
    _sec(
        "mode-not-checked",
        "  if (GetApicMode () != LOCAL_APIC_MODE_X2APIC) {",
        "  if (FALSE) {",
        "ModeThatWasNotEnteredTerminates",
    ),
    _sec(
        "always",
        "  if (!AmdSvsmSnpAlternateInjectionIsEnabled ()) {\n    return;\n  }\n",
        "",
        "NothingIsDoneWithoutAlternateInjection",
    ),
    # The timer's vector and the deregistration.
    _timer(
        "vector-not-allowed",
        "AmdSvsmApicConfigureVector (LOCAL_APIC_TIMER_VECTOR, TRUE)",
        "AmdSvsmApicConfigureVector (LOCAL_APIC_TIMER_VECTOR, FALSE)",
        "VectorIsAllowedBeforeTheTimerIsEnabled",
    ),
    _timer(
        "allowed-too-late",
        "  SvsmApicAllowTimer ();\n\n",
        "  TimerDriverSetTimerPeriod (&mTimer, DEFAULT_TIMER_TICK_DURATION);\n  SvsmApicAllowTimer ();\n\n",
        "VectorIsAllowedBeforeTheTimerIsEnabled",
    ),
    _timer("went-on-without-ticks", "    AmdSvsmTerminate ();\n", "", "RefusedVectorTerminates"),
    _timer(
        "missing-protocol-ignored",
        "  Status = EFI_UNSUPPORTED;\n",
        "  Status = EFI_SUCCESS;\n",
        "MissingProtocolTerminates",
    ),
    _timer(
        "never-deregistered",
        "Status = AmdSvsmApicDeregister ();",
        "Status = EFI_SUCCESS;",
        "ExitBootServicesDeregisters",
    ),
    _timer(
        "deregistered-at-once",
        "  Status = gBS->CreateEventEx (",
        "  AmdSvsmApicDeregister ();\n  Status = gBS->CreateEventEx (",
        "ExitBootServicesDeregisters",
    ),
    _timer(
        "ended-again",
        "ended Alternate Injection before\n  //\n  if (!AmdSvsmSnpAlternateInjectionIsEnabled ()) {",
        "ended Alternate Injection before\n  //\n  if (FALSE) {",
        "EndedAlternateInjectionIsNotEndedAgain",
    ),
    _timer(
        "used-without-injection",
        "  if (!AmdSvsmSnpAlternateInjectionIsEnabled ()) {\n    return;\n  }\n\n  Status = EFI_UNSUPPORTED;",
        "  Status = EFI_UNSUPPORTED;",
        "SvsmIsNotUsedWithoutAlternateInjection",
    ),
    _timer("used-unasked", "  if (AmdSvsmApicIsSupported ()) {", "  if (TRUE) {", "MissingProtocolTerminates"),
)
