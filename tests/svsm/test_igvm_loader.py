# SPDX-License-Identifier: GPL-2.0-or-later
"""The loader: each directive as QEMU carries it out, and launch digests as others compute them."""

from __future__ import annotations

import struct

import pytest

from snp_harness.errors import FirmwareError
from snp_harness.firmware.find import open_firmware
from snp_harness.svsm.firmware_launch import firmware_launch
from snp_harness.svsm.igvm import IgvmError, IgvmFile
from snp_harness.svsm.igvm_guest import launched_firmware, with_firmware
from snp_harness.svsm.igvm_loader import load
from snp_harness.svsm.igvm_measure import measure
from snp_harness.svsm.igvm_parameters import MachineFacts
from snp_harness.svsm.launch import Launch, Pages, PageType
from snp_harness.svsm.launch_digest import digest_of
from tests.svsm.igvm_writer import (
    SNP,
    VMSA_GPA,
    GuestPolicy,
    IdBlock,
    Parameter,
    ParameterArea,
    ParameterInsert,
    RequiredMemory,
    SupportedPlatform,
    VpContext,
    Writer,
    coconut,
    vmsa,
)

GCTX = pytest.importorskip("sevsnpmeasure.gctx").GCTX
MACHINE = MachineFacts(3, 0x80000000, 0x40000000)
MIB = 1 << 20


def writer(*, contexts: int = 1) -> Writer:
    made = Writer()
    made.add(0x001, SupportedPlatform(SNP, 2, 2, 1, 0))
    for number in range(contexts):
        made.add(0x304, VpContext(VMSA_GPA, SNP, 0, number, 0), vmsa())
    return made


def launch(made: Writer, machine: MachineFacts = MACHINE) -> Launch:
    return load(IgvmFile.parse(made.build(), "x.igvm"), machine)


def shown(found: Launch) -> list[tuple[PageType, int, int, bytes]]:
    return [(pages.kind, pages.gpa, pages.count, pages.data.rstrip(b"\0")) for pages in found.pages]


def parameter(kind: int, *, size: int = 4096, offset: int = 0, machine: MachineFacts = MACHINE) -> bytes:
    made = writer()
    made.add(0x301, ParameterArea(size, 5, 0))
    made.add(kind, Parameter(5, offset))
    made.add(0x303, ParameterInsert(0x7000, SNP, 5))
    [(page, gpa, count, data)] = shown(launch(made, machine))
    assert (page, gpa, count) == (PageType.UNMEASURED, 0x7000, size // 4096)
    return data


def test_page_data_of_each_type() -> None:
    made = writer()
    made.page(0x1000, b"a" * 4096)
    made.page(0x2000, b"b" * 4096)
    made.page(0x3000, None)
    made.page(0x4000, b"c" * 4096, flags=2)
    made.page(0x5000, None, flags=2)
    made.page(0x6000, None, data_type=1)
    made.page(0x7000, b"d" * 4096, data_type=2)
    made.page(0x8000, None, data_type=3)
    made.page(0x200000, b"e" * (2 * MIB), flags=1)
    made.page(0x9000, b"f" * 4096, mask=2)
    made.page(0xA000, b"g" * 4096, flags=4)
    assert shown(launch(made)) == [
        (PageType.NORMAL, 0x1000, 2, b"a" * 4096 + b"b" * 4096),
        (PageType.ZERO, 0x3000, 1, b""),
        (PageType.UNMEASURED, 0x4000, 1, b"c" * 4096),
        (PageType.UNMEASURED, 0x5000, 1, b""),
        (PageType.SECRETS, 0x6000, 1, b""),
        (PageType.CPUID, 0x7000, 1, b"d" * 4096),
        (PageType.CPUID, 0x8000, 1, b""),
        (PageType.NORMAL, 0x200000, 512, b"e" * (2 * MIB)),
        (PageType.NORMAL, 0xA000, 1, b"g" * 4096),
    ]


def test_an_insert_goes_before_the_run_of_pages_that_it_ends() -> None:
    """QEMU launches a run when the next page does not continue it."""
    made = writer()
    made.add(0x301, ParameterArea(4096, 0, 0))
    made.page(0x1000, b"a" * 4096)
    made.add(0x303, ParameterInsert(0x9000, SNP, 0))
    made.page(0x2000, b"b" * 4096)
    assert [gpa for _, gpa, _, _ in shown(launch(made))] == [0x9000, 0x1000, 0x2000]
    gctx = GCTX()
    gctx.update_unmeasured_pages(0x9000, 4096)
    gctx.update_normal_pages(0x1000, b"a" * 4096)
    gctx.update_normal_pages(0x2000, b"b" * 4096)
    gctx.update_vmsa_page(vmsa())
    file = IgvmFile.parse(made.build(), "x.igvm")
    measured = measure(file)
    assert measured is not None
    assert digest_of(load(file, MACHINE)) == gctx.ld() == measured.qemu


def test_vcpu_count() -> None:
    assert parameter(0x307, offset=8) == bytes(8) + b"\3"


def test_environment() -> None:
    assert parameter(0x313) == b"\1"


def test_device_tree_stays_empty() -> None:
    assert parameter(0x312) == b""


def test_memory_map() -> None:
    entry = struct.Struct("<QQHHI")
    low, high = entry.pack(0, 0x80000, 0, 0, 0), entry.pack(0x100000, 0x40000, 0, 0, 0)
    assert parameter(0x30C) == (low + high).rstrip(b"\0")
    assert parameter(0x30C, machine=MachineFacts(1, MIB)) == entry.pack(0, 256, 0, 0, 0).rstrip(b"\0")


@pytest.mark.parametrize("vcpus", [1, 4, 16])
def test_madt(vcpus: int) -> None:
    table = parameter(0x309, machine=MachineFacts(vcpus, MIB))
    signature, length, revision = struct.unpack_from("<4sIB", table)
    table = table.ljust(length, b"\0")
    assert (signature, revision, sum(table) & 0xFF) == (b"APIC", 3, 0)
    assert struct.unpack_from("<II", table, 36) == (0xFEE00000, 1)
    entries: dict[int, list[bytes]] = {}
    at = 44
    while at < length:
        kind, size = table[at], table[at + 1]
        entries.setdefault(kind, []).append(table[at : at + size])
        at += size
    assert at == length
    assert [(entry[2], entry[3], entry[4]) for entry in entries[0]] == [(number, number, 1) for number in range(vcpus)]
    [ioapic] = entries[1]
    assert struct.unpack_from("<I", ioapic, 4) == (0xFEC00000,)
    assert [(entry[3], struct.unpack_from("<I", entry, 4)[0]) for entry in entries[2]] == [
        (0, 2),
        (5, 5),
        (9, 9),
        (10, 10),
        (11, 11),
    ]
    assert len(entries[4]) == 1


def test_vp_contexts_of_vcpus_that_run() -> None:
    assert [vp for vp, _ in launch(writer(contexts=5)).vmsas] == [0, 1, 2]


def test_required_memory_and_policy() -> None:
    made = writer()
    made.add(0x305, RequiredMemory(0x8000000, SNP, 0x1000000, 0, 0))
    made.add(0x305, RequiredMemory(0x9000000, 2, 0x1000000, 0, 0))
    made.add(0x101, GuestPolicy(0xB0000, SNP, 0))
    found = launch(made)
    assert (found.memory, found.policy) == (((0x8000000, 0x1000000),), 0xB0000)
    assert launch(writer()).policy == 0x30000


def test_id_block() -> None:
    made = writer()
    block = IdBlock(SNP)
    block.ld[:] = b"L" * 48
    block.family_id[:] = b"F" * 16
    block.guest_svn = 3
    block.id_public_key[:] = b"\2\0\0\0\0\0\0\0" + b"x" * 72 + b"y" * 72
    made.add(0x30B, block)
    made.add(0x101, GuestPolicy(0x30005, SNP, 0))
    found = launch(made).id_block
    assert found is not None
    assert (found.launch_digest, found.family_id, found.guest_svn, found.policy) == (b"L" * 48, b"F" * 16, 3, 0x30005)
    assert len(found.id_key_digest) == 48
    assert found.author_key_digest == b""


def test_digest_of_a_file_is_that_of_another_implementation() -> None:
    file = IgvmFile.parse(coconut().build(), "x.igvm")
    found = load(file, MachineFacts(1, 0x20000000))
    gctx = GCTX()
    for pages in found.pages:
        size = pages.count * 4096
        match pages.kind:
            case PageType.NORMAL:
                gctx.update_normal_pages(pages.gpa, pages.data.ljust(size, b"\0"))
            case PageType.ZERO:
                gctx.update_zero_pages(pages.gpa, size)
            case PageType.UNMEASURED:
                gctx.update_unmeasured_pages(pages.gpa, size)
            case PageType.SECRETS:
                gctx.update_secrets_page(pages.gpa)
            case _:
                gctx.update_cpuid_page(pages.gpa)
    for _, page in found.vmsas:
        gctx.update_vmsa_page(page)
    measured = measure(file)
    assert measured is not None
    assert digest_of(found) == gctx.ld() == measured.qemu


@pytest.mark.parametrize("vcpus", [1, 2, 5])
@pytest.mark.parametrize("features", [1, 0x21])
def test_digest_of_firmware_alone_is_sev_snp_measure_s(vcpus: int, features: int) -> None:
    try:
        firmware = open_firmware("debian:trixie")
    except FirmwareError as error:
        pytest.skip(str(error))
    assert firmware.metadata is not None
    found = firmware_launch(firmware.flat(), firmware.metadata, vcpus=vcpus, features=features, signature=0x800F12)
    calculate = pytest.importorskip("sevsnpmeasure.guest").calc_launch_digest
    mode = pytest.importorskip("sevsnpmeasure.sev_mode").SevMode.SEV_SNP
    expected = calculate(mode, vcpus, 0x800F12, str(firmware.path), "", "", "", features)
    assert digest_of(found) == expected


def test_another_firmware_in_its_place() -> None:
    file = IgvmFile.parse(coconut().build(), "x.igvm")
    found = load(file, MACHINE)
    old = launched_firmware(found)
    assert old is not None
    new = with_firmware(file, found, bytes(len(old)), "new.fd")
    assert launched_firmware(new) == bytes(len(old))
    assert [pages.gpa for pages in new.pages] == [pages.gpa for pages in found.pages]
    assert digest_of(new) != digest_of(found)
    assert new.notes == ("the firmware in x.igvm was replaced by new.fd",)


def test_firmware_with_a_gap() -> None:
    pages = (Pages(PageType.NORMAL, 0xFFFFD000, 1, b"a"), Pages(PageType.NORMAL, 0xFFFFF000, 1, b"b"))
    with pytest.raises(IgvmError, match="gap at FFFFE000"):
        launched_firmware(Launch(pages=pages, vmsas=()))
    assert launched_firmware(Launch(pages=pages[:1], vmsas=())) is None
