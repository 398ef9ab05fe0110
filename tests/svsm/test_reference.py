# SPDX-License-Identifier: GPL-2.0-or-later
"""The IGVM file of the reference SVSM, as igvm_reader.py reads it, and its structures in svsm_boot.h."""

from __future__ import annotations

import hashlib
import struct

import pytest

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.svsm import reference
from snp_harness.svsm.config_files import parse_config
from snp_harness.svsm.faults import SVSM_FAULT_NAMES
from snp_harness.svsm.igvm import IgvmFile, PageData
from snp_harness.svsm.igvm_measure import measure
from snp_harness.svsm.reference import BootBlock, Place, SvsmBoot, SvsmFault, svsm_boot
from tests.helpers.c_headers import INCLUDE, assert_same, constants, layout, members
from tests.svsm import igvm_reader
from tests.svsm.reference_files import BASE, ENTRY, FIRMWARE, IMAGE, METADATA, SIZE, file

BOOT = f"{INCLUDE}/svsm_boot.h"


def test_every_field_of_the_boot_block_is_where_the_header_has_it() -> None:
    names = [name for name in BootBlock.__struct_fields__ if name != "regions"]
    numbers = {name: 0x1000 + number for number, name in enumerate(names)}
    block = BootBlock(**numbers, regions=((1, 2), (3, 4)))
    expected = numbers | {"regions": 2, "region[0].gpa": 1, "region[1].size": 4, "region[2].gpa": 0}
    places = layout([BOOT], "struct svsm_boot", expected)
    packed = block.pack()
    assert {name: int.from_bytes(packed[at : at + size], "little") for name, (at, size) in places.items()} == expected
    assert_same([BOOT], {"sizeof(struct svsm_boot)": reference.BOOT.size, "SVSM_IMAGE_MAGIC": reference.IMAGE_MAGIC})


def test_regions_are_bounded() -> None:
    values = dict.fromkeys(BootBlock.__struct_fields__, 0)
    with pytest.raises(ValueError, match="41 regions do not fit 40 entries"):
        BootBlock(**values | {"regions": ((0, 0),) * 41}).pack()  # type: ignore[arg-type]


def test_numbers_of_the_boot_block() -> None:
    assert constants(BOOT, "SVSM_FAULT_") == members(SvsmFault, "SVSM_FAULT_{}")
    assert constants(BOOT, "SVSM_BOOT_") == members(SvsmBoot, "SVSM_BOOT_{}") | {"SVSM_BOOT_REGIONS": reference.REGIONS}
    assert set(reference.SVSM_FAULTS) == set(SVSM_FAULT_NAMES)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("", SvsmBoot.APIC_PROTOCOL),
        ("[svsm]\napic_protocol = false", SvsmBoot(0)),
        ("[svsm]\nscrub = true", SvsmBoot.APIC_PROTOCOL | SvsmBoot.SCRUB),
        ("[svsm]\nfeature_bit = 7", SvsmBoot.APIC_PROTOCOL | SvsmBoot.FEATURE_BIT_7),
        ("[hypervisor]\ntimer = 'svsm'", SvsmBoot.APIC_PROTOCOL | SvsmBoot.TIMER),
    ],
)
def test_flags_of_the_svsm(text: str, flags: SvsmBoot) -> None:
    assert svsm_boot(parse_config(text.encode(), "c.toml")) == flags


def test_pages() -> None:
    read = igvm_reader.read(file())
    end = BASE + reference.MEMORY
    pages = {page.gpa: page for page in read.pages}
    assert len(pages) == len(read.pages)
    assert b"".join(pages[gpa].data for gpa in range((1 << 32) - 0x3000, 1 << 32, 4096)) == FIRMWARE
    image = b"".join(pages[gpa].data for gpa in range(BASE, BASE + SIZE, 4096))
    assert image == IMAGE.ljust(SIZE, b"\0")
    assert {gpa: page.kind for gpa, page in pages.items() if page.kind} == {
        end - Place.CPUID * 4096: 2,
        end - Place.SECRETS * 4096: 1,
    }
    for section in METADATA.sections:
        for gpa in range(section.gpa, section.end, 4096):
            assert not any(pages[gpa].data), "the guest's pages are the SVSM's to fill"
    assert read.inserts == {end - Place.PARAMETERS * 4096: 0, end - Place.MEMORY_MAP * 4096: 1}
    assert read.required == [(BASE, reference.MEMORY)]
    assert read.policy == 0x30000


def test_pages_of_2_mib_where_they_fit() -> None:
    firmware = b"".join(number.to_bytes(2, "little") * 2048 for number in range(3 * 512 + 1))
    data = reference.build(IMAGE, firmware, METADATA, parse_config(b"", "c.toml"), BASE)
    start = (1 << 32) - len(firmware)
    found = [header for header in IgvmFile.parse(data, "x").headers if isinstance(header, PageData)]
    sizes = [header.size for header in found if start <= header.gpa < 1 << 32]
    assert sizes == [4096, 2 << 20, 2 << 20, 2 << 20]
    pages = {page.gpa: page.data for page in igvm_reader.read(data).pages}
    assert b"".join(pages[gpa] for gpa in range(start, 1 << 32, 4096)) == firmware


def test_start() -> None:
    read = igvm_reader.read(file())
    [state] = read.contexts
    assert state.gpa == 0xFFFFFFFFF000
    page = state.data
    pml4 = BASE + reference.MEMORY - Place.PML4 * 4096
    words = {"cr3": 0x150, "cr0": 0x158, "rip": 0x178, "rdi": 0x338, "efer": 0xD0, "features": 0x3B0}
    found = {name: int.from_bytes(page[at : at + 8], "little") for name, at in words.items()}
    assert found == {
        "cr3": pml4 | 1 << 51,
        "cr0": 0x80010033,
        "rip": BASE + ENTRY,
        "rdi": BASE + reference.MEMORY - Place.BOOT * 4096,
        "efer": 0x1D00,
        "features": 0x29,
    }


@pytest.mark.parametrize("cbit", [47, 51])
def test_page_tables_translate_both_views(cbit: int) -> None:
    read = igvm_reader.read(file(f"[memory]\ncbit = {cbit}"))
    memory = {page.gpa: page.data for page in read.pages}
    [state] = read.contexts
    cr3 = int.from_bytes(state.data[0x150:0x158], "little")

    def entry(table: int, index: int) -> int:
        page = memory[table & ~(1 << cbit) & ~0xFFF]
        return int.from_bytes(page[8 * index : 8 * index + 8], "little")

    def translate(address: int) -> int:
        top = entry(cr3, address >> 39)
        assert top & 1
        gib = entry(top, address >> 30 & 511)
        assert gib & 0x81 == 0x81
        return (gib & ~0x3FFFFFFF) + (address & 0x3FFFFFFF)

    assert translate(BASE + 0x123) == BASE + 0x123 | 1 << cbit
    assert translate((1 << 39) + 0x800123) == 0x800123


def test_measured_as_it_is_launched() -> None:
    one, other = file(), file("[svsm]\napic_protocol = false")
    digests = [measure(IgvmFile.parse(data, "x")) for data in (one, other)]
    assert all(digests)
    assert digests[0] != digests[1], "the boot block is measured"
    assert hashlib.sha256(one).digest() == hashlib.sha256(file()).digest()


@pytest.mark.parametrize("image", [b"", b"\0" * 24, struct.pack("<QQQ", reference.IMAGE_MAGIC, 0, 1 << 30)])
def test_a_damaged_image(image: bytes) -> None:
    with pytest.raises(BrokenEnvironmentError, match="image of the reference SVSM is damaged"):
        reference.build(image, FIRMWARE, METADATA, parse_config(b"", "c.toml"), BASE)
