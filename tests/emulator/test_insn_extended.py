# SPDX-License-Identifier: GPL-2.0-or-later
"""The decoder of instructions that QEMU's TCG lacks: their addresses, judged by GNU as."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.emulator.insn import EXTENDED, Decoder, Extended, assemble, disassemble

M64 = (1 << 64) - 1
GPR = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
BASES_16 = ((3, 6), (3, 7), (5, 6), (5, 7), (6, None), (7, None), (5, None), (3, None), (None, None))
SP, BP = 4, 5


def register(number: int | None, size: int) -> str:
    """A register's name as part of an address; size in bytes."""
    if number is None:
        return ""
    if number >= 8:
        return f"%r{number}" + ("d" if size == 4 else "")
    return "%" + {2: "", 4: "e", 8: "r"}[size] + GPR[number]


def random_case(seed: random.Random, mode: int) -> tuple[str, Extended]:
    """Assembly, and what has to come of it; its length is 0."""
    size = seed.choice({16: (2, 4), 32: (2, 4), 64: (4, 8)}[mode])
    registers = [None, *range(16 if mode == 64 else 8)]
    base, index = seed.choice(BASES_16) if size == 2 else (seed.choice(registers), seed.choice(registers))
    scale = seed.randrange(4) if index is not None and size != 2 else 0
    if index == SP:
        index, scale = None, 0
    displacement = seed.choice((0, 8, -8, 0x7F, -0x80, 0x80, 0x1234, -0x1234))
    if base is None and index is None:
        displacement = abs(displacement)  # GNU as would write -8 as an address of that size
    relative = mode == 64 and size == 8 and base is None and index is None and seed.random() < 0.7
    override = seed.choice(("", "", "fs", "gs", *(("es", "cs", "ss", "ds") if mode != 64 else ())))
    name, wide = seed.choice(EXTENDED), mode == 64 and seed.random() < 0.5
    if relative:
        address = "(%rip)"
    elif base is None and index is None:
        address = ""
    else:
        address = f"({register(base, size)}" + (f",{register(index, size)}" if index is not None else "")
        address += f",{1 << scale})" if index is not None and size != 2 else ")"
    prefix = f"addr{8 * size} " if not address and size not in (8, mode // 8) else ""
    text = f"{prefix}{name}{'64' if wide else ''} {f'%{override}:' if override else ''}{displacement}{address}"
    segment = override or ("ss" if base in (SP, BP) else "ds")
    return text, Extended(name, 0, wide, base, index, scale, size, relative, segment, displacement & M64)


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_addresses(decoder: Decoder, mode: int, tmp_path: Path) -> None:
    seed = random.Random(mode)
    cases = [random_case(seed, mode) for _ in range(1500)]
    for (text, wanted), code in zip(cases, assemble([text for text, _ in cases], mode, tmp_path), strict=True):
        got = decoder.extended(code + b"\xcc\xcc", mode)
        assert got is not None, text
        assert got.length == len(code), text
        # GNU as exchanges a base and an index without a scale, and writes (,%ebx) as either.
        assert normal(got) == normal(wanted), text
        assert decoder.extended(code[:-1], mode) is None, text


def normal(insn: Extended) -> tuple[object, ...]:
    """What an address is, whichever of its registers is called the base."""
    places: dict[int, int] = {}
    for number, times in ((insn.base, 1), (insn.index, 1 << insn.scale)):
        if number is not None:
            places[number] = places.get(number, 0) + times
    return (
        *(insn.name, insn.wide, tuple(sorted(places.items())), insn.address_size),
        *(insn.relative, insn.segment, insn.displacement),
    )


@pytest.mark.parametrize(
    "code",
    [
        *("f00fc721", "660fc721", "f30fc721", "f20fc721"),  # XSAVEC with LOCK, 66, F3, F2
        *("0fc7e1", "0fc7f9", "0fc731", "0fc739", "0fc709"),  # a register, RDSEED, VMPTRLD, VMPTRST, CMPXCHG8B
        *("0faee8", "0fae31", "0fae", "660fae31", "f30fae29"),  # LFENCE, XSAVEOPT, cut off, CLWB, F3
        *("0fae21", "0fc6", "c721", "0f", ""),  # XSAVE, others
    ],
)
def test_others(decoder: Decoder, code: str) -> None:
    assert decoder.extended(bytes.fromhex(code)) is None


def test_against_objdump(tmp_path: Path, decoder: Decoder) -> None:
    """Every ModRM byte, and SIB bytes, in each mode."""
    codes = [bytes((0x0F, opcode, modrm, 0x24, *range(1, 9))) for opcode in (0xC7, 0xAE) for modrm in range(256)]
    for mode in (16, 32, 64):
        for code, listed in zip(codes, disassemble(codes, mode, tmp_path), strict=True):
            got = decoder.extended(code, mode)
            mnemonic = listed.text.split()[0]
            assert (got.name if got else None) == (mnemonic if mnemonic in EXTENDED else None), (code.hex(), mode)
            if got:
                assert got.length == listed.length, (code.hex(), mode)
