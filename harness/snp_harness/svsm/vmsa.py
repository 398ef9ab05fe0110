# SPDX-License-Identifier: GPL-2.0-or-later
"""The VM save area (VMSA) of an SNP vCPU as an IGVM file contains it.

Offsets: AMD64 APM volume 2 (24593), table B-4; harness/emulator/include/vmsa.h has them for C, a test compares them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

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
_CS = 0x010
_SEGMENT = struct.Struct("<HHIQ")

#: SEV_FEATURES bits by name: SEV_STATUS's from SNP on, shifted (table B-4 and section 15.34.10).
FEATURE_BITS: dict[str, int] = {
    bit.name.lower().replace("_", "-"): int(bit) >> SEV_FEATURES_SHIFT
    for bit in SevStatus
    if bit.name is not None and int(bit) >> SEV_FEATURES_SHIFT
}
RESTRICTED_INJECTION = FEATURE_BITS["restricted-injection"]
ALTERNATE_INJECTION = FEATURE_BITS["alternate-injection"]


@dataclass(frozen=True, slots=True)
class Vmsa:
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
