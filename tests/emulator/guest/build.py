# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest as a firmware image: compiled once, its page tables and parameters put in for each run."""

from __future__ import annotations

import enum
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.firmware import sections as ffs
from harness.firmware.metadata import SEV_METADATA_GUID
from tests.firmware.builder import place_table, sev_metadata, table, volume

DIRECTORY = Path(__file__).parent
INCLUDE = DIRECTORY.parents[2] / "harness" / "emulator" / "include"
SIZE = 0x40000
NVDATA_SIZE = 0x10000
BASE = (1 << 32) - SIZE
START = 0xFFFFF000
#: layout.h
PAYLOAD_FLASH = 0xFFFD1000
PAYLOAD_SIZE = 0x28000
PAYLOAD_RAM = 0x800000
PARAMETERS = 0x807000
CODE = 0x808000
TEST_AREA = 0xA00000
#: (gpa, size, type): SEC memory, secrets, CPUID, SVSM CAA
SECTIONS = ((PAYLOAD_RAM, 0x80000, 1), (0x880000, 0x1000, 2), (0x881000, 0x1000, 3), (0x882000, 0x1000, 4))
METADATA_FROM_END = 0x400
PAGE = 0x1000
LARGE = 0x200000
#: Present, writable, user; and a large page.
PTE = 0x7
PTE_LARGE = 0x87
#: From here to the flash, devices.
DEVICES = 0xC0000000
FLASH = 0xFFE00000
#: Bytes of an SVSM image's header (harness/emulator/include/svsm_boot.h).
SVSM_HEADER = 32
TIMEOUT_S = 60
FLAGS = (
    "-std=gnu11", "-ffreestanding", "-mgeneral-regs-only", "-mno-red-zone", "-mcmodel=small", "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables", "-fcf-protection=none", "-fno-pic", "-fno-pie", "-fno-toplevel-reorder",
    "-O1", "-g", "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
LINK_FLAGS = ("-nostdlib", "-static", "-z", "max-page-size=4096", "--no-warn-rwx-segments")
_TEST = re.compile(r"^TEST\((\w+), ([\w |]+)\)", re.MULTILINE)


class Mode(enum.IntFlag):
    """enum mode: an SNP guest at VMPL0, one under an SVSM, one without SEV."""

    VMPL0 = 1
    SVSM = 2
    PLAIN = 4
    SEV = 3
    ALL = 7


@dataclass(frozen=True, slots=True)
class GuestTest:
    """A test of the guest: a TEST() in its sources."""

    name: str
    modes: Mode


def find_tests() -> list[GuestTest]:
    """The tests in the sources."""
    found = []
    for source in sorted(DIRECTORY.glob("test_*.c")):
        for name, modes in _TEST.findall(source.read_text(encoding="utf-8")):
            bits = Mode(0)
            for word in modes.split("|"):
                bits |= Mode[word.strip()]
            found.append(GuestTest(name, bits))
    return found


def compile_guest(directory: Path) -> bytes:
    """Payload and start page, as one block: PAYLOAD_SIZE bytes and a page. Skips the test without a compiler."""
    for program in ("gcc", "ld", "objcopy"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (install gcc and binutils)")
    script = directory / "guest.ld"
    objects = []
    _run("gcc", "-E", "-P", "-x", "c", str(DIRECTORY / "guest.ld"), "-o", str(script))
    for source in sorted((*DIRECTORY.glob("*.c"), *DIRECTORY.glob("*.S"))):
        target = directory / f"{source.name}.o"
        _run("gcc", *FLAGS, f"-I{INCLUDE}", f"-I{DIRECTORY}", "-c", str(source), "-o", str(target))
        objects.append(str(target))
    elf = directory / "guest.elf"
    _run("ld", *LINK_FLAGS, "-T", str(script), *objects, "-o", str(elf))
    parts = []
    for name, arguments in (("payload", ("-R", ".start")), ("start", ("-j", ".start"))):
        target = directory / f"{name}.bin"
        _run("objcopy", "-O", "binary", *arguments, str(elf), str(target))
        parts.append(target.read_bytes())
    code, start = parts
    assert len(start) == PAGE
    assert len(code) <= PAYLOAD_SIZE - (CODE - PAYLOAD_RAM)
    return (bytes(CODE - PAYLOAD_RAM) + code).ljust(PAYLOAD_SIZE, b"\0") + start


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}", pytrace=False)


def page_tables(cbit: int) -> bytes:
    """Seven pages: PML4, PDPT, four PDs of 2 MiB pages, and the PT of TEST_AREA. cbit 0: no C-bit."""
    c = 1 << cbit if cbit else 0
    at = [PAYLOAD_RAM + number * PAGE for number in range(7)]
    pml4 = [at[1] | c | PTE] + [0] * 511
    pdpt = [at[2 + number] | c | PTE for number in range(4)] + [0] * 508
    large = []
    for number in range(4 * 512):
        gpa = number * LARGE
        private = not DEVICES <= gpa < FLASH
        large.append(gpa | (c if private else 0) | PTE_LARGE)
    large[TEST_AREA // LARGE] = at[6] | c | PTE
    small = [TEST_AREA + number * PAGE | c | PTE for number in range(512)]
    entries = pml4 + pdpt + large + small
    return struct.pack(f"<{len(entries)}Q", *entries)


def image(compiled: bytes, mode: Mode, cbit: int, end: int = 0) -> bytes:
    """The firmware image of a run. end: enum ending of end.c."""
    payload = bytearray(compiled[:PAYLOAD_SIZE])
    tables = page_tables(cbit)
    payload[: len(tables)] = tables
    struct.pack_into("<4I", payload, PARAMETERS - PAYLOAD_RAM, mode, cbit, end, 0)
    data = bytearray(volume(b"", NVDATA_SIZE, ffs.NVDATA_GUID) + volume(b"", SIZE - NVDATA_SIZE))
    data[PAYLOAD_FLASH - BASE : PAYLOAD_FLASH - BASE + PAYLOAD_SIZE] = payload
    data[START - BASE :] = compiled[PAYLOAD_SIZE:]
    metadata = sev_metadata(SECTIONS)
    data[-METADATA_FROM_END : -METADATA_FROM_END + len(metadata)] = metadata
    place_table(data, table({SEV_METADATA_GUID: struct.pack("<I", METADATA_FROM_END)}))
    assert len(data) == SIZE
    return bytes(data)
