# SPDX-License-Identifier: GPL-2.0-or-later
"""Operations on a local APIC, made at random from a seed, as the guest of this directory carries them out.

The same list runs under a real KVM and on the emulated host. Left out is what KVM does not define, or where the virtual
APIC follows the specification and KVM does not (docs/emulated-host.md): test_deviations.py has those.
"""

from __future__ import annotations

import enum
import random
import struct
from dataclasses import dataclass

from tests.helpers.guest_image import with_parameters

#: guest/operations.h.
MAGIC = struct.pack("<Q", 0x53504F4349504124)
OPERATIONS = 0x20000
OPERATIONS_MAX = 0x1F000 // 16
_OPERATION = struct.Struct("<BBHIQ")

APIC_BASE = 0x1B
DEADLINE = 0x6E0
X2APIC = 0x800
PAGE = 0xFEE00
#: A q35 has no device or memory there.
OTHER_PAGE = 0xFD000

BANKS = tuple(bank + 16 * word for bank in (0x100, 0x180, 0x200) for word in range(8))
LVTS = (0x320, 0x330, 0x340, 0x350, 0x360, 0x370)
#: KVM, kvm_lapic_readable_reg_mask, but for ESR (0x280) and the current count (0x390).
READABLE = (0x020, 0x030, 0x080, 0x0A0, 0x0D0, 0x0F0, *BANKS, 0x300, *LVTS, 0x380, 0x3E0)
XAPIC_READABLE = (*READABLE, 0x090, 0x0E0, 0x310)
CURRENT_COUNT = 0x390
ESR = 0x280
WRITABLE = (0x020, 0x080, 0x0B0, 0x0D0, 0x0E0, 0x0F0, 0x280, 0x300, 0x310, *LVTS, 0x380, 0x3E0, 0x3F0)


class Kind(enum.IntEnum):
    """enum kind of guest/operations.h."""

    READ_MSR = 1
    WRITE_MSR = 2
    READ_MMIO = 3
    WRITE_MMIO = 4
    READ_CR8 = 5
    WRITE_CR8 = 6
    TAKE = 7
    NORMALISE = 8
    READ_MSR_NONZERO = 9
    READ_MMIO_NONZERO = 10
    WRITE_DEADLINE = 11
    READ_MMIO_ANY = 12
    STEP = 13
    STI_SHADOW = 14
    NESTED_NMIS = 15
    TSC = 16
    TIMER_EXPIRY = 17
    RESERVED_CR4 = 18
    IPI = 19


#: Those that a list has by itself, from a normal state; a Generator makes the others.
EVENTS = frozenset({Kind.STEP, Kind.STI_SHADOW, Kind.NESTED_NMIS, Kind.TSC, Kind.TIMER_EXPIRY, Kind.RESERVED_CR4})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. number: an MSR, or an offset in the page. page: its number. value: what is written."""

    kind: Kind
    number: int = 0
    value: int = 0
    size: int = 4
    page: int = PAGE

    def pack(self) -> bytes:
        """Return the bytes of the operation in the image."""
        return _OPERATION.pack(self.kind, self.size, self.number, self.page, self.value)

    def __str__(self) -> str:
        words = [self.kind.name]
        if self.kind in (Kind.READ_MMIO, Kind.WRITE_MMIO, Kind.READ_MMIO_NONZERO, Kind.READ_MMIO_ANY):
            words.append(f"{self.page << 12 | self.number:X}/{self.size}")
        elif self.number:
            words.append(f"{self.number:X}")
        if self.kind in (Kind.WRITE_MSR, Kind.WRITE_MMIO, Kind.WRITE_CR8, Kind.WRITE_DEADLINE, Kind.IPI):
            words.append(f"= {self.value:X}")
        return " ".join(words)


def with_operations(image: bytes, operations: list[Operation]) -> bytes:
    """Return the guest's image with a list of operations."""
    assert len(operations) <= OPERATIONS_MAX
    data = bytearray(with_parameters(image, MAGIC, struct.pack("<I", len(operations))))
    packed = b"".join(operation.pack() for operation in operations)
    data[OPERATIONS : OPERATIONS + len(packed)] = packed
    return bytes(data)


def events(seed: int, count: int) -> list[Operation]:
    """Return `count` events at random, each from a normal state."""
    choose = random.Random(seed)
    made: list[Operation] = []
    for _ in range(count):
        vector = choose.randrange(0x30, 0x100)
        event = choose.choice(
            (
                Operation(Kind.STEP, choose.randrange(11)),
                Operation(Kind.STI_SHADOW, vector),
                Operation(Kind.NESTED_NMIS, value=choose.randrange(4)),
                Operation(Kind.TSC, value=choose.choice((1 << 40, choose.getrandbits(60), -(1 << 44) & (1 << 64) - 1))),
                Operation(Kind.TIMER_EXPIRY, vector, choose.randrange(1, 2_000_000)),
                Operation(Kind.RESERVED_CR4, choose.choice((15, 24, 26, 29, 30, 31))),
            )
        )
        made += [Operation(Kind.NORMALISE), event]
    return made


#: guest/operations.h, IPI_VCPUS and enum ipi_flags.
IPI_VCPUS = 3
IPI_X2APIC, IPI_HALT, IPI_SELF, IPI_LOWEST = 1, 2, 4, 8


def ipis(seed: int, count: int) -> list[Operation]:
    """Return `count` IPIs between vCPUs at random: fixed, NMI and lowest priority, by ID, logical ID and shorthand."""
    choose = random.Random(seed)
    made: list[Operation] = []
    for _ in range(count):
        made += [Operation(Kind.NORMALISE), _ipi(choose)]
    return made


def _ipi(choose: random.Random) -> Operation:
    vector = choose.randrange(0x40, 0xFF)
    x2apic = choose.choice((0, IPI_X2APIC))
    flags = x2apic | choose.choice((0, 0, IPI_HALT)) | choose.randrange(IPI_VCPUS) << 4
    if not flags & IPI_HALT:
        flags |= choose.choice((0, 0, 0, vector >> 4, 0xF)) << 8
    if x2apic and choose.random() < 0.1:
        return Operation(Kind.IPI, flags | IPI_SELF, vector)
    mode = choose.choices((0, 1, 4), (4, 2, 2))[0]
    value = vector | mode << 8 | 0x4000
    if mode == 1:
        # KVM chooses by the vector, others by the priority: only how many vCPUs is compared, all of them present.
        if choose.random() < 0.7:
            value |= 0x800 | choose.randrange(1, 1 << IPI_VCPUS) << (32 if x2apic else 56)
        else:
            value |= choose.randrange(IPI_VCPUS) << (32 if x2apic else 56)
        return Operation(Kind.IPI, flags | IPI_LOWEST, value)
    kind = choose.choice(("id", "logical", "shorthand"))
    if kind == "shorthand":
        value |= choose.choice((0x40000, 0x80000, 0xC0000))
    elif kind == "logical":
        value |= 0x800
        value |= choose.choice((*range(1, 9), 0x10001, 0xFFFFFFFF) if x2apic else (*range(1, 9), 0xFF)) << 32
    else:
        value |= choose.choice((*range(IPI_VCPUS), 5, 0xFF, 0xFFFFFFFF) if x2apic else (0, 1, 2, 5, 0xFF)) << 32
    return Operation(Kind.IPI, flags, value if x2apic else value & 0xFFFFFFFF | (value >> 32 & 0xFF) << 56)


class Generator:
    """Makes operations. It follows APIC_BASE, so that the operations fit the mode of the APIC."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._base = 0xFEE00900

    def operations(self, count: int, episode: int = 30) -> list[Operation]:
        """Return operations in episodes: each begins with a normal state, and ends with reads of all registers."""
        made: list[Operation] = []
        while True:
            part = self._episode(episode)
            if len(made) + len(part) > count:
                return made
            made += part

    def _episode(self, length: int) -> list[Operation]:
        self._base = 0xFEE00900
        made = [Operation(Kind.NORMALISE)]
        # Half of the episodes go to x2APIC mode soon.
        if self._random.random() < 0.5:
            made.append(self._write_base(0xFEE00D00))
        for _ in range(length):
            before = self._base
            made.append(self._one())
            if self._base & 0x800 and not before & 0x800:
                made += [Operation(Kind.WRITE_CR8, value=0xF), Operation(Kind.WRITE_CR8, value=0)]
        return [*made, *self._all()]

    @property
    def _x2apic(self) -> bool:
        return self._base & 0xC00 == 0xC00

    @property
    def _xapic(self) -> bool:
        return self._base & 0xC00 == 0x800

    @property
    def _page(self) -> int:
        return self._base >> 12

    def _one(self) -> Operation:
        kinds = {
            self._base_write: 8,
            self._base_read: 3,
            self._msr_write: 30 if self._x2apic else 6,
            self._msr_read: 12 if self._x2apic else 4,
            self._mmio_write: 30 if self._xapic else 3,
            self._mmio_read: 12 if self._xapic else 3,
            self._mmio_odd: 4,
            self._ipi: 14,
            self._end_of_interrupt: 6,
            self._take: 10,
            self._priority: 6,
            self._timer: 6,
            self._deadline: 2,
        }
        (make,) = self._random.choices(list(kinds), list(kinds.values()))
        return make()

    def _all(self) -> list[Operation]:
        """Reads of every register, in the mode that the APIC is in."""
        made = [Operation(Kind.READ_MSR, APIC_BASE), Operation(Kind.READ_CR8)]
        if self._x2apic:
            made += [Operation(Kind.READ_MSR, X2APIC + (reg >> 4)) for reg in READABLE]
            made.append(Operation(Kind.READ_MSR_NONZERO, X2APIC + (CURRENT_COUNT >> 4)))
        elif self._xapic:
            made += [Operation(Kind.READ_MMIO, reg, page=self._page) for reg in XAPIC_READABLE]
            made.append(Operation(Kind.READ_MMIO_NONZERO, CURRENT_COUNT, page=self._page))
        return made

    # --- APIC_BASE

    def _base_read(self) -> Operation:
        return Operation(Kind.READ_MSR, APIC_BASE)

    def _base_write(self) -> Operation:
        bits = self._random.choice((0x000, 0x400, 0x800, 0x800, 0xC00, 0xC00))
        page = self._random.choices((PAGE, OTHER_PAGE), (12, 1))[0]
        value = page << 12 | bits | self._random.choice((0x100, 0x100, 0x100, 0))
        if self._random.random() < 0.2:
            # Reserved ones, and address bits that no processor has.
            value |= 1 << self._random.choice((*range(8), 9, 52, 55, 63))
        return self._write_base(value)

    def _write_base(self, value: int) -> Operation:
        old, new = self._base & 0xC00, value & 0xC00
        refused = value & 0xFFF0_0000_0000_02FF or new == 0x400 or (old, new) in ((0xC00, 0x800), (0, 0xC00))
        if not refused:
            self._base = value
        return Operation(Kind.WRITE_MSR, APIC_BASE, value)

    # --- registers

    def _msr_read(self) -> Operation:
        number = self._msr(READABLE)
        if number == X2APIC + (ESR >> 4):
            number = X2APIC + 2
        kind = Kind.READ_MSR_NONZERO if number == X2APIC + (CURRENT_COUNT >> 4) else Kind.READ_MSR
        return Operation(kind, number)

    def _msr_write(self) -> Operation:
        number = self._msr(WRITABLE)
        register = (number - X2APIC) << 4
        value = self._register_value(register)
        if register in (0x300, 0x3F0):
            return self._ipi()
        if self._random.random() < 0.1:
            value |= self._random.getrandbits(32) << 32
        if register == 0x0B0 and value >> 32 == 0:
            value = 0
        return Operation(Kind.WRITE_MSR, number, value)

    def _msr(self, likely: tuple[int, ...]) -> int:
        if self._random.random() < 0.8:
            return X2APIC + (self._random.choice(likely) >> 4)
        return X2APIC + self._random.randrange(0x100)

    def _mmio_read(self) -> Operation:
        register = self._random.choice(XAPIC_READABLE)
        size = self._random.choices((4, 2, 1), (8, 1, 1))[0]
        offset = 0 if size == 4 else self._random.randrange(5 - size)
        return Operation(Kind.READ_MMIO, register + offset, size=size, page=self._page)

    def _mmio_write(self) -> Operation:
        register = self._random.choice(WRITABLE)
        if register == 0x300:
            return self._ipi()
        return Operation(Kind.WRITE_MMIO, register, self._register_value(register), page=self._page)

    def _mmio_odd(self) -> Operation:
        """Other widths and places: reads with undefined values, writes without effect."""
        size = self._random.choice((1, 2, 4, 8))
        offset = self._random.randrange(0x1000 - size)
        if self._random.random() < 0.5:
            return Operation(Kind.READ_MMIO_ANY, offset, size=size, page=self._page)
        if size == 4 and offset % 16 == 0:
            offset += 4
        return Operation(Kind.WRITE_MMIO, offset, self._random.getrandbits(8 * size), size, self._page)

    def _register_value(self, register: int) -> int:
        choose = self._random
        if register in (0x380, 0x3E0, 0x320):
            return self._timer_value(register)
        if register in LVTS:
            # Masked if a delivery mode or an error would cause an interrupt.
            value = choose.getrandbits(32)
            if register == 0x370 or value & 0x700:
                value |= 0x10000
            return value
        if register == 0x0F0:
            return choose.choice((0x1FF, 0x1FF, 0x10F, 0xFF, 0x3FF, choose.getrandbits(32)))
        if register == 0x080:
            # Bits 3:0 are 0: a write of CR8 that changes no others is not seen by the emulated host.
            return choose.choice((0, 0x10, 0x20, 0x40, 0xF0, choose.getrandbits(28) << 4))
        if register == 0x020:
            return choose.choice((0, 0, 1 << 24, 5 << 24, 0xFF << 24, choose.getrandbits(32)))
        if register == 0x0D0:
            return choose.choice((0, 1 << 24, 0x12 << 24, 0x80 << 24, choose.getrandbits(32)))
        if register == 0x0E0:
            return choose.choice((0xFFFFFFFF, 0xFFFFFFFF, 0x0FFFFFFF, 0x7FFFFFFF, choose.getrandbits(32)))
        if register == 0x280:
            return choose.choice((0, 0, 0, 1, choose.getrandbits(32))) if self._x2apic else 0
        if register == 0x310:
            return choose.choice((0, 0, 1 << 24, 0xFF << 24, choose.getrandbits(32)))
        return choose.choice((0, 1, choose.getrandbits(16), choose.getrandbits(32)))

    # --- interrupts

    def _ipi(self) -> Operation:
        """An IPI, to this processor more often than not; INIT, SIPI, SMI and ExtINT are not tested here."""
        choose = self._random
        vector = choose.randrange(0x20, 0x100)
        if self._x2apic and choose.random() < 0.3:
            value = choose.choice((vector, vector, vector, vector | 0x100, vector | 1 << 32, vector | 0x10000))
            return Operation(Kind.WRITE_MSR, X2APIC + 0x3F, value)
        value = vector | choose.choices((0x000, 0x100, 0x400), (8, 2, 1))[0]
        value |= choose.choice((0x4000, 0x4000, 0x4000, 0xC000, 0x8000, 0))
        value |= choose.choices((0, 0x40000, 0x80000, 0xC0000), (4, 4, 1, 1))[0]
        # KVM chooses one of the addressed by the vector, whether it is there or not (vector_hashing).
        several = value & 0xC0100 == 0x100
        value |= choose.choice((0, 0, 0 if several else 0x800))
        if choose.random() < 0.1:
            value |= 1 << choose.choice((12, 13, 16, 17, 20, 25, 31))
        if not self._x2apic:
            return Operation(Kind.WRITE_MMIO, 0x300, value, page=self._page)
        destination = choose.choice((0, 0, 1, 0xFF, 0xFFFFFFFF, 0x10000, choose.getrandbits(32)))
        return Operation(Kind.WRITE_MSR, X2APIC + 0x30, destination << 32 | value)

    def _end_of_interrupt(self) -> Operation:
        if self._x2apic:
            return Operation(Kind.WRITE_MSR, X2APIC + 0x0B, 0)
        return Operation(Kind.WRITE_MMIO, 0x0B0, self._random.choice((0, 0, 1, 0xFFFFFFFF)), page=self._page)

    def _take(self) -> Operation:
        return Operation(Kind.TAKE)

    def _priority(self) -> Operation:
        if self._random.random() < 0.4:
            return Operation(Kind.READ_CR8)
        return Operation(Kind.WRITE_CR8, value=self._random.choice((0, 0, 1, 2, 5, 0xE, 0xF)))

    # --- the timer: counts that do not end during the test

    def _timer(self) -> Operation:
        register = self._random.choice((0x320, 0x380, 0x3E0))
        if self._x2apic:
            return Operation(Kind.WRITE_MSR, X2APIC + (register >> 4), self._timer_value(register))
        return Operation(Kind.WRITE_MMIO, register, self._timer_value(register), page=self._page)

    def _timer_value(self, register: int) -> int:
        choose = self._random
        if register == 0x380:
            return choose.choice((0, 0xFFFFFFFF, choose.randrange(0xC0000000, 0x100000000)))
        if register == 0x3E0:
            # A divider of 16 and more; the other bits are reserved.
            return choose.choice((0x3, 0x8, 0x9, 0xA)) | choose.choice((0, 0, 4, 0xFFFFFFF0, 0x1234560))
        return choose.getrandbits(17) | choose.choice((0, 0x20000, 0x40000))

    def _deadline(self) -> Operation:
        if self._random.random() < 0.5:
            return Operation(Kind.READ_MSR_NONZERO, DEADLINE)
        return Operation(Kind.WRITE_DEADLINE, DEADLINE, self._random.choice((0, 1, 1)))
