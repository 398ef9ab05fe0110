# SPDX-License-Identifier: GPL-2.0-or-later
"""The test guest as a firmware image: compiled once, its parameters put in for each run."""

from __future__ import annotations

import enum
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parent
#: Where the parameters are in the image (guests/lib/layout.h, PAYLOAD_FLASH - IMAGE_BASE), and struct test_parameters.
PARAMETERS = 0x11000
PARAMETERS_MAGIC = b"TESTPARM"
#: Bytes of an SVSM image's header (harness/emulator/include/svsm_boot.h).
SVSM_HEADER = 32
TIMEOUT_S = 600
_TEST = re.compile(r"^(SMP_)?TEST\((\w+), ([\w |]+)\)", re.MULTILINE)


class Mode(enum.IntFlag):
    """enum mode: an SNP guest at VMPL0, one under an SVSM, one without SEV, one with Alternate Injection."""

    VMPL0 = 1
    SVSM = 2
    PLAIN = 4
    ALTERNATE = 8
    SEV = 3
    ALL = 7


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


def compile_guest(directory: Path, source: Path = DIRECTORY, name: str = "guest.fd") -> bytes:
    """The image `name` that a directory's Makefile makes, without parameters. Skips the test without a compiler."""
    for program in ("make", "gcc", "ld", "objcopy"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (install make, gcc and binutils)")
    command = ("make", "-s", "-C", str(source), f"BUILD={directory}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}", pytrace=False)
    return (directory / name).read_bytes()


def image(compiled: bytes, mode: Mode, cbit: int, end: int = 0, vcpus: int = 1) -> bytes:
    """The firmware image of a run. cbit: what the guest has to find. end: enum ending of end.c."""
    assert compiled.startswith(PARAMETERS_MAGIC, PARAMETERS)
    data = bytearray(compiled)
    struct.pack_into("<4I", data, PARAMETERS + len(PARAMETERS_MAGIC), mode, cbit, end, vcpus)
    return bytes(data)
