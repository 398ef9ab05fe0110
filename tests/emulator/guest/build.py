# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest's tests, and its image for a run."""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.guest_image import with_parameters

DIRECTORY = Path(__file__).parent
#: guest.h, struct test_parameters.
PARAMETERS_MAGIC = b"TESTPARM"
_TEST = re.compile(r"^(SMP_)?TEST\((\w+), ([\w |]+)\)", re.MULTILINE)


class Mode(enum.IntFlag):
    """enum mode: an SNP guest at VMPL0, one under an SVSM, one without SEV, one with Alternate Injection."""

    VMPL0 = 1
    SVSM = 2
    PLAIN = 4
    ALTERNATE = 8
    SEV = 3
    ALL = 7


class End(enum.IntEnum):
    """enum ending: what the guest does instead of running its tests, so that the run ends."""

    NORMAL = 0
    TRIPLE_FAULT = 1
    TERMINATE = 2
    TERMINATE_NAE = 3
    RESET_HOLD = 4
    RESET_HOLD_NAE = 5
    UNSUPPORTED = 6
    NO_IDT = 7
    NO_STACK = 8
    PRIVATE_GHCB = 9
    PRIVATE_MMIO = 10
    SVSM_MEMORY = 11
    INSTRUCTION = 12
    STRING_IO = 13
    GHCB_UNREGISTERED = 14
    BREAKPOINT = 15
    SUSPEND = 16
    EXECUTE_SUPERVISOR_0 = 17
    EXECUTE_SUPERVISOR_3 = 18
    EXECUTE_USER_0 = 19
    EXECUTE_USER_3 = 20
    RESET = 21
    COVER = 22
    INIT_MESSAGE = 23
    INIT_UNDER_A_BAR = 24
    RUN_CREATED_ON_INIT = 25
    RUN_DESTROYED = 26
    REPORT = 27
    REQUEST_NOWHERE = 28
    OTHER_VMSA_IN_A_CALL = 29
    SEV_STATUS = 30
    POWER_OFF = 31


@dataclass(frozen=True, slots=True)
class GuestTest:
    """A test of the guest: a TEST() in its sources, or an SMP_TEST() for several vCPUs."""

    name: str
    modes: Mode
    smp: bool


def find_tests() -> list[GuestTest]:
    """The tests in the sources."""
    found = []
    for source in sorted(DIRECTORY.glob("test_*.c")):
        for smp, name, modes in _TEST.findall(source.read_text(encoding="utf-8")):
            bits = Mode(0)
            for word in modes.split("|"):
                bits |= Mode[word.strip()]
            found.append(GuestTest(name, bits, bool(smp)))
    return found


def image(compiled: bytes, mode: Mode, cbit: int, end: End = End.NORMAL, vcpus: int = 1) -> bytes:
    """The firmware image of a run. cbit: the C-bit that the guest must find."""
    return with_parameters(compiled, PARAMETERS_MAGIC, struct.pack("<4I", mode, cbit, end, vcpus))
