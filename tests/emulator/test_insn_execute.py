# SPDX-License-Identifier: GPL-2.0-or-later
"""What decoded instructions do to values and flags, compared with the processor that runs the tests."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from tests.emulator.insn import Decoder, assemble

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="not an x86-64 machine")

RUNS = 400
SIZES = (("b", "cl", 0x5A), ("w", "cx", 0x1234), ("l", "ecx", -0x12345), ("q", "rcx", 0x7FFFFFFF))
ALU = ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")

CODES = [
    *(f"{op}{size} %{reg}, (%rdi)" for op in (*ALU, "mov", "test", "xchg") for size, reg, _ in SIZES),
    *(f"{op}{size} (%rdi), %{reg}" for op in (*ALU, "mov") for size, reg, _ in SIZES),
    *(f"{op}{size} ${value}, (%rdi)" for op in (*ALU, "mov", "test") for size, _, value in SIZES),
    *(f"{op}{size} $-1, (%rdi)" for op in ALU for size, _, _ in SIZES),
    *(f"{op}{size} (%rdi)" for op in ("not", "neg", "inc", "dec", "lock not", "lock inc") for size, _, _ in SIZES),
    *(f"lock {op}{size} %{reg}, (%rdi)" for op in ("xadd", "cmpxchg") for size, reg, _ in SIZES),
    *(f"{op}{size} ${bit}, (%rdi)" for op in ("bt", "bts", "btr", "btc") for size in "wlq" for bit in (0, 9, 31, 63)),
    *(f"{op} (%rdi), %{reg}" for op in ("movzb", "movsb") for reg in ("cx", "ecx", "rcx")),
    *(f"{op} (%rdi), %{reg}" for op in ("movzw", "movsw") for reg in ("ecx", "rcx")),
    "movslq (%rdi), %rcx",
    *(f"{op}b %ch, (%rdi)" for op in (*ALU, "mov", "test", "xchg", "xadd", "cmpxchg")),
    *(f"{op}b (%rdi), %ch" for op in (*ALU, "mov")),
]


def test_agrees_with_the_processor(decoder: Decoder, tmp_path: Path) -> None:
    for text, code in zip(CODES, assemble(CODES, 64, tmp_path), strict=True):
        assert decoder.agrees_with_processor(code, RUNS), text


@pytest.mark.parametrize("op", ["bt", "bts", "btr", "btc"])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_bit_offset_within_the_operand(decoder: Decoder, tmp_path: Path, op: str, size: int) -> None:
    """With a register the processor moves the address by the upper bits: masked here, as the #NPF has the address."""
    register, suffix = {2: ("cx", "w"), 4: ("ecx", "l"), 8: ("rcx", "q")}[size]
    lines = [f"{op}{suffix} %{register}, (%rdi)"]
    (code,) = assemble(lines, 64, tmp_path)
    insn = decoder.decode(code)
    assert insn is not None
    assert insn.operand_size == size
    for bit in range(8 * size):
        values = decoder.execute(code, memory=0xA5A5A5A5A5A5A5A5, reg=bit + 8 * size)
        was = 0xA5A5A5A5A5A5A5A5 >> bit & 1
        now = {"bt": was, "bts": 1, "btr": 0, "btc": 1 - was}[op]
        assert values.rflags & 1 == was
        assert values.memory >> bit & 1 == now
        assert values.writes == (0 if op == "bt" else 1)


@pytest.mark.parametrize(
    ("text", "reads", "writes", "memory", "reg"),
    [
        ("rep stosl", False, 1, 0x55667788, 0x55667788),
        ("lodsw", True, 2, 0x3344, 0x3344),
        ("movsb", True, 1, 0x44, 0x88),
        ("movl %ecx, (%rdi)", False, 1, 0x55667788, 0x55667788),
        ("movl $-2, (%rdi)", False, 1, 0xFFFFFFFE, 0x55667788),
        ("cmpl %ecx, (%rdi)", True, 0, 0x11223344, 0x55667788),
    ],
)
def test_reads_and_writes(
    decoder: Decoder, tmp_path: Path, text: str, reads: bool, writes: int, memory: int, reg: int
) -> None:
    (code,) = assemble([text], 64, tmp_path)
    values = decoder.execute(code, memory=0x11223344, reg=0x55667788)
    assert (values.reads, values.writes, values.memory, values.reg) == (reads, writes, memory, reg)
