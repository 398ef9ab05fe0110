# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest under Alternate Injection on the driver: its VMSA, calling area and doorbell page, and the calls it makes."""

from __future__ import annotations

from dataclasses import dataclass

from snp_harness.svsm import vmsa
from snp_harness.svsm.protocol import ApicCall, ApicConfigure, Protocol, Result
from snp_harness.svsm.reference import SvsmBoot
from snp_harness.svsm.sev import HypervisorFeature, NaeEvent
from tests.emulator.numbers import ENTRY, V_BUSY, V_GIF, V_IRQ, VMSA_EVENT_INJ, VMSA_EXIT_INT_INFO, VMSA_VINTR_CTRL
from tests.emulator.svsm.driver import CAA, FEATURES, LAUNCH_VMSA, Svsm

APIC_PROTOCOL = SvsmBoot.APIC_PROTOCOL
TIMER = SvsmBoot.TIMER
HV_FEATURES = (
    HypervisorFeature.SNP
    | HypervisorFeature.AP_CREATION
    | HypervisorFeature.RESTRICTED_INJECTION
    | HypervisorFeature.MULTI_VMPL
    | HypervisorFeature.ALTERNATE_INJECTION
)
RFLAGS = LAUNCH_VMSA + vmsa.OFFSETS["rflags"]
SEV_FEATURES = LAUNCH_VMSA + vmsa.OFFSETS["sev_features"]
VINTR_CTRL = LAUNCH_VMSA + VMSA_VINTR_CTRL
EVENT_INJ = LAUNCH_VMSA + VMSA_EVENT_INJ
EXIT_INT_INFO = LAUNCH_VMSA + VMSA_EXIT_INT_INFO
VMPL2_EVENT = 2
VMPL = 2


@dataclass(frozen=True, slots=True)
class Nae:
    """One NAE event that the SVSM made."""

    code: int
    info1: int
    info2: int
    rax: int
    rcx: int
    rdx: int


class Guest:
    """vCPU 0's guest, Alternate Injection on, the APIC protocol offered."""

    def __init__(
        self, svsm: Svsm, *, flags: int = APIC_PROTOCOL, hv_features: int = HV_FEATURES, vcpus: int = 1
    ) -> None:
        self.svsm = svsm
        svsm.boot(flags=flags, vcpus=vcpus)
        svsm.poke(CAA, 0)
        svsm.poke(RFLAGS, 0x202)
        svsm.poke(SEV_FEATURES, FEATURES)
        svsm.poke(VINTR_CTRL, V_GIF)
        svsm.poke(EVENT_INJ, 0)
        self.started = svsm.command("alternate", 0, hv_features)

    def naes(self) -> list[Nae]:
        """Return the NAE events since the last time."""
        events = self.svsm.command("nae").split(";")[:-1]
        return [Nae(*(int(word, 16) for word in event.split())) for event in events]

    def eois(self) -> list[int]:
        """Return the vectors of specific EOIs since the last time; no other event may have been made."""
        events = self.naes()
        assert all(event.code == NaeEvent.SPECIFIC_EOI and event.info1 >> 8 == VMPL << 8 for event in events), events
        return [event.info1 & 0xFF for event in events]

    def call(self, call: ApicCall, rcx: int = 0, rdx: int = 0) -> tuple[int, int, int]:
        """Make a call of the APIC protocol: RAX, RCX, RDX."""
        answer = self.svsm.call(Protocol.APIC, call, rcx, rdx)
        return answer.rax, answer.rcx, answer.rdx

    def configure(self, what: ApicConfigure | int) -> int:
        return self.call(ApicCall.CONFIGURE, what)[0]

    def allow(self, rcx: int) -> int:
        return self.call(ApicCall.CONFIGURE_VECTOR, rcx)[0]

    def read(self, msr: int) -> int:
        rax, _, value = self.call(ApicCall.READ_REGISTER, msr, 0xDEAD)
        assert rax == Result.SUCCESS, hex(rax)
        return value

    def write(self, msr: int, value: int) -> int:
        return self.call(ApicCall.WRITE_REGISTER, msr, value)[0]

    def doorbell(self, offset: int, value: int | None = None) -> int:
        """Read, or write and read, 32 bits of the doorbell page."""
        return int(self.svsm.command("doorbell", 0, offset, *([] if value is None else [value])), 16)

    def post(self, status: int, irr: dict[int, int] | None = None) -> None:
        """Write the guest's entry of the doorbell page, irr[n] for vectors 32 * (n + 1) and up, and set its event."""
        for index, bits in (irr or {}).items():
            self.doorbell(ENTRY + 4 + 4 * index, bits)
        self.doorbell(ENTRY, status)
        self.doorbell(0, self.doorbell(0) | 0x8000 | VMPL2_EVENT << 24)

    def present(self) -> None:
        assert self.svsm.command("present", 0) == "ok"

    def cut_short(self, info: int) -> None:
        """Leave the VMSA as an exit during an event's delivery does, and let the SVSM read it."""
        self.event = 0
        self.svsm.poke(EXIT_INT_INFO, info)
        self.vintr |= V_BUSY
        assert self.svsm.command("resume", 0) == "ok"
        assert not self.vintr & V_BUSY
        assert self.svsm.peek(EXIT_INT_INFO) == 0

    @property
    def event(self) -> int:
        return self.svsm.peek(EVENT_INJ)

    @event.setter
    def event(self, value: int) -> None:
        self.svsm.poke(EVENT_INJ, value)

    @property
    def vintr(self) -> int:
        return self.svsm.peek(VINTR_CTRL)

    @vintr.setter
    def vintr(self, value: int) -> None:
        self.svsm.poke(VINTR_CTRL, value)

    @property
    def virtual(self) -> int | None:
        """Return the vector that V_IRQ offers; its priority is its class, and TPR is respected."""
        value = self.vintr
        if not value & V_IRQ:
            return None
        vector = value >> 32 & 0xFF
        assert value >> 16 & 0xF == vector >> 4
        assert not value & 1 << 20
        return vector

    def interrupts(self, on: bool) -> None:
        """Set RFLAGS.IF."""
        self.svsm.poke(RFLAGS, 0x202 if on else 0x2)

    @property
    def no_eoi_required(self) -> int:
        return self.svsm.peek(CAA) >> 16 & 0xFF

    @no_eoi_required.setter
    def no_eoi_required(self, value: int) -> None:
        self.svsm.poke(CAA, self.svsm.peek(CAA) & ~0xFF0000 | value << 16)

    def take(self) -> None:
        """Take the interrupt or NMI that the VMSA has for the guest."""
        self.event = 0
        self.vintr &= ~V_IRQ
