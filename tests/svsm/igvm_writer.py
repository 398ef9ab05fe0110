# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes IGVM files as COCONUT's igvmbuilder lays them out, for tests of the reader.

It shares nothing with snp_harness/svsm/igvm*.py: the structures are ctypes ones, after igvm_defs and COCONUT's
bootlib/src/igvm_params.rs and boot/defs/src/boot_params.rs.
"""

from __future__ import annotations

import binascii
import ctypes
from dataclasses import dataclass, field

U8, U16, U32, U64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64

#: Compatibility masks of igvmbuilder.
SNP, NATIVE, TDP = 1, 2, 4
#: Addresses of igvmbuilder's gpa_map.rs, shortened.
STACK, SECRETS, CPUID, STAGE2, KERNEL = 0x805000, 0x806000, 0x807000, 0x808000, 0x8000000000
BLOCK, PARAMS, MAP = 0x900000, 0x901000, 0x902000
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


class FirmwareInfo(Structure):
    """The first fields of GuestFwInfoBlock; the others are not read."""

    _fields_ = [("start", U32), ("size", U32)]


class BootParamBlock(Structure):
    """Today's block, and IgvmParamBlock since it has the MADT."""

    _fields_ = [
        ("param_area_size", U32),
        ("param_page_offset", U32),
        ("madt_offset", U32),
        ("madt_size", U32),
        ("memory_map_offset", U32),
        ("guest_context_offset", U32),
        ("debug_serial_port", U16),
        ("use_alternate_injection", U8),
        ("suppress_svsm_interrupts_on_snp", U8),
        ("has_qemu_testdev", U8),
        ("has_fw_cfg_port", U8),
        ("has_test_iorequests", U8),
        ("vmsa_in_kernel_range", U8),
        ("firmware", FirmwareInfo),
    ]


class OldParamBlock(Structure):
    """IgvmParamBlock of 2024."""

    _fields_ = [
        ("param_area_size", U32),
        ("param_page_offset", U32),
        ("memory_map_offset", U32),
        ("guest_context_offset", U32),
        ("cpuid_page", U32),
        ("secrets_page", U32),
        ("debug_serial_port", U16),
        ("use_alternate_injection", U8),
        ("reserved", U8 * 5),
        ("firmware", FirmwareInfo),
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


def block(*, old: bool = False, use: int = 0, port: int = 0x3F8, size: int = 0x2000) -> bytes:
    """A page with the boot parameter block. size: of the firmware below 4 GiB."""
    firmware = FirmwareInfo((1 << 32) - size, size)
    if old:
        content = bytes(OldParamBlock(0x3000, 0x1000, 0x2000, 0, CPUID, SECRETS, port, use, (U8 * 5)(), firmware))
    else:
        content = bytes(BootParamBlock(0x3000, 0x1000, 0x3000, 0x1000, 0x2000, 0, port, use, 0, 0, 1, 0, 1, firmware))
    return content.ljust(4096, b"\0")


def coconut(
    *,
    old: bool = False,
    use: int = 0,
    version: int = 1,
    masks: int = SNP,
    port: int = 0x3F8,
    vmsas: tuple[bytes, ...] = (vmsa(),),
    signature: bytes | None = None,
    digest: bytes = bytes(48),
    image: bytes = IMAGE,
) -> Writer:
    """A small file with all parts of COCONUT's. signature: of an ID block with `digest`; None for no ID block."""
    writer = Writer(version)
    for mask, kind in ((SNP, 2), (TDP, 3), (NATIVE, 0)):
        if masks & mask:
            writer.add(0x001, SupportedPlatform(mask, 2, kind, 1, 0))
    writer.add(0x101, GuestPolicy(0x30000, SNP, 0))
    writer.add(0x305, RequiredMemory(KERNEL, masks, 0x1000000, 0, 0))
    writer.add(0x301, ParameterArea(4096, 1, 0))
    writer.add(0x301, ParameterArea(4096, 0, 0))
    writer.add(0x307, Parameter(0, 0))
    writer.add(0x313, Parameter(0, 4))
    writer.add(0x30C, Parameter(1, 0))
    if signature is not None:
        id_block = IdBlock(SNP)
        id_block.ld[:] = digest
        id_block.version = 1
        id_block.id_key_signature[: len(signature)] = signature
        writer.add(0x30B, id_block)
    writer.add(0x303, ParameterInsert(MAP, masks, 1))
    writer.add(0x303, ParameterInsert(PARAMS, masks, 0))
    for at in range(0, len(image), 4096):
        writer.page((1 << 32) - len(image) + at, image[at : at + 4096])
    writer.page(BLOCK, block(old=old, use=use, port=port, size=len(image)), masks)
    writer.page(CPUID, bytes(range(256)) * 16, data_type=2)
    writer.page(SECRETS, None, data_type=1)
    for number in range(3):
        writer.page(0x800000 + number * 4096, None, masks)
    writer.page(STAGE2, b"\x90" * 4096, masks)
    for number, page in enumerate(vmsas):
        writer.add(0x304, VpContext(VMSA_GPA, SNP, 0, number, 0), page)
    return writer
