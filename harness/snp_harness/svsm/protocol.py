# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers of the SVSM protocols. harness/emulator/include/svsm.h has the same ones for C; a test compares them.

Sources: AMD publication 58019 (Secure VM Service Module for SEV-SNP Guests); the APIC protocol as COCONUT-SVSM
implements it (kernel/src/protocols/apic.rs, kernel/src/cpu/apic.rs).
"""

from __future__ import annotations

import enum

from snp_harness.apic.registers import REGISTERS

#: A call's RAX is protocol << CALL_SHIFT | call (58019, section 4).
CALL_SHIFT = 32


class Protocol(enum.IntEnum):
    """Protocol numbers (58019, section 5; 3 and 4: COCONUT)."""

    CORE = 0
    ATTESTATION = 1
    VTPM = 2
    APIC = 3
    UEFI_MM = 4


class Result(enum.IntEnum):
    """Results in RAX (58019, table 4). PROTOCOL_BASE + n is protocol specific."""

    SUCCESS = 0
    INCOMPLETE = 0x80000000
    UNSUPPORTED_PROTOCOL = 0x80000001
    UNSUPPORTED_CALL = 0x80000002
    INVALID_ADDRESS = 0x80000003
    INVALID_FORMAT = 0x80000004
    INVALID_PARAMETER = 0x80000005
    INVALID_REQUEST = 0x80000006
    BUSY = 0x80000007
    PROTOCOL_BASE = 0x80001000


#: CONFIGURE of the APIC protocol: registration is refused (COCONUT).
APIC_CANNOT_REGISTER = Result.PROTOCOL_BASE + 0


class CoreCall(enum.IntEnum):
    """Calls of the core protocol (58019, section 6)."""

    REMAP_CA = 0
    PVALIDATE = 1
    CREATE_VCPU = 2
    DELETE_VCPU = 3
    DEPOSIT_MEM = 4
    WITHDRAW_MEM = 5
    QUERY_PROTOCOL = 6
    CONFIGURE_VTOM = 7


class ApicCall(enum.IntEnum):
    """Calls of the APIC protocol, version 1 (COCONUT kernel/src/protocols/apic.rs)."""

    QUERY_FEATURES = 0
    CONFIGURE = 1
    READ_REGISTER = 2
    WRITE_REGISTER = 3
    CONFIGURE_VECTOR = 4


class ApicConfigure(enum.IntEnum):
    """RCX of CONFIGURE. QUERY also disables emulation on this vCPU when it is deregistered."""

    QUERY = 0
    DEREGISTER = 1
    REGISTER = 2


#: RCX of CONFIGURE_VECTOR: the vector, or all of them from APIC_VECTOR_ALL_MIN on; enabled or not (COCONUT).
APIC_VECTOR_MASK = 0xFF
APIC_VECTOR_ENABLE = 1 << 8
APIC_VECTOR_ALL = 1 << 9
APIC_VECTOR_ALL_MIN = 31


#: RAX of QUERY_PROTOCOL, and of the calls of the APIC protocol.
QUERY_PROTOCOL = Protocol.CORE << CALL_SHIFT | CoreCall.QUERY_PROTOCOL
APIC_CALLS = {call: Protocol.APIC << CALL_SHIFT | call for call in ApicCall}


def asks_for_apic(rax: int, rcx: int) -> bool:
    """Whether a call asks if the SVSM offers the APIC protocol."""
    return rax == QUERY_PROTOCOL and rcx >> CALL_SHIFT == Protocol.APIC


_CALLS: dict[int, type[enum.IntEnum]] = {Protocol.CORE: CoreCall, Protocol.APIC: ApicCall}


def _name(numbers: type[enum.IntEnum], value: int) -> str | None:
    try:
        return numbers(value).name
    except ValueError:
        return None


def call_name(rax: int) -> str:
    """Return a call's name from its RAX, such as "core PVALIDATE"; unknown numbers are shown as numbers."""
    protocol, call = rax >> CALL_SHIFT, rax & ((1 << CALL_SHIFT) - 1)
    known = _name(Protocol, protocol)
    calls = _CALLS.get(protocol)
    return " ".join(
        (
            known.lower() if known else f"protocol {protocol}",
            (_name(calls, call) if calls else None) or f"call {call}",
        )
    )


def result_name(rax: int) -> str:
    """Return a result's name, such as "INVALID_ADDRESS" or "PROTOCOL_BASE+16"."""
    if Result.PROTOCOL_BASE < rax < Result.PROTOCOL_BASE + 0x1000:
        return f"PROTOCOL_BASE+{rax - Result.PROTOCOL_BASE}"
    return _name(Result, rax) or f"{rax:#x}"


#: MSR numbers that READ_REGISTER of the APIC protocol serves; the hypervisor handles the others.
APIC_READABLE_MSRS = frozenset(r.msr for r in REGISTERS if r.msr is not None and "r" in r.svsm)
#: MSR numbers that WRITE_REGISTER of the APIC protocol serves.
APIC_WRITABLE_MSRS = frozenset(r.msr for r in REGISTERS if r.msr is not None and "w" in r.svsm)
