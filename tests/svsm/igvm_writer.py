# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes IGVM files as COCONUT's igvmbuilder lays them out, for tests of the reader.

It shares nothing with snp_harness/svsm/igvm*.py: the structures are ctypes ones, after igvm_defs; COCONUT's own are in
coconut_eras.py.
"""

from __future__ import annotations

import binascii
import ctypes
from dataclasses import dataclass, field
from typing import Any

from tests.svsm.coconut_eras import ERAS, Era, fill

U8, U16, U32, U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64

#: Compatibility masks of igvmbuilder.
SNP, NATIVE, TDP = 1, 2, 4
#: Addresses of igvmbuilder's gpa_map.rs, shortened.
STACK, SECRETS, CPUID, STAGE2, KERNEL = 0x805000, 0x806000, 0x807000, 0x808000, 0x8000000
KERNEL_SIZE = 0x1000000
#: In the kernel's memory: its heap. Its direct map, and its code.
HEAP, DIRECT_MAP, VIRTUAL = KERNEL + 0x200000, 0xFFFFFF8000400000, 0xFFFFFF8000000000
#: The block where stage 2 has it, and the parameter areas behind it.
BLOCK, PARAMS, MADT, MAP = 0x900000, 0x901000, 0x902000, 0x903000
FIRMWARE = 0xFFFFE000
IMAGE = b"\xf0" * 4096 + b"\xf1" * 4096
VMSA_GPA = 0xFFFFFFFFF000


class Structure(ctypes.LittleEndianStructure):
    _pack_ = 1


class FixedHeader(Structure):
    _fields_ = [
        ("magic", U32),
        ("format_version", U32),
        ("variable_header_offset", U32),
        ("variable_header_size", U32),
        ("total_file_size", U32),
        ("checksum", U32),
    ]


class SupportedPlatform(Structure):
    _fields_ = [
        ("compatibility_mask", U32),
        ("highest_vtl", U8),
        ("platform_type", U8),
        ("platform_version", U16),
        ("shared_gpa_boundary", U64),
    ]


class GuestPolicy(Structure):
    _fields_ = [("policy", U64), ("compatibility_mask", U32), ("reserved", U32)]


class ParameterArea(Structure):
    _fields_ = [("number_of_bytes", U64), ("parameter_area_index", U32), ("file_offset", U32)]


class Parameter(Structure):
    _fields_ = [("parameter_area_index", U32), ("byte_offset", U32)]


class ParameterInsert(Structure):
    _fields_ = [("gpa", U64), ("compatibility_mask", U32), ("parameter_area_index", U32)]


class PageData(Structure):
    _fields_ = [
        ("gpa", U64),
        ("compatibility_mask", U32),
        ("file_offset", U32),
        ("flags", U32),
        ("data_type", U16),
        ("reserved", U16),
    ]


class VpContext(Structure):
    _fields_ = [
        ("gpa", U64),
        ("compatibility_mask", U32),
        ("file_offset", U32),
        ("vp_index", U16),
        ("reserved", U16),
    ]


class RequiredMemory(Structure):
    _fields_ = [("gpa", U64), ("compatibility_mask", U32), ("number_of_bytes", U32), ("flags", U32), ("reserved", U32)]


class IdBlock(Structure):
    _fields_ = [
        ("compatibility_mask", U32),
        ("author_key_enabled", U8),
        ("reserved", U8 * 3),
        ("ld", U8 * 48),
        ("family_id", U8 * 16),
        ("image_id", U8 * 16),
        ("version", U32),
        ("guest_svn", U32),
        ("id_key_algorithm", U32),
        ("author_key_algorithm", U32),
        ("id_key_signature", U8 * 144),
        ("id_public_key", U8 * 152),
        ("author_key_signature", U8 * 144),
        ("author_public_key", U8 * 152),
    ]


@dataclass
class Writer:
    """Collects headers and file data; `bytes` is the file. version 2 has architecture and page size."""

    version: int = 1
    headers: list[tuple[int, ctypes.Structure | bytes]] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    _patches: list[tuple[ctypes.Structure, int]] = field(default_factory=list)

    def add(self, kind: int, content: ctypes.Structure | bytes, data: bytes | None = None, *, like: int = -1) -> int:
        """Add a header, and the data that its file_offset leads to; `like`: the data that an earlier call put there."""
        self.headers.append((kind, content))
        number = like
        if data is not None:
            self.data.append(data)
            number = len(self.data) - 1
        if number >= 0:
            assert isinstance(content, ctypes.Structure)
            self._patches.append((content, number))
        return number

    def page(
        self, gpa: int, data: bytes | None, mask: int = SNP, *, data_type: int = 0, flags: int = 0, like: int = -1
    ) -> int:
        return self.add(0x302, PageData(gpa, mask, 0, flags, data_type, 0), data, like=like)

    def build(self) -> bytes:
        fixed = ctypes.sizeof(FixedHeader) + (8 if self.version == 2 else 0)
        size = sum(8 + (len(bytes(content)) + 7) // 8 * 8 for _, content in self.headers)
        at = fixed + size
        offsets = []
        for chunk in self.data:
            offsets.append(at)
            at += len(chunk)
        for patched, number in self._patches:
            patched.file_offset = offsets[number]
        variable = b""
        for kind, content in self.headers:
            raw = bytes(content)
            variable += (
                kind.to_bytes(4, "little") + len(raw).to_bytes(4, "little") + raw.ljust((len(raw) + 7) // 8 * 8, b"\0")
            )
        assert len(variable) == size
        header = FixedHeader(0x4D564749, self.version, fixed, size, at, 0)
        extension = bytes(4) + (4096).to_bytes(4, "little") if self.version == 2 else b""
        header.checksum = binascii.crc32(bytes(header) + extension + variable)
        return bytes(header) + extension + variable + b"".join(self.data)


def vmsa(vmpl: int = 0, features: int = 0b1001) -> bytes:
    """A VMSA page as igvmbuilder's vmsa.rs starts one: 32-bit flat, CR0 31, SNP and restricted injection."""
    page = bytearray(4096)
    page[0x10:0x20] = bytes.fromhex("08009b0cffffffff0000000000000000")
    page[0xCA] = vmpl
    page[0xD0:0xD8] = (0x1000).to_bytes(8, "little")
    page[0x148:0x150] = (0x40).to_bytes(8, "little")
    page[0x158:0x160] = (0x31).to_bytes(8, "little")
    page[0x170:0x178] = (2).to_bytes(8, "little")
    page[0x178:0x180] = STAGE2.to_bytes(8, "little")
    page[0x1D8:0x1E0] = (STACK + 0xFE0).to_bytes(8, "little")
    page[0x3B0:0x3B8] = features.to_bytes(8, "little")
    return bytes(page)


#: The eras that most tests use: stage 2 reads the block, with and without a MADT; the newest.
STAGE2_ERA = next(era for era in ERAS if era.name == "v2025.11-devel")
OLD_ERA = next(era for era in ERAS if era.name == "2024-06-21")
NEW_ERA = ERAS[-1]


@dataclass(frozen=True)
class Settings:
    """What igvmbuilder's options decide. launch_use: of the launch information, None for what the builder writes."""

    era: Era = STAGE2_ERA
    use: int = 0
    launch_use: int | None = None
    port: int = 0x3F8
    image: bytes = IMAGE
    context: bool = False
    madt: bool = True
    vmsa_in_kernel: int = 0

    @property
    def base(self) -> int:
        """Address of the block behind which the loader puts the parameters: the kernel's own, if that has one."""
        return HEAP if self.era.launch and not self.era.copied else BLOCK

    @property
    def areas(self) -> dict[str, int]:
        """The offsets of the parts behind the block, in igvmbuilder's order."""
        first = ["context"] if self.context and self.era.launch else []
        last = ["context"] if self.context and not self.era.launch else []
        middle = [name for name in ("madt", "map", "tree") if f" {name}:" in self.era.block]
        if not self.madt and self.era.may_lack_madt:
            middle.remove("madt")
        return {name: 0x1000 * number for number, name in enumerate([*first, "param", *middle, *last], 1)}

    @property
    def block(self) -> bytes:
        areas = self.areas
        offsets = {"madt": areas["map"], **areas}
        values = {
            **offsets,
            "area": 0x1000 * (len(areas) + 1),
            "madt_size": 0x1000 if "madt" in areas else 0,
            "tree_size": 0x1000,
            "cpuid": CPUID,
            "secrets": SECRETS,
            "port": self.port,
            "use": self.use,
            "suppress": 1,
            "testdev": 1,
            "fw_cfg": 1,
            "io_requests": 1,
            "vmsa": self.vmsa_in_kernel,
            "fw_start": (1 << 32) - len(self.image) if self.image else 0,
            "fw_size": len(self.image),
            "fw_secrets": 0x80D000 if self.image else 0,
            "fw_count": 2 if self.image else 0,
            "reserved": 0x1000,
            "kernel": KERNEL,
            "kernel_size": KERNEL_SIZE,
            "kernel_max": 2 * KERNEL_SIZE,
        }
        return fill(self.era.block, values)

    @property
    def launch(self) -> bytes:
        assert self.era.launch is not None
        direct = DIRECT_MAP - KERNEL
        written = self.use if self.era.builder_sets else 0
        values = {
            "kernel": KERNEL,
            "kernel_end": KERNEL + KERNEL_SIZE,
            "heap_offset": HEAP - KERNEL,
            "heap_used": 40,
            "virt": VIRTUAL,
            "direct_map": DIRECT_MAP,
            "fs": 0x800000,
            "fs_end": 0x801000,
            "loader": 0x10000,
            "loader_end": 0x1C000,
            "cpuid_va": direct + HEAP + 0x8000,
            "secrets_va": direct + HEAP + 0x9000,
            "idt_va": VIRTUAL + 0x3F000,
            "block_va": direct + HEAP,
            "symbols": direct + HEAP + 0xC000,
            "symbols_size": 0x2468,
            "strings": direct + HEAP + 0xF000,
            "strings_size": 0x1357,
            "tables_va": direct + HEAP + 0xA000,
            "ap_start": 0x16000,
            "port": self.port,
            "vmsa": self.vmsa_in_kernel,
            "use": written if self.launch_use is None else self.launch_use,
        }
        return fill(self.era.launch, values)


#: Addresses of the secrets page, launch information and first stack of a kernel that igvmbuilder lays out.
KERNEL_SECRETS, LAUNCH, KERNEL_STACK = HEAP + 0x9000, HEAP + 0xB000, HEAP + 0x10000


def block(**settings: Any) -> bytes:
    """The page with the boot parameter block, with Settings of these values."""
    return Settings(**settings).block


def coconut(
    *,
    version: int = 1,
    masks: int = SNP,
    vmsas: tuple[bytes, ...] = (vmsa(),),
    signature: bytes | None = None,
    digest: bytes = bytes(48),
    **settings: Any,
) -> Writer:
    """A small file with all parts of COCONUT's, with Settings of these values.

    signature: of an ID block with `digest`; None for no ID block.
    """
    made = Settings(**settings)
    image, base, areas = made.image, made.base, made.areas
    writer = Writer(version)
    for mask, kind in ((SNP, 2), (TDP, 3), (NATIVE, 0)):
        if masks & mask:
            writer.add(0x001, SupportedPlatform(mask, 2, kind, 1, 0))
    writer.add(0x101, GuestPolicy(0x30000, SNP, 0))
    writer.add(0x305, RequiredMemory(KERNEL, masks, KERNEL_SIZE, 0, 0))
    values = {"map": ((0x30C, 0),), "madt": ((0x309, 0),), "tree": ((0x312, 0),), "param": ((0x307, 0), (0x313, 4))}
    numbers = {name: number for number, name in enumerate(("param", "map", "madt", "tree")) if name in areas}
    for number in numbers.values():
        writer.add(0x301, ParameterArea(4096, number, 0))
    for name, number in numbers.items():
        for kind, at in values[name]:
            writer.add(kind, Parameter(number, at))
    if signature is not None:
        id_block = IdBlock(SNP)
        id_block.ld[:] = digest
        id_block.version = 1
        id_block.id_key_signature[: len(signature)] = signature
        writer.add(0x30B, id_block)
    for name, number in numbers.items():
        writer.add(0x303, ParameterInsert(base + areas[name], masks, number))
    for at in range(0, len(image), 4096):
        writer.page((1 << 32) - len(image) + at, image[at : at + 4096])
    writer.page(base, made.block, masks)
    if "context" in areas:
        writer.page(base + areas["context"], b"\x33" * 4096, masks)
    if made.era.copied:
        writer.page(HEAP, made.block, masks)
    if made.era.launch:
        writer.page(LAUNCH, made.launch, masks)
        stack = [KERNEL + 0x20A000, DIRECT_MAP + LAUNCH - KERNEL, VIRTUAL + 0x37000]
        writer.page(KERNEL_STACK, bytes(4096 - 24) + b"".join(word.to_bytes(8, "little") for word in stack), masks)
    writer.page(CPUID, bytes(range(256)) * 16, data_type=2)
    writer.page(KERNEL_SECRETS if made.era.launch else SECRETS, None, data_type=1)
    for number in range(3):
        writer.page(0x800000 + number * 4096, None, masks)
    writer.page(STAGE2, b"\x90" * 4096, masks)
    for number, page in enumerate(vmsas):
        writer.add(0x304, VpContext(VMSA_GPA, SNP, 0, number, 0), page)
    return writer
