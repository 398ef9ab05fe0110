# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory and registers of a guest without SEV."""

from __future__ import annotations

import pytest

from snp_harness.errors import MemoryAccessError, UnsupportedError, UsageError
from snp_harness.platforms.plain_guest import locate_plain, printed_registers

GIB = 1 << 30
PRINTED = """
CPU#0
EAX=00000060 EBX=00000000 ECX=00000000 EDX=000003fd
ESI=000001d7 EDI=00000000 EBP=00000000 ESP=0000fffa
EIP=0000016b EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
ES =0000 00000000 0000ffff 00009300
CS =f000 000f0000 0000ffff 00009b00
CR0=60000010 CR2=00000000 CR3=00000000 CR4=00000000
EFER=0000000000000000

CPU#1
RAX=0000000000000001 RBX=0000000000000002 RCX=0000000000000003 RDX=0000000000000004
R8 =0000000000000008 R15=000000000000000f
RIP=00000000fffffff0 RFL=00000002 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=1
EFER=0000000000000d00
"""


def test_ram_is_where_q35_has_it_and_the_flash_is_only_read() -> None:
    for gpa in (0, 2 * GIB - 1, 4 * GIB, 5 * GIB - 1):
        assert locate_plain("tcg", gpa, 3 * GIB, 4 << 20, None, write=True) == gpa
    assert locate_plain("tcg", 4 * GIB - 16, GIB, 4 << 20, None, write=False) == 4 * GIB - 16
    for gpa, write in ((2 * GIB, False), (5 * GIB, False), (0xFEE00000, False), (4 * GIB - 16, True)):
        with pytest.raises(MemoryAccessError, match=f"no RAM at GPA {gpa:X}"):
            locate_plain("tcg", gpa, 3 * GIB, 4 << 20, None, write=write)
    with pytest.raises(UnsupportedError, match="the platform tcg cannot access memory as VMPL2: its guest has no"):
        locate_plain("tcg", 0, GIB, 0, 2, write=False)


def test_what_the_monitor_prints() -> None:
    first, second = printed_registers(PRINTED, 0), printed_registers(PRINTED, 1)
    assert (first["rax"], first["rdx"], first["rip"], first["rflags"]) == (0x60, 0x3FD, 0x16B, 0x246)
    assert (first["cs"], first["cs_base"], first["cr0"], first["efer"], first["cpl"]) == (
        0xF000,
        0xF0000,
        0x60000010,
        0,
        0,
    )
    assert (second["r8"], second["r15"], second["rip"], second["efer"], second["cpl"]) == (8, 15, 0xFFFFFFF0, 0xD00, 3)
    with pytest.raises(UsageError, match="no vCPU 2: it has 2"):
        printed_registers(PRINTED, 2)
