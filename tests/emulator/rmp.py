# SPDX-License-Identifier: GPL-2.0-or-later
"""The RMP's test driver as an object: one method for each function of harness/emulator/hardware/rmp.h."""

from __future__ import annotations

import enum

from tests.emulator.native import Driver

SOURCES = ("hardware/rmp.c",)

#: Default arguments of the methods.
GPA = 0x7FE00000
ASID = 1

#: Bits of an entry.
ASSIGNED = 0x01
VALIDATED = 0x02
IS_LARGE = 0x04
VMSA = 0x08

#: EXITINFO1 of an access.
WRITE = 1 << 1
FETCH = 1 << 4

#: Permissions of a VMPL, and RMPADJUST's VMSA bit.
READ_P, WRITE_P, USER_P, SUPERVISOR_P, SSS_P = 1, 2, 4, 8, 16
ALL_P = 15
VMSA_ATTRIBUTE = 1 << 16


class Update(enum.IntEnum):
    """enum hw_rmp_result."""

    OK = 0
    INPUT = 1
    OVERLAP = 4


class Fault(enum.IntEnum):
    """enum rmp_fault."""

    OK = 0
    NOT_ASSIGNED = 1
    SIZE = 2
    NOT_VALIDATED = 3
    VMPL = 4


class Result(enum.IntEnum):
    """enum sev_result."""

    SUCCESS = 0
    FAIL_INPUT = 1
    FAIL_PERMISSION = 2
    FAIL_SIZEMISMATCH = 6


class Rmp(Driver):
    """The table. It covers the upper half of the 2 MiB page at 0, those at 2 and 4 MiB, and 16 KiB at 1 GiB."""

    def update(
        self, spa: int, gpa: int = GPA, *, asid: int = ASID, assigned: bool = True, large: bool = False
    ) -> Update:
        return Update(self.ask("update", spa, gpa, asid, int(assigned), int(large))[0])

    def unassign(self, spa: int, *, large: bool = False) -> Update:
        return self.update(spa, 0, asid=0, assigned=False, large=large)

    def psmash(self, spa: int) -> Update:
        return Update(self.ask("psmash", spa)[0])

    def bits(self, spa: int) -> int:
        return self.ask("bits", spa)[0]

    def check(self, spa: int, gpa: int = GPA, vmpl: int = 0, info: int = 0, asid: int = ASID, cpl: int = 0) -> Fault:
        return Fault(self.ask("check", spa, gpa, asid, vmpl, cpl, info)[0])

    def validate(
        self, spa: int, gpa: int = GPA, *, large: bool = False, validate: bool = True, asid: int = ASID
    ) -> tuple[Fault, Result, bool]:
        answer = self.ask("validate", spa, gpa, asid, int(large), int(validate))[0]
        return Fault(answer >> 16), Result(answer & 0xFF), bool(answer >> 8 & 1)

    def adjust(
        self, spa: int, attributes: int, gpa: int = GPA, *, vmpl: int = 0, large: bool = False
    ) -> tuple[Fault, Result]:
        answer = self.ask("adjust", spa, gpa, ASID, vmpl, int(large), attributes)[0]
        return Fault(answer >> 16), Result(answer & 0xFFFF)
