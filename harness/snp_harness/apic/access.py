# SPDX-License-Identifier: GPL-2.0-or-later
"""`Access`: one access to a local APIC register or to APIC_BASE, as a witness saw it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snp_harness.apic import jsonfield
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.registers import APIC_BASE, Register, by_msr, by_offset

#: The highest VMPL (APM volume 2, 15.36.7).
VMPL_MAX = 3


class Operation(enum.Enum):
    """Direction of an access."""

    READ = "read"
    WRITE = "write"


class Path(enum.Enum):
    """How the access was made: xAPIC page, x2APIC MSR, or a call of the SVSM APIC protocol."""

    MMIO = "mmio"
    MSR = "msr"
    SVSM = "svsm"
    UNKNOWN = "unknown"


class Outcome(enum.Enum):
    """The result of an access. NOT_CLAIMED: no device answered (reads return all ones, writes are dropped).

    BUSY: the SVSM answered BUSY or INCOMPLETE, so the call has to be made again.
    """

    OK = "ok"
    GP = "#GP"
    NOT_CLAIMED = "not claimed"
    ERROR = "error"
    BUSY = "busy"
    NOT_OBSERVED = "not observed"


class Server(enum.Enum):
    """The party that answered the access. GUEST: its own #VC handler, which asked neither hypervisor nor SVSM."""

    HYPERVISOR = "hypervisor"
    SVSM = "svsm"
    GUEST = "guest"
    NOBODY = "nobody"
    NOT_OBSERVED = "not observed"


class Phase(enum.IntEnum):
    """Boot phases in their order (UEFI Platform Initialization specification).

    RESET is the reset vector, before SEC's C code. UNKNOWN has no place in the order: do not compare it.
    """

    RESET = 0
    SEC = 1
    PEI = 2
    DXE = 3
    BDS = 4
    OS = 5
    UNKNOWN = 99


@dataclass(frozen=True, slots=True)
class Access:
    """One access. None stands for "not observed" throughout.

    index: position in the timeline, from 0. register: a reserved one for undefined numbers; may be APIC_BASE.
    value: the value read or written. size: bytes. vcpu: number from 0. vmpl: 0-3.
    mode: APIC mode of the vCPU before the access. phase: boot phase. pc: linear address of the instruction.
    module, module_offset: the firmware module that contains pc, and the offset of pc from its base.
    time_ns: nanoseconds since the witness's start.
    """

    index: int
    operation: Operation
    register: Register
    path: Path
    value: int | None
    size: int | None
    vcpu: int | None
    vmpl: int | None
    mode: ApicMode | None
    outcome: Outcome
    served_by: Server
    phase: Phase
    pc: int | None
    module: str | None
    module_offset: int | None
    time_ns: int | None

    @property
    def is_base(self) -> bool:
        """An access to APIC_BASE: the mode control, not a register access."""
        return self.register.msr == APIC_BASE.msr

    @property
    def number(self) -> int | None:
        """The register's number on this path: MSR number for MSR and SVSM, else the offset in the xAPIC page."""
        if self.path in (Path.MSR, Path.SVSM) or self.register.offset is None:
            return self.register.msr
        return self.register.offset

    def to_json(self) -> dict[str, Any]:
        """Return the access as JSON values; 64-bit numbers are hexadecimal strings, exact in any JSON reader."""
        return {
            "index": self.index,
            "operation": self.operation.value,
            "register": self.register.name,
            "offset": jsonfield.to_hex(self.register.offset),
            "msr": jsonfield.to_hex(self.register.msr),
            "path": self.path.value,
            "value": jsonfield.to_hex(self.value),
            "size": self.size,
            "vcpu": self.vcpu,
            "vmpl": self.vmpl,
            "mode": None if self.mode is None else self.mode.value,
            "outcome": self.outcome.value,
            "served_by": self.served_by.value,
            "phase": self.phase.name,
            "pc": jsonfield.to_hex(self.pc),
            "module": self.module,
            "module_offset": jsonfield.to_hex(self.module_offset),
            "time_ns": self.time_ns,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Access:
        """Rebuild an access from `to_json`'s values. Raises FieldError (a ValueError) naming the wrong field."""
        jsonfield.require_keys(data, ACCESS_KEYS)
        return cls(
            index=jsonfield.integer(data, "index", maximum=jsonfield.COUNT_MAX),
            operation=jsonfield.choice(data, "operation", Operation),
            register=_register(data),
            path=jsonfield.choice(data, "path", Path),
            value=jsonfield.optional_hex(data, "value"),
            size=jsonfield.optional_integer(data, "size", maximum=4096),
            vcpu=jsonfield.optional_integer(data, "vcpu", maximum=jsonfield.VCPU_MAX),
            vmpl=jsonfield.optional_integer(data, "vmpl", maximum=VMPL_MAX),
            mode=None if data["mode"] is None else jsonfield.choice(data, "mode", ApicMode),
            outcome=jsonfield.choice(data, "outcome", Outcome),
            served_by=jsonfield.choice(data, "served_by", Server),
            phase=jsonfield.member(data, "phase", Phase),
            pc=jsonfield.optional_hex(data, "pc"),
            module=jsonfield.optional_text(data, "module"),
            module_offset=jsonfield.optional_hex(data, "module_offset"),
            time_ns=jsonfield.optional_integer(data, "time_ns", maximum=jsonfield.TIME_MAX),
        )


#: The fields of an access in JSON.
ACCESS_KEYS = frozenset({field.name for field in dataclasses.fields(Access)} | {"offset", "msr"})


def _register(data: Mapping[str, Any]) -> Register:
    """The register that "offset" and "msr" name; "register" must be its name."""
    offset = jsonfield.optional_hex(data, "offset")
    msr = jsonfield.optional_hex(data, "msr")
    if offset is None and msr is None:
        raise jsonfield.FieldError('"offset" and "msr" are both null')
    register = by_offset(offset) if offset is not None else by_msr(msr or 0)
    if (register.offset, register.msr, register.name) != (offset, msr, data["register"]):
        raise jsonfield.FieldError(f'"register", "offset" and "msr" do not fit: expected {register.name!r}')
    return register
