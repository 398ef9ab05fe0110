# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference SVSM's protocols as a host program (driver.c): built with sanitizers, driven line by line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from snp_harness.svsm.protocol import CoreCall, Protocol
from snp_harness.svsm.reference import SvsmBoot
from snp_harness.svsm.sev import SevStatus, sev_features

EMULATOR = Path(__file__).parents[3] / "harness" / "emulator"
#: The SVSM's sources that need no hardware.
PURE_SOURCES = (
    "alternate",
    "apic_timer",
    "doorbell",
    "faults",
    "format",
    "lapic",
    "memory_map",
    "nae",
    "protocol",
    "protocol_apic",
    "protocol_core",
    "rmp",
    "vmsa_registry",
    "vmsa_reset",
)
BUILD_TIMEOUT_S = 600
WARNINGS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")

PAGE = 0x1000
PAGE_2M = 0x200000
SVSM_BASE = 0x4000000000
SVSM_SIZE = 0x100000
RAM_LOW = 0x800000
RAM_HIGH = 0x400000
HIGH = 0x100000000
FLASH = 0xFFFF0000
FLASH_SIZE = 0x10000
FEATURES = sev_features(SevStatus.SNP | SevStatus.ALTERNATE_INJECTION)
LAUNCH_VMSA = SVSM_BASE + 0x3000
CAA = 0x9000
SCRUB = SvsmBoot.SCRUB


def build(directory: Path) -> Path:
    """Compile the driver and return it; CalledProcessError when the compiler refuses."""
    program = directory / "svsm-driver"
    sources = [EMULATOR / "svsm" / f"{name}.c" for name in PURE_SOURCES]
    subprocess.run(
        ["gcc", *WARNINGS, "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         "-fno-pie", "-no-pie",  # as in native.py
         f"-I{EMULATOR / 'include'}", f"-I{EMULATOR / 'svsm'}", "-o", program,
         *Path(__file__).parent.glob("*.c"), *sources],
        check=True, timeout=BUILD_TIMEOUT_S,
    )  # fmt: skip
    return program


@dataclass(frozen=True, slots=True)
class Answer:
    """Registers after a call."""

    rax: int
    rcx: int
    rdx: int
    r8: int


@dataclass(frozen=True, slots=True)
class Rmp:
    """RMP entry of a page. state: s shared, u unassigned, i assigned, v validated; U and V: i and v of a 2 MiB page."""

    state: str
    permissions: tuple[int, int, int]  # VMPL1-3
    vmsa: bool


class Svsm:
    """A running driver with guest RAM at 0 and 4 GiB, a piece of flash, and one vCPU that has made calls before."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.boot()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _, complaint = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, complaint

    def command(self, *words: object) -> str:
        """Send one command, numbers as hexadecimal, and return the answer's line."""
        assert self._process.stdin
        assert self._process.stdout
        line = " ".join(f"{word:x}" if isinstance(word, int) else str(word) for word in words)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            assert self._process.stderr
            raise AssertionError(f"the driver ended at {line!r}: {self._process.stderr.read()}")
        return answer.rstrip("\n")

    def boot(self, *, vmpl: int = 2, vcpus: int = 2, flags: int = SCRUB) -> None:
        """Restart the machine, with all memory validated."""
        regions = (FLASH, FLASH_SIZE)
        assert self.command("boot", SVSM_BASE, SVSM_SIZE, RAM_LOW, RAM_HIGH, vmpl, vcpus, flags, *regions) == "ok"
        assert self.command("vmsa", 0, LAUNCH_VMSA, CAA) == "0"

    def call(self, protocol: int, call: int, rcx: int = 0, rdx: int = 0, r8: int = 0, *, vcpu: int = 0) -> Answer:
        """Make one SVSM call."""
        answer = self.command("call", vcpu, protocol, call, rcx, rdx, r8, FEATURES)
        return Answer(*(int(word, 16) for word in answer.split()))

    def core(self, call: CoreCall, rcx: int = 0, rdx: int = 0, r8: int = 0, *, vcpu: int = 0) -> Answer:
        """Make one call of the core protocol."""
        return self.call(Protocol.CORE, call, rcx, rdx, r8, vcpu=vcpu)

    def poke(self, gpa: int, *quadwords: int) -> None:
        """Write memory without a check of the RMP."""
        for index, value in enumerate(quadwords):
            self.command("poke", gpa + 8 * index, value)

    def peek(self, gpa: int) -> int:
        """Read a quadword without a check of the RMP."""
        return int(self.command("peek", gpa), 16)

    def pages(self, gpa: int, count: int, state: str) -> None:
        """Set the RMP state of pages."""
        self.command("page", gpa, count, state)

    def rmp(self, gpa: int) -> Rmp:
        """Return the RMP entry of a page."""
        state, one, two, three, vmsa = self.command("rmp", gpa).split()
        return Rmp(state, (int(one, 16), int(two, 16), int(three, 16)), vmsa == "1")

    def pvalidate(self, entries: Iterable[int], *, at: int = 0x10000, next_entry: int = 0) -> Answer:
        """Make a PVALIDATE call with a list at a GPA."""
        listed = list(entries)
        self.poke(at, len(listed) | next_entry << 16, *listed)
        return self.core(CoreCall.PVALIDATE, at)

    def vcpu(self, index: int) -> tuple[int, int]:
        """Return a vCPU's VMSA and calling area, 0 for none."""
        vmsa, caa = self.command("vcpu", index).split()
        return int(vmsa, 16), int(caa, 16)
