# SPDX-License-Identifier: GPL-2.0-or-later
"""What the emulated hardware shows a debugger, on memory that is made for it."""

from __future__ import annotations

import struct

import pytest

from snp_harness.errors import BrokenEnvironmentError, MemoryAccessError, UsageError
from snp_harness.platforms import view
from snp_harness.platforms.running import Peek
from snp_harness.platforms.view import MovingError, View
from tests.helpers.c_headers import INCLUDE, assert_same, constants, layout

HEADER = f"{INCLUDE}/view.h"
ADDRESS, NESTED, RMP, VMCB, GPR, VMPL = 0x1000, 0x3000, 0x4000, 0x5000, 0x7000, 0x8000
LEFT, SAVED = 0xFFFFFFFF80001AFD, 0xFFFFFFFF80001B3A
#: Pages of the slot at GPA 10000: their nested entries, and the bits of their RMP entries.
PAGES = [
    (1, 0x03),  # private, validated, for VMPL0 only
    (1, 0x0003 | 0xF << 16),  # and for VMPL2
    (1, 0x0003 | 0x1 << 16),  # for VMPL2 to read
    (1, 0x01),  # not validated
    (2, 0x00),  # shared
    (0, 0x00),  # not mapped
    (0x81, 0x03 | 0xF << 16),  # not in the table now: the hypervisor maps it at the next access
]


def memory(snp: int = 1, magic: int = view.MAGIC, cpus: int = 2) -> Peek:
    data = bytearray(0x9000)
    struct.pack_into("<8Q", data, ADDRESS, magic, snp, 1, cpus, 1, LEFT, SAVED, 0)
    struct.pack_into("<6Q", data, ADDRESS + 64, 0x10000, len(PAGES) * 4096, 0xA0000, 0xB0000, NESTED, RMP)
    for number in range(cpus):
        offset = ADDRESS + 64 + 8 * 48 + number * 72
        struct.pack_into("<9Q", data, offset, VMPL + number, *[VMCB] * 4, *[GPR] * 4)
    for number, (nested, bits) in enumerate(PAGES):
        data[NESTED + number] = nested
        struct.pack_into("<2I", data, RMP + 8 * number, bits, 0)
    data[VMPL : VMPL + 2] = bytes((2, 2))
    for offset, value in ((0x178, 0x1234), (0x1D8, 0x5678), (0x1F8, 0x9ABC)):
        struct.pack_into("<Q", data, VMCB + 0x400 + offset, value)
    struct.pack_into("<HHIQ", data, VMCB + 0x410, 0x38, 0x29B, 0xFFFFFFFF, 0x70000)
    data[VMCB + 0x4CB] = 3
    struct.pack_into("<16Q", data, GPR, *range(100, 116))
    return lambda address, size: bytes(data[address : address + size])


def printed(rip: int, rax: int = 1) -> str:
    return f"CPU#0\nRAX={rax:016x} RCX={2:016x}\nRIP={rip:016x} RFL=00000246\nCS =0008 {0:016x} ffffffff\n" + "".join(
        f"{name.upper()}={7:016x}\n" for name in view._GPRS[2:]
    )


def test_the_numbers_are_those_of_the_header() -> None:
    names = {"MAGIC": view.MAGIC, "SLOTS": view.SLOTS, "CPUS": view.CPUS, "VMPLS": view.VMPLS}
    assert constants(HEADER, "VIEW_") == {f"VIEW_{name}": value for name, value in names.items()}
    header = ["magic", "snp", "slots", "cpus", "running", "left", "saved", "in_place", "slot"]
    assert [offset for offset, _ in layout([HEADER], "struct view", header).values()] == [8 * n for n in range(9)]
    slot = ["gpa", "size", "spa", "shared_spa", "nested", "rmp"]
    assert [offset for offset, _ in layout([HEADER], "struct view_slot", slot).values()] == [8 * n for n in range(6)]
    cpu = ["vmpl", "vmcb", "gpr"]
    assert [offset for offset, _ in layout([HEADER], "struct view_cpu", cpu).values()] == [0, 8, 40]
    assert_same([HEADER], {"sizeof(struct view)": view.SIZE})


@pytest.mark.parametrize(
    ("page", "vmpl", "write", "message"),
    [
        (0, 0, True, ""),
        (0, 2, False, "VMPL2 cannot read GPA 10008: its page is private, and the RMP allows VMPL2 nothing"),
        (1, 2, True, ""),
        (1, 3, False, "the RMP allows VMPL3 nothing"),
        (2, 2, False, ""),
        (2, 2, True, "VMPL2 cannot write GPA 12008: .* allows VMPL2 read$"),
        (3, 0, False, "its page is assigned and not validated"),
        (4, 3, True, "shared"),
        (5, 0, False, "mapped no page there"),
        (6, 2, True, ""),
        (6, 3, False, "the RMP allows VMPL3 nothing"),
    ],
)
def test_a_vmpl_sees_what_the_rmp_allows(page: int, vmpl: int, write: bool, message: str) -> None:
    peek = memory()
    found, gpa = View.read(peek, ADDRESS), 0x10008 + page * 4096
    if message in ("", "shared"):
        base = 0xB0000 if message else 0xA0000
        assert found.locate(peek, gpa, vmpl, write=write) == base + gpa - 0x10000
        return
    with pytest.raises(MemoryAccessError, match=message):
        found.locate(peek, gpa, vmpl, write=write)


def test_without_snp_no_rmp_is_checked() -> None:
    peek = memory(snp=0)
    assert View.read(peek, ADDRESS).locate(peek, 0x13000, 0, write=True) == 0xA3000


def test_no_memory() -> None:
    peek = memory()
    for gpa in (0, 0xFFFF, 0x10000 + len(PAGES) * 4096):
        with pytest.raises(MemoryAccessError, match=f"no memory at GPA {gpa:X}"):
            View.read(peek, ADDRESS).locate(peek, gpa, 0, write=False)


def test_before_the_host_has_started() -> None:
    with pytest.raises(BrokenEnvironmentError, match="shows no guest yet"):
        View.read(memory(magic=0), ADDRESS)
    with pytest.raises(BrokenEnvironmentError):
        View.read(memory(cpus=17), ADDRESS)


def test_a_vcpu_that_waits_has_its_registers_in_memory() -> None:
    peek = memory()
    found = View.read(peek, ADDRESS).registers(peek, printed(0x40), 0, None)
    assert (found["rip"], found["rsp"], found["rax"], found["rcx"], found["r15"]) == (0x1234, 0x5678, 0x9ABC, 101, 115)
    assert (found["cs"], found["cs_base"], found["cpl"]) == (0x38, 0x70000, 3)


def test_the_vcpu_that_runs_has_them_in_the_processor_unless_the_hypervisor_runs() -> None:
    peek = memory()
    found = View.read(peek, ADDRESS)
    assert found.registers(peek, printed(0x40), 1, None)["rcx"] == 2
    assert found.registers(peek, printed(0x40), 1, 2)["rip"] == 0x40
    # Another VMPL of it does not run.
    assert found.registers(peek, printed(0x40), 1, 0)["rcx"] == 101
    assert found.registers(peek, printed(SAVED), 1, None)["rcx"] == 101
    just_left = found.registers(peek, printed(LEFT), 1, None)
    assert (just_left["rcx"], just_left["r15"], just_left["rax"], just_left["rip"]) == (2, 7, 0x9ABC, 0x1234)
    with pytest.raises(MovingError, match="vCPU 1 are on their way"):
        found.registers(peek, printed(LEFT + 4), 1, None)


@pytest.mark.parametrize(("vcpu", "vmpl"), [(2, None), (-1, None), (0, 4), (0, -1)])
def test_no_such_vcpu_or_vmpl(vcpu: int, vmpl: int | None) -> None:
    peek = memory()
    with pytest.raises(UsageError, match=r"no vCPU|no VMPL"):
        View.read(peek, ADDRESS).registers(peek, printed(0), vcpu, vmpl)
