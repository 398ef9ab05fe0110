# SPDX-License-Identifier: GPL-2.0-or-later
"""The VM save area (VMSA) of an SNP vCPU as an IGVM file contains it, and as a launch starts it.

Offsets: AMD64 APM volume 2 (24593), table B-4; harness/emulator/include/vmsa.h has them for C, a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from msgspec import Struct

from snp_harness.svsm.sev import SEV_FEATURES_SHIFT, SevStatus

#: Bytes of a VMSA, a page, that the processor defines.
SIZE = 0x1000
#: Offsets of the fields that are shown or changed, by their names in table B-4.
OFFSETS = {
    "vmpl": 0x0CA,
    "cpl": 0x0CB,
    "efer": 0x0D0,
    "cr4": 0x148,
    "cr3": 0x150,
    "cr0": 0x158,
    "rflags": 0x170,
    "rip": 0x178,
    "rsp": 0x1D8,
    "sev_features": 0x3B0,
    "virtual_tom": 0x3C8,
}
_BYTES = frozenset({"vmpl", "cpl"})
#: Further fields that a launch sets, with their sizes in bytes.
_FIELDS: dict[str, tuple[int, int]] = {
    **{name: (at, 1 if name in _BYTES else 8) for name, at in OFFSETS.items()},
    "dr7": (0x160, 8),
    "dr6": (0x168, 8),
    "rax": (0x1F8, 8),
    "g_pat": (0x268, 8),
    "rcx": (0x308, 8),
    "rdx": (0x310, 8),
    "rbx": (0x318, 8),
    "rbp": (0x328, 8),
    "rsi": (0x330, 8),
    "rdi": (0x338, 8),
    "xcr0": (0x3E8, 8),
    "mxcsr": (0x408, 4),
    "x87_fcw": (0x410, 2),
}
#: R8 to R15.
_HIGH_REGISTERS = (0x340, 0x380)
#: Descriptor-table and segment registers, 16 bytes each.
_SEGMENTS = {"es": 0x00, "cs": 0x10, "ss": 0x20, "ds": 0x30, "fs": 0x40, "gs": 0x50}
_SEGMENTS |= {"gdtr": 0x60, "ldtr": 0x70, "idtr": 0x80, "tr": 0x90}
_CS = 0x010
#: Bits of CR0 and EFER that KVM sets or needs in a launch (QEMU target/i386/sev.c, sev_apply_cpu_context).
CR0_PG = 1 << 31
EFER_SVME = 1 << 12
_FLAT_LIMIT, _REAL_LIMIT = 0xFFFFFFFF, 0xFFFF
RESET_VECTOR = 0xFFFFFFF0
_SEGMENT = struct.Struct("<HHIQ")

#: SEV_FEATURES bits by name: SEV_STATUS's from SNP on, shifted (table B-4 and section 15.34.10).
FEATURE_BITS: dict[str, int] = {
    bit.name.lower().replace("_", "-"): int(bit) >> SEV_FEATURES_SHIFT
    for bit in SevStatus
    if bit.name is not None and int(bit) >> SEV_FEATURES_SHIFT
}
RESTRICTED_INJECTION = FEATURE_BITS["restricted-injection"]
ALTERNATE_INJECTION = FEATURE_BITS["alternate-injection"]


class Vmsa(Struct, frozen=True):
    """A VMSA page. Raises ValueError for another size."""

    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != SIZE:
            raise ValueError(f"a VMSA of {len(self.data)} bytes")

    def field(self, name: str) -> int:
        """A field of OFFSETS."""
        at = OFFSETS[name]
        return int.from_bytes(self.data[at : at + (1 if name in _BYTES else 8)], "little")

    @property
    def vmpl(self) -> int:
        """The VMPL it runs at."""
        return self.field("vmpl")

    @property
    def features(self) -> int:
        """SEV_FEATURES."""
        return self.field("sev_features")

    @property
    def entry(self) -> int:
        """The linear address at which the vCPU starts: CS base and RIP."""
        base: int = _SEGMENT.unpack_from(self.data, _CS)[3]
        return (base + self.field("rip")) & 0xFFFFFFFFFFFFFFFF

    def with_features(self, features: int) -> bytes:
        """The page with another SEV_FEATURES."""
        at = OFFSETS["sev_features"]
        return self.data[:at] + features.to_bytes(8, "little") + self.data[at + 8 :]


def make(segments: Mapping[str, tuple[int, int, int, int]], **values: int) -> bytes:
    """Return a VMSA page. segments: selector, attributes, limit and base by name. values: the other fields, by name."""
    page = bytearray(SIZE)
    for name, fields in segments.items():
        _SEGMENT.pack_into(page, _SEGMENTS[name], *fields)
    for name, value in values.items():
        at, size = _FIELDS[name]
        page[at : at + size] = value.to_bytes(size, "little")
    return bytes(page)


def reset_page(features: int, signature: int, entry: int = RESET_VECTOR) -> bytes:
    """Return the VMSA of a vCPU after reset as QEMU and KVM launch it: CR4.MCE and EFER.SVME are KVM's.

    signature: CPUID 1 EAX. entry: the address of its first instruction, in the last 64 KiB of a segment at it.
    """
    data = (0, 0x93, _REAL_LIMIT, 0)
    table = (0, 0, _REAL_LIMIT, 0)
    segments = dict.fromkeys(("es", "ss", "ds", "fs", "gs"), data) | {"gdtr": table, "idtr": table}
    segments["cs"] = (0xF000, 0x9B, _REAL_LIMIT, entry & 0xFFFF0000)
    segments["ldtr"] = (0, 0x82, _REAL_LIMIT, 0)
    segments["tr"] = (0, 0x8B, _REAL_LIMIT, 0)
    return make(
        segments,
        efer=EFER_SVME,
        cr0=0x10,
        cr4=0x40,
        **_RESET,
        rip=entry & 0xFFFF,
        rdx=signature,
        sev_features=features,
    )


#: What every VMSA of a launch has (APM volume 2, table 14-1).
_RESET = {
    "dr7": 0x400,
    "dr6": 0xFFFF0FF0,
    "rflags": 2,
    "g_pat": 0x0007040600070406,
    "xcr0": 1,
    "mxcsr": 0x1F80,
    "x87_fcw": 0x37F,
}


def long_mode_page(features: int, cr3: int, **values: int) -> bytes:
    """Return the VMSA of a vCPU that starts in 64-bit mode with flat segments (CS 08, others 10) and no tables."""
    data = (0x10, 0xC93, _FLAT_LIMIT, 0)
    table = (0, 0, _REAL_LIMIT, 0)
    segments = dict.fromkeys(("es", "ss", "ds"), data) | dict.fromkeys(("fs", "gs"), (0, 0x93, _REAL_LIMIT, 0))
    segments |= {"cs": (0x08, 0xA9B, _FLAT_LIMIT, 0), "gdtr": table, "idtr": table}
    segments |= {"ldtr": (0, 0x82, _REAL_LIMIT, 0), "tr": (0, 0x8B, _REAL_LIMIT, 0)}
    # EFER: SVME, NXE, LMA, LME. CR0: PG, WP, NE, ET, MP, PE. CR4: PAE.
    return make(segments, efer=0x1D00, cr0=0x80010033, cr4=0x20, cr3=cr3, sev_features=features, **_RESET, **values)


def unsupported_fields(page: bytes) -> int | None:
    """Return the offset of the first byte that QEMU cannot launch; it refuses such a VMSA. None if there is none.

    Source: QEMU target/i386/sev.c, check_vmsa_supported.
    """
    rest = bytearray(page)
    for at in _SEGMENTS.values():
        rest[at : at + _SEGMENT.size] = bytes(_SEGMENT.size)
    for name, (at, size) in _FIELDS.items():
        if name not in ("vmpl", "cpl", "virtual_tom"):
            rest[at : at + size] = bytes(size)
    first, end = _HIGH_REGISTERS
    rest[first:end] = bytes(end - first)
    return next((at for at, byte in enumerate(rest) if byte), None)


def feature_names(features: int) -> list[str]:
    """Return the names of the bits in a SEV_FEATURES; a bit without a name is "bit-N"."""
    by_bit = {mask: name for name, mask in FEATURE_BITS.items()}
    return [by_bit.get(1 << bit, f"bit-{bit}") for bit in range(64) if features >> bit & 1]


def inject(features: int, *, alternate_injection: bool) -> int:
    """SEV_FEATURES of a guest VMPL with or without Alternate Injection.

    Alternate Injection replaces restricted injection, by which only the SVSM gets interrupts then. COCONUT clears it in
    a guest's VMSA likewise (kernel/src/cpu/vmsa.rs, init_guest_vmsa).
    """
    if alternate_injection:
        return features & ~RESTRICTED_INJECTION | ALTERNATE_INJECTION
    return features & ~ALTERNATE_INJECTION
