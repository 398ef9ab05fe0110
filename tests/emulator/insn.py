# SPDX-License-Identifier: GPL-2.0-or-later
"""The instruction decoder's test driver as an object, and GNU as and objdump to check its answers."""

from __future__ import annotations

import enum
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulator.native import Driver

SOURCES = (
    "common/insn_address.c",
    "common/insn_extended.c",
    "common/insn_memory.c",
    "common/insn_prefix.c",
    "common/insn_system.c",
    "common/insn_execute.c",
    "common/insn_width.c",
)
_TOOL_TIMEOUT_S = 300
_SLOT = 32  # bytes an instruction is given, with the padding


class Kind(enum.IntEnum):
    """enum insn_kind."""

    UNKNOWN = 0
    MOV_LOAD = 1
    MOV_STORE = 2
    MOV_STORE_IMM = 3
    MOVZX = 4
    MOVSX = 5
    XCHG = 6
    ALU = 7
    TEST = 8
    BIT = 9
    NOT = 10
    NEG = 11
    INC = 12
    DEC = 13
    XADD = 14
    CMPXCHG = 15
    STOS = 16
    LODS = 17
    MOVS = 18


class Form(enum.IntEnum):
    """enum insn_form."""

    MEM_REG = 0
    REG_MEM = 1
    MEM_IMM = 2


SIMPLE = (
    "",
    "cpuid",
    "rdmsr",
    "wrmsr",
    "hlt",
    "wbinvd",
    "wbnoinvd",
    "invd",
    "rdtsc",
    "rdtscp",
    "pause",
    "vmmcall",
    "vmgexit",
    "pvalidate",
    "rmpadjust",
    "invlpgb",
    "tlbsync",
    "rmp_batch",
)
"""enum insn_simple, as mnemonics."""

EXTENDED = ("xrstors", "xsavec", "xsaves", "xrstor")
"""enum insn_extension, as mnemonics."""

SEGMENTS = ("", "es", "cs", "ss", "ds", "fs", "gs")
"""enum insn_segment."""

NO_REGISTER = 0xFF


@dataclass(frozen=True, slots=True)
class Insn:
    """struct insn."""

    kind: Kind
    form: Form
    length: int
    operation: int
    operand_size: int
    register_size: int
    address_size: int
    reg: int
    high_byte: bool
    lock: bool
    repeat: bool
    segment: int
    immediate: int


@dataclass(frozen=True, slots=True)
class Extended:
    """struct insn_extended. base, index: register numbers, None without one."""

    name: str
    length: int
    wide: bool
    base: int | None
    index: int | None
    scale: int
    address_size: int
    relative: bool
    segment: str
    displacement: int


@dataclass(frozen=True, slots=True)
class Values:
    """struct insn_values after insn_execute(), what that returned, and insn_reads_memory()."""

    reads: bool
    writes: int
    memory: int
    reg: int
    rflags: int


class Decoder(Driver):
    """The decoder: one method for each function of harness/emulator/common/insn.h."""

    def decode(self, code: bytes, mode: int = 64) -> Insn | None:
        known, kind, form, *numbers, high, lock, repeat, segment, immediate = self.ask("decode", mode, code.hex())
        length, operation, operand_size, register_size, address_size, reg = numbers
        insn = Insn(
            Kind(kind),
            Form(form),
            length,
            operation,
            operand_size,
            register_size,
            address_size,
            reg,
            bool(high),
            bool(lock),
            bool(repeat),
            segment,
            immediate,
        )
        return insn if known else None

    def simple(self, code: bytes, mode: int = 64) -> tuple[str, int]:
        which, length = self.ask("simple", mode, code.hex())
        return SIMPLE[which], length

    def extended(self, code: bytes, mode: int = 64) -> Extended | None:
        known, which, length, wide, base, index, scale, size, relative, segment, displacement = self.ask(
            "extended", mode, code.hex()
        )
        if not known:
            return None
        return Extended(
            EXTENDED[which],
            length,
            bool(wide),
            None if base == NO_REGISTER else base,
            None if index == NO_REGISTER else index,
            scale,
            size,
            bool(relative),
            SEGMENTS[segment],
            displacement,
        )

    def width(self, code: bytes, mode: int = 64) -> int:
        return self.ask("width", mode, code.hex())[0]

    def cr_write(self, code: bytes, mode: int = 64) -> tuple[int, int, int] | None:
        """A MOV to CRn: n, gpr, length."""
        known, cr, gpr, length = self.ask("cr_write", mode, code.hex())
        return (cr, gpr, length) if known else None

    def execute(self, code: bytes, memory: int, reg: int) -> Values:
        """Carry out 64-bit code with these values of m and r, all flags clear."""
        reads, *values = self.ask("execute", 64, code.hex(), memory, reg)
        return Values(bool(reads), *values)

    def agrees_with_processor(self, code: bytes, runs: int) -> bool:
        """Carry out 64-bit code with m at (%rdi) and r in rcx, on this machine and emulated; False: not decoded."""
        return bool(self.ask("native", runs, code.hex())[0])

    def fuzz(self, seed: int, steps: int) -> None:
        self.ask("fuzz", seed, f"{steps:x}")


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} (install binutils)")
    return path


def assemble(lines: Sequence[str], mode: int, directory: Path) -> list[bytes]:
    """The code of each line of AT&T assembly, by GNU as."""
    source = directory / f"code{mode}.s"
    binary = source.with_suffix(".bin")
    text = "".join(f".balign {_SLOT}, 0xcc\n9: {line}\n.byte . - 9b\n" for line in lines)
    source.write_text(f".code{mode}\n{text}.balign {_SLOT}, 0xcc\n")
    run = subprocess.run(
        [_tool("as"), "--64", "-o", str(source.with_suffix(".o")), str(source)],
        capture_output=True,
        text=True,
        timeout=_TOOL_TIMEOUT_S,
        check=False,
    )
    assert not run.returncode, run.stderr
    objcopy = [_tool("objcopy"), "-O", "binary", "-j", ".text", str(source.with_suffix(".o")), str(binary)]
    subprocess.run(objcopy, check=True, timeout=_TOOL_TIMEOUT_S)
    image = binary.read_bytes()
    codes = []
    for start in range(0, len(image), _SLOT):
        slot = image[start : start + _SLOT].rstrip(b"\xcc")
        assert slot[-1] == len(slot) - 1
        codes.append(slot[:-1])
    return codes


@dataclass(frozen=True, slots=True)
class Listed:
    """An instruction in objdump's output: its length in bytes and its text."""

    length: int
    text: str


def disassemble(codes: Sequence[bytes], mode: int, directory: Path) -> list[Listed]:
    """What objdump makes of each of the codes, which are followed by NOPs."""
    machine = {16: "i8086", 32: "i386", 64: "i386:x86-64"}[mode]
    binary = directory / f"listed{mode}.bin"
    binary.write_bytes(b"".join(code.ljust(_SLOT, b"\x90") for code in codes))
    run = subprocess.run(
        [
            _tool("objdump"),
            "-D",
            "-w",
            "-z",
            "--insn-width=16",
            "-b",
            "binary",
            "-m",
            machine,
            "-M",
            "intel",
            str(binary),
        ],
        capture_output=True,
        text=True,
        timeout=_TOOL_TIMEOUT_S,
        check=True,
    )
    listed = {}
    for match in re.finditer(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t?(.*)$", run.stdout, re.MULTILINE):
        listed[int(match[1], 16)] = Listed(len(match[2].split()), match[3].strip())
    return [listed[start] for start in range(0, _SLOT * len(codes), _SLOT)]
