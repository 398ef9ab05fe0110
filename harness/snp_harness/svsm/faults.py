# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults that an SVSM configuration can have injected: their names, and the section with their settings."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from snp_harness.svsm.keys import ALLOWED, HEXADECIMAL
from snp_harness.svsm.sections import Section

#: Faults of the SVSM, by their names in `faults.inject`; the first five are of its APIC protocol.
PROTOCOL_FAULT_NAMES = ("busy", "incomplete", "wrong-result", "refused-register", "lost-protocol")
SVSM_FAULT_NAMES = (*PROTOCOL_FAULT_NAMES, "answered-call", "pending-call", "wrong-calling-area")
#: Faults of the hypervisor.
HYPERVISOR_FAULT_NAMES = (
    "lost-interrupt",
    "delayed-interrupt",
    "doorbell-storm",
    "wrong-nae",
    "lost-apic-base",
    "wrong-apic-base",
    "skipped-svsm",
    "refused-nae",
    "wrong-cpuid-id",
    "wrong-id-list",
)
FAULT_NAMES = (*SVSM_FAULT_NAMES, *HYPERVISOR_FAULT_NAMES)
_Fault = Annotated[str, Meta(pattern=rf"^(?:{'|'.join(FAULT_NAMES)})\Z")]
#: The largest bound that msgspec takes.
_MAX = (1 << 63) - 1


def _hexadecimal(description: str, most: int = _MAX, least: int = 0) -> Meta:
    return Meta(ge=least, le=most, description=description, extra={HEXADECIMAL: True})


class FaultsSection(Section, frozen=True):
    """Faults that are injected, to check that firmware and tests detect them."""

    inject: Annotated[
        tuple[_Fault, ...],
        Meta(
            max_length=len(FAULT_NAMES),
            description="Faults of the SVSM's APIC protocol (the first five), of the SVSM, and of the hypervisor (from"
            " `lost-interrupt` on); they need Alternate Injection, and are named in the report.",
            extra={ALLOWED: f"a list of {', '.join(FAULT_NAMES)}"},
        ),
    ] = ()
    every: Annotated[int, Meta(ge=1, le=1 << 31, description="1: at each occasion; n: at each n-th.")] = 1
    after: Annotated[int, Meta(ge=0, le=1 << 31, description="So many occasions pass without a fault first.")] = 0
    vcpu: Annotated[
        int,
        Meta(ge=-1, le=255, description="The only vCPU on which the hypervisor's faults occur; -1: all."),
    ] = -1
    register: Annotated[
        int, _hexadecimal("The register of `refused-register` and `refused-nae`, by its x2APIC MSR.", 0x8FF, 0x800)
    ] = 0x808
    result: Annotated[int, _hexadecimal("The result, RAX, of `wrong-result` and `answered-call`.")] = 0x80000002
    call: Annotated[int, _hexadecimal("RAX of the call that `answered-call` and `pending-call` are about.")] = (
        0x300000002
    )
    calling_area: Annotated[int, _hexadecimal("Address of `wrong-calling-area`.")] = 0x1000
    apic_base: Annotated[int, _hexadecimal("APIC_BASE of `wrong-apic-base`.")] = 0xFEE00900
    apic_id: Annotated[int, _hexadecimal("APIC ID of `wrong-cpuid-id` and `wrong-id-list`.", 0xFFFFFFFF)] = 0
    exit_info1: Annotated[int, _hexadecimal("SW_EXITINFO1 of `refused-nae`.")] = 1
    exit_info2: Annotated[int, _hexadecimal("SW_EXITINFO2 of `refused-nae`: a #GP.")] = 0x80000B0D
    delay_us: Annotated[int, Meta(ge=1, le=600_000_000, description="Delay of `delayed-interrupt`, microseconds.")] = (
        20_000
    )
