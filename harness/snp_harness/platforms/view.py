# SPDX-License-Identifier: GPL-2.0-or-later
"""What the emulated hardware shows a debugger: where the guest's memory, its RMP and its registers are.

It is struct view of harness/emulator/include/view.h, read by QEMU's monitor.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from snp_harness.errors import (
    EXIT_INCONCLUSIVE,
    BrokenEnvironmentError,
    HarnessError,
    MemoryAccessError,
    UsageError,
)
from snp_harness.platforms.memory_map import PAGE_SIZE
from snp_harness.platforms.plain_guest import printed_registers
from snp_harness.platforms.running import Peek
from snp_harness.platforms.stuck import HOST_TEXT

MAGIC = 0x3157454956504E53
SLOTS = 8
CPUS = 16
VMPLS = 4
_HEADER = struct.Struct("<8Q")
_SLOT = struct.Struct("<6Q")
_CPU = struct.Struct(f"<{1 + 2 * VMPLS}Q")
SIZE = _HEADER.size + SLOTS * _SLOT.size + CPUS * _CPU.size
#: enum hw_nested of harness/emulator/hardware/hw.h.
NESTED_PRIVATE = 1
NESTED_SHARED = 2
#: HW_UNMAPPED: a flag beside it: not in the table now; the hypervisor maps the page again at the next access.
NESTED_UNMAPPED = 0x80
#: struct rmp_entry of harness/emulator/hardware/rmp.h, and its bits; SEV_PERM_* of harness/emulator/include/sev.h.
RMP_ENTRY = struct.Struct("<2I")
RMP_ASSIGNED = 1
RMP_VALIDATED = 2
RMP_VMSA = 8
PERM_READ = 1
PERM_WRITE = 2
_PERMISSIONS = ((1, "read"), (2, "write"), (4, "execute in user mode"), (8, "execute in supervisor mode"))


#: The state save area of a VMCB, and registers in it (APM volume 2, appendix B, table B-2).
_SAVE = 0x400
_SAVE_SIZE = 0x248
_CPL = 0xCB
_SAVED = {
    "efer": 0xD0,
    "cr4": 0x148,
    "cr3": 0x150,
    "cr0": 0x158,
    "rflags": 0x170,
    "rip": 0x178,
    "rsp": 0x1D8,
    "rax": 0x1F8,
    "cr2": 0x240,
}
#: In the order of their encoding.
_GPRS = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16)))


class MovingError(HarnessError):
    """The registers are neither in the processor nor in memory: the vCPU leaves the guest just now."""

    exit_status = EXIT_INCONCLUSIVE


@dataclass(frozen=True, slots=True)
class Slot:
    """A range of guest memory. spa, shared_spa: where its private and its shared pages are. nested, rmp: its tables."""

    gpa: int
    size: int
    spa: int
    shared_spa: int
    nested: int
    rmp: int


@dataclass(frozen=True, slots=True)
class ViewCpu:
    """A vCPU. vmpl: where the number of its present VMPL is. vmcb, gpr: of each VMPL."""

    vmpl: int
    vmcb: tuple[int, ...]
    gpr: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What the hardware shows.

    snp: the RMP is checked. running: the vCPU on the processor. in_flight: pcs at which its registers are nowhere.
    """

    snp: bool
    slots: tuple[Slot, ...]
    cpus: tuple[ViewCpu, ...]
    running: int
    in_flight: range

    @classmethod
    def read(cls, peek: Peek, address: int) -> View:
        """Read the view. Raises BrokenEnvironmentError if the emulated host has not started, or is another version."""
        data = peek(address, SIZE)
        magic, snp, slots, cpus, running, left, saved, _ = _HEADER.unpack_from(data)
        if magic != MAGIC or slots > SLOTS or cpus > CPUS or running >= CPUS:
            raise BrokenEnvironmentError(
                "the emulated host shows no guest yet", "wait for a phase; or build the emulator: make emulator"
            )
        at = _HEADER.size
        found = [Slot(*_SLOT.unpack_from(data, at + number * _SLOT.size)) for number in range(slots)]
        at += SLOTS * _SLOT.size
        words = [_CPU.unpack_from(data, at + number * _CPU.size) for number in range(cpus)]
        vcpus = [ViewCpu(one[0], one[1 : 1 + VMPLS], one[1 + VMPLS :]) for one in words]
        return cls(bool(snp), tuple(found), tuple(vcpus), running, range(left, saved))

    def locate(self, peek: Peek, gpa: int, vmpl: int, *, write: bool) -> int:
        """Return where the byte at a GPA is, as the VMPL sees it. Raises MemoryAccessError if it may not access it."""
        slot = next((one for one in self.slots if one.gpa <= gpa < one.gpa + one.size), None)
        if slot is None:
            raise MemoryAccessError(f"there is no memory at GPA {gpa:X}")
        page = (gpa - slot.gpa) // PAGE_SIZE
        nested = peek(slot.nested + page, 1)[0] & ~NESTED_UNMAPPED
        bits, _ = RMP_ENTRY.unpack(peek(slot.rmp + page * RMP_ENTRY.size, RMP_ENTRY.size))
        if nested == NESTED_SHARED or (nested == NESTED_PRIVATE and not self.snp):
            return (slot.shared_spa if nested == NESTED_SHARED else slot.spa) + gpa - slot.gpa
        verb = "write" if write else "read"
        refused = f"VMPL{vmpl} cannot {verb} GPA {gpa:X}"
        if nested != NESTED_PRIVATE or not bits & RMP_ASSIGNED:
            raise MemoryAccessError(f"{refused}: the hypervisor has mapped no page there")
        if not bits & RMP_VALIDATED:
            raise MemoryAccessError(f"{refused}: its page is assigned and not validated, so that an access is a #VC")
        allowed = bits >> 8 * vmpl & 0xFF if vmpl else 0xFF
        if not allowed & PERM_READ or (write and not allowed & PERM_WRITE):
            names = ", ".join(name for bit, name in _PERMISSIONS if allowed & bit) or "nothing"
            kind = " a VMSA," if bits & RMP_VMSA else ""
            raise MemoryAccessError(f"{refused}: its page is{kind} private, and the RMP allows VMPL{vmpl} {names}")
        return slot.spa + gpa - slot.gpa

    def registers(self, peek: Peek, printed: str, vcpu: int, vmpl: int | None) -> dict[str, int]:
        """Return the registers of a VMPL of a vCPU, None for the VMPL that runs; QEMU is stopped.

        printed: the registers of QEMU's processors. Raises UsageError, and MovingError if they are on their way.
        """
        if not 0 <= vcpu < len(self.cpus):
            raise UsageError(f"the guest has no vCPU {vcpu}", f"it has {len(self.cpus)}, numbered from 0")
        cpu = self.cpus[vcpu]
        [present] = peek(cpu.vmpl, 1)
        wanted = present if vmpl is None else vmpl
        if not 0 <= wanted < VMPLS:
            raise UsageError(f"there is no VMPL{wanted}", f"use 0 to {VMPLS - 1}")
        found = dict(zip(_GPRS, struct.unpack("<16Q", peek(cpu.gpr[wanted], 128)), strict=True))
        if (vcpu, wanted) == (self.running, present):
            processor = printed_registers(printed, 0)
            pc = processor["cs_base"] + processor["rip"]
            if pc not in HOST_TEXT:
                return processor
            if pc == self.in_flight.start:
                # QEMU stops between blocks of instructions: just after #VMEXIT, they are still in the processor.
                found = {name: processor[name] for name in _GPRS}
            elif pc in self.in_flight:
                raise MovingError(
                    f"the registers of vCPU {vcpu} are on their way to the hypervisor", "resume it, and pause it again"
                )
        save = peek(cpu.vmcb[wanted] + _SAVE, _SAVE_SIZE)
        for name, offset in _SAVED.items():
            [found[name]] = struct.unpack_from("<Q", save, offset)
        for number, name in enumerate(("es", "cs", "ss", "ds")):
            found[name], _, _, found[f"{name}_base"] = struct.unpack_from("<HHIQ", save, number * 16)
        return {**found, "cpl": save[_CPL]}
