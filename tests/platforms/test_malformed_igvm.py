# SPDX-License-Identifier: GPL-2.0-or-later
"""IGVM files that cannot be launched: each is made of the reference SVSM's own, and ends the command in one line."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snp_harness.cli import main
from snp_harness.errors import EXIT_USAGE, UsageError
from snp_harness.firmware_run import prepare
from snp_harness.platforms import emulated
from snp_harness.platforms.launch_list import Packed
from snp_harness.platforms.memory_map import memory_map
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_loader import load
from snp_harness.svsm.igvm_parameters import MachineFacts
from snp_harness.svsm.launch_digest import digest_of
from tests.svsm.igvm_headers import (
    AREA,
    CONTEXT,
    ENVIRONMENT,
    ID_BLOCK,
    INSERT,
    MADT,
    MEMORY_MAP,
    PAGE,
    PLATFORM,
    REQUIRED,
    VP_COUNT,
    Headers,
)
from tests.svsm.reference_files import file

GOOD = file()
GPA, MASK, OFFSET, FLAGS, KIND = 0, 8, 12, 16, 20


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "little")


def page(gpa: int, *, flags: int = 0, kind: int = 0, mask: int = 1) -> bytes:
    return struct.pack("<QIIIHH", gpa, mask, 0, flags, kind, 0)


def set_bytes(at: int, value: bytes) -> Callable[[bytearray], None]:
    def change(page: bytearray) -> None:
        page[at : at + len(value)] = value

    return change


def fixed(at: int, value: bytes) -> bytes:
    return GOOD[:at] + value + GOOD[at + len(value) :]


def changed(kind: int, at: int, value: bytes, number: int = 0) -> bytes:
    return Headers.split(GOOD).change(kind, at, value, number).join()


def added(kind: int, content: bytes, before: int | None = None) -> bytes:
    return Headers.split(GOOD).add(kind, content, before).join()


def dropped(kind: int, number: int = 0) -> bytes:
    return Headers.split(GOOD).drop(kind, number).join()


def repeated(kind: int, number: int = 0) -> bytes:
    return Headers.split(GOOD).repeat(kind, number).join()


def started(at: int, value: bytes) -> bytes:
    return Headers.split(GOOD).vmsa(set_bytes(at, value)).join()


RAM = 512 << 20
#: By name: the file, and what the command reports.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is not an IGVM file"),
    "short": (GOOD[:10], "is not an IGVM file"),
    "magic": (fixed(0, b"IGVN"), "is not an IGVM file"),
    "version": (fixed(4, u32(3)), "IGVM format version 3"),
    "version 2 without its fields": (fixed(4, u32(2)), "do not fit into it"),
    "headers before the fixed header": (fixed(8, u32(8)), "do not fit into it"),
    "headers not aligned": (fixed(8, u32(28)), "do not fit into it"),
    "headers beyond the file": (fixed(12, u32(len(GOOD))), "do not fit into it"),
    "size of the headers": (fixed(12, u32(12)), "longer than their list"),
    "larger than the file": (fixed(16, u32(len(GOOD) + 1)), "bytes of"),
    "smaller than its data": (fixed(16, u32(len(GOOD) - 4096)), "outside its file data"),
    "cut off": (GOOD[:-1], "bytes of"),
    "checksum": (fixed(20, b"\0\0\0\0"), "its checksum is wrong"),
    "no platform": (dropped(PLATFORM), "is not for SEV-SNP"),
    "another platform": (changed(PLATFORM, 5, b"\3"), "is not for SEV-SNP"),
    "a platform without a mask": (changed(PLATFORM, 0, u32(0)), "VP context for SEV-SNP"),
    "vTOM": (changed(PLATFORM, 8, u64(1 << 46)), "vTOM"),
    "unknown header": (added(0x3FF, b"12345678"), "unknown type 3FF"),
    "unknown optional header": (added(0x800003FF, b""), "unknown type 800003FF"),
    "relocation": (added(0x102, u32(1) + bytes(60)), "does not know: RELOCATABLE_REGION"),
    "a short header": (added(PAGE, b"1234"), "has 4 bytes"),
    "SRAT": (added(0x308, u32(0) + u32(0), INSERT), "does not write: SRAT"),
    "command line": (added(0x30E, u32(0) + u32(0), INSERT), "does not write: COMMAND_LINE"),
    "MMIO ranges": (added(0x30A, u32(0) + u32(0), INSERT), "does not write: MMIO_RANGES"),
    "a page's address": (changed(PAGE, GPA, u64(0x1234)), "not the start of a page"),
    "a page twice": (repeated(PAGE), "twice, which KVM refuses"),
    "a page over a parameter": (added(PAGE, page(0x50003FA000)), "twice, which KVM refuses"),
    "a page's data before the file's": (changed(PAGE, OFFSET, u32(0x80000000)), "outside its file data"),
    "a page's data beyond the file": (changed(PAGE, OFFSET, u32(len(GOOD))), "outside its file data"),
    "a page of an unknown kind": (changed(PAGE, KIND, u16(9)), "page data of unknown type 9"),
    "a large page that is not aligned": (added(PAGE, page(0x1000, flags=1)), "not a multiple of 2 MiB"),
    "a page in the legacy hole": (added(PAGE, page(0xB8000)), "devices are there"),
    "a page on the local APIC": (added(PAGE, page(0xFEE00000)), "devices are there"),
    "a page in the PCI hole": (added(PAGE, page(0xC0000000)), "devices are there"),
    "a page beyond the address bits": (added(PAGE, page(1 << 45)), "beyond the guest's 40 address bits"),
    "a page at the end of all addresses": (added(PAGE, page((1 << 64) - 4096)), "beyond the guest's 40 address bits"),
    "a large page over the end of RAM": (
        Headers.split(GOOD).add(REQUIRED, struct.pack("<QIIII", RAM - 4096, 1, 8192, 0, 0)).join(),
        "only a part of it is RAM",
    ),
    "required memory over the legacy hole": (changed(REQUIRED, 0, u64(0x80000)), "devices are there"),
    "required memory of no bytes": (changed(REQUIRED, 12, u32(0)), "not whole pages"),
    "required memory of half a page": (changed(REQUIRED, 12, u32(0x800)), "not whole pages"),
    "required memory at half a page": (changed(REQUIRED, 0, u64(0x800)), "not whole pages"),
    "too much required memory": (changed(REQUIRED, 12, u32(0xFFFFF000)), "places without RAM"),
    "memory in many places": (
        Headers(
            [*Headers.split(GOOD).headers, *((PAGE, page((1 << 38) + number * 0x2000)) for number in range(9))],
            Headers.split(GOOD).data,
        ).join(),
        "places without RAM",
    ),
    "area twice": (added(AREA, struct.pack("<QII", 4096, 0, 0)), "two parameter areas 0"),
    "area of half a page": (changed(AREA, 0, u64(0x800)), "a parameter area has 0x800 bytes"),
    "empty area": (changed(AREA, 0, u64(0)), "empty parameter area 0"),
    "huge area": (changed(AREA, 0, u64(1 << 40)), "a parameter area has"),
    "area that is not there": (changed(INSERT, 12, u32(77)), "parameter area 77"),
    "area inserted twice": (repeated(INSERT), "after it was inserted"),
    "insert at half a page": (changed(INSERT, 0, u64(0x800)), "not the start of a page"),
    "parameter in no area": (changed(VP_COUNT, 0, u32(9)), "parameter area 9"),
    "parameter beyond its area": (changed(VP_COUNT, 4, u32(4093)), "VP_COUNT_PARAMETER, which needs 4"),
    "environment beyond its area": (changed(ENVIRONMENT, 4, u32(0xFFFFFFFF)), "ENVIRONMENT_INFO_PARAMETER"),
    "map beyond its area": (changed(MEMORY_MAP, 4, u32(4090)), "MEMORY_MAP, which needs"),
    "MADT beyond its area": (added(MADT, u32(0) + u32(4000), INSERT), "MADT, which needs"),
    "parameter after its area": (added(VP_COUNT, u32(0) + u32(0)), "after it was inserted"),
    "no VP context": (dropped(CONTEXT), "no VP context for SEV-SNP"),
    "VP context of another platform": (changed(CONTEXT, MASK, u32(2)), "no VP context for SEV-SNP"),
    "VP context of vCPU 1 only": (changed(CONTEXT, 16, u16(1)), "no VP context for the first vCPU"),
    "two VP contexts": (repeated(CONTEXT), "second VP context of vCPU 0"),
    "VP context without contents": (changed(CONTEXT, OFFSET, u32(0)), "without contents"),
    "VP context elsewhere": (changed(CONTEXT, GPA, u64(0x1000)), "KVM puts every VMSA at FFFFFFFFF000"),
    "VP context beyond the file": (changed(CONTEXT, OFFSET, u32(len(GOOD))), "outside its file data"),
    "VMSA without SNP": (started(0x3B0, u64(8)), "without SNP in its SEV_FEATURES"),
    "VMSA with a virtual TOM": (started(0x3C8, u64(1 << 40)), "that KVM cannot set"),
    "VMSA of VMPL 1": (started(0xCA, b"\1"), "that KVM cannot set"),
    "VMSA with an exit code": (started(0x3C0, u64(1)), "that KVM cannot set"),
    "page tables for another C-bit": (started(0x150, u64(0x50003FF000 | 1 << 47)), "another C-bit than 51"),
    "two ID blocks": (
        Headers.split(GOOD).add(ID_BLOCK, u32(1) + bytes(764)).add(ID_BLOCK, u32(1) + bytes(764)).join(),
        "several ID blocks",
    ),
}


def built(path: Path) -> Packed:
    """What a run of a file does before QEMU is started."""
    boot = prepare(None, "emulated", None, igvm=path)
    return emulated.build_launch(boot.spec, boot.spec.image, memory_map(boot.spec.memory, 40))


def test_enough_of_them() -> None:
    assert len(FILES) >= 50


@pytest.mark.parametrize("name", FILES)
def test_one_line(name: str, tmp_path: Path) -> None:
    data, message = FILES[name]
    path = tmp_path / "bad.igvm"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        built(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["empty", "a page twice", "area twice", "VMSA without SNP"])
@pytest.mark.parametrize("command", ["run", "conformance"])
def test_exit_status(command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.igvm"
    path.write_bytes(FILES[name][0])
    assert main.main([command, "--igvm", str(path), "--out", str(tmp_path / "out")]) == EXIT_USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert FILES[name][1] in line
    assert not (tmp_path / "out").exists()


def test_the_file_itself_is_launched(tmp_path: Path) -> None:
    path = tmp_path / "good.igvm"
    path.write_bytes(Headers.split(GOOD).join())
    assert path.read_bytes() == GOOD
    assert built(path).features == 0x29


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_file_is_launched_or_refused(data: st.DataObject) -> None:
    """Changed bytes, with a right checksum or a wrong one: one line, or a launch whose numbers are bounded."""
    changed_file = bytearray(GOOD)
    limit = 24 + int.from_bytes(GOOD[12:16], "little")
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, limit - 1))
        changed_file[at] = data.draw(st.integers(0, 255))
    found = bytes(changed_file)
    if data.draw(st.booleans()):
        try:
            found = Headers.split(found).join()
        except (struct.error, OverflowError):
            return
    try:
        launch = load(IgvmFile.parse(found, "x.igvm"), MachineFacts(1, RAM))
    except UsageError as error:
        said = str(error)
    else:
        said = ""
        assert len(digest_of(launch)) == 48
        assert sum(pages.count for pages in launch.pages) <= 1 << 20
    assert "\n" not in said
