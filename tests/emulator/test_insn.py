# SPDX-License-Identifier: GPL-2.0-or-later
"""The instruction decoder, judged by GNU as (what was written) and objdump (what else the bytes could be)."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.emulator.insn import Decoder, Form, Kind, assemble, disassemble

ALU = ("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp")
BIT = ("bt", "bts", "btr", "btc")
GPR64 = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
SIZES = {"b": 1, "w": 2, "l": 4, "q": 8}
M64 = (1 << 64) - 1

# objdump's mnemonics for each kind (Intel syntax).
MNEMONICS = {
    Kind.MOV_LOAD: {"mov", "movabs"},
    Kind.MOV_STORE: {"mov", "movabs", "movnti"},
    Kind.MOV_STORE_IMM: {"mov"},
    Kind.MOVZX: {"movzx"},
    Kind.MOVSX: {"movsx", "movsxd"},
    Kind.XCHG: {"xchg"},
    Kind.TEST: {"test"},
    Kind.NOT: {"not"},
    Kind.NEG: {"neg"},
    Kind.INC: {"inc"},
    Kind.DEC: {"dec"},
    Kind.XADD: {"xadd"},
    Kind.CMPXCHG: {"cmpxchg"},
    Kind.STOS: {"stos"},
    Kind.LODS: {"lods"},
    Kind.MOVS: {"movs"},
}
WIDTHS = {"BYTE": 1, "WORD": 2, "DWORD": 4, "QWORD": 8}
TAKEN = {*ALU, *BIT, *(name for names in MNEMONICS.values() for name in names)}
REFUSED_FORMS = {"movsxd", "movnti"}  # without REX.W; with 66
PREFIX_WORDS = {
    *("lock", "rep", "repz", "repnz", "xacquire", "xrelease", "bnd"),
    *("data16", "data32", "addr16", "addr32"),
    *("cs", "ds", "es", "ss", "fs", "gs"),
}


def without_prefixes(text: str) -> list[str]:
    """The words of objdump's text from the mnemonic on."""
    return [word for word in text.split() if word not in PREFIX_WORDS and not word.startswith("rex")]


# What is written in 64-bit mode, and the fields that have to come out of it.
ACCESSES: list[tuple[str, dict[str, Any]]] = [
    ("movl (%rdi), %eax", {"kind": Kind.MOV_LOAD, "operand_size": 4, "register_size": 4, "reg": 0, "address_size": 8}),
    ("movl 0x80(%rdi), %r9d", {"kind": Kind.MOV_LOAD, "reg": 9}),
    ("movq 0x12345678(%r12,%r13,8), %r14", {"kind": Kind.MOV_LOAD, "operand_size": 8, "reg": 14}),
    ("movw %r10w, (%r13)", {"kind": Kind.MOV_STORE, "operand_size": 2, "reg": 10}),
    ("movb %ah, (%rdi)", {"kind": Kind.MOV_STORE, "operand_size": 1, "reg": 0, "high_byte": True}),
    ("movb (%rdi), %bh", {"kind": Kind.MOV_LOAD, "operand_size": 1, "reg": 3, "high_byte": True}),
    ("movb %spl, (%rdi)", {"kind": Kind.MOV_STORE, "operand_size": 1, "reg": 4, "high_byte": False}),
    ("movb %r12b, (%rdi)", {"kind": Kind.MOV_STORE, "operand_size": 1, "reg": 12, "high_byte": False}),
    ("movl %eax, 0x11223344(%rip)", {"kind": Kind.MOV_STORE, "length": 6}),
    ("movl %ecx, 0x7ee000b0", {"kind": Kind.MOV_STORE, "address_size": 8, "length": 7}),
    ("movl %eax, (%esp)", {"kind": Kind.MOV_STORE, "address_size": 4}),
    ("movl $0x12345678, (%rax)", {"kind": Kind.MOV_STORE_IMM, "operand_size": 4, "immediate": 0x12345678}),
    ("movl $-1, 4(%rax)", {"kind": Kind.MOV_STORE_IMM, "immediate": M64}),
    ("movq $-2, (%rax)", {"kind": Kind.MOV_STORE_IMM, "operand_size": 8, "immediate": M64 - 1}),
    ("movw $0x1234, (%rax)", {"kind": Kind.MOV_STORE_IMM, "operand_size": 2, "immediate": 0x1234}),
    ("movb $0x80, (%rax)", {"kind": Kind.MOV_STORE_IMM, "operand_size": 1, "immediate": M64 - 0x7F}),
    ("movzbl (%rdi), %r8d", {"kind": Kind.MOVZX, "operand_size": 1, "register_size": 4, "reg": 8, "high_byte": False}),
    ("movzwq (%rdi), %rdx", {"kind": Kind.MOVZX, "operand_size": 2, "register_size": 8, "reg": 2}),
    ("movzbw (%rdi), %si", {"kind": Kind.MOVZX, "operand_size": 1, "register_size": 2, "reg": 6}),
    ("movsbl (%rdi), %esi", {"kind": Kind.MOVSX, "operand_size": 1, "register_size": 4, "reg": 6}),
    ("movswq (%rdi), %rdi", {"kind": Kind.MOVSX, "operand_size": 2, "register_size": 8, "reg": 7}),
    ("movslq (%rdi), %r15", {"kind": Kind.MOVSX, "operand_size": 4, "register_size": 8, "reg": 15}),
    ("xchgl %ecx, (%rdi)", {"kind": Kind.XCHG, "operand_size": 4, "reg": 1}),
    ("lock xchgb %ch, (%rdi)", {"kind": Kind.XCHG, "reg": 1, "high_byte": True, "lock": True}),
    ("movabs 0x1122334455667788, %eax", {"kind": Kind.MOV_LOAD, "operand_size": 4, "reg": 0, "length": 9}),
    ("movabs %al, 0x1122334455667788", {"kind": Kind.MOV_STORE, "operand_size": 1, "reg": 0}),
    ("addr32 movabs %rax, 0x11223344", {"kind": Kind.MOV_STORE, "operand_size": 8, "address_size": 4, "length": 7}),
    ("movnti %rdx, (%rdi)", {"kind": Kind.MOV_STORE, "operand_size": 8, "reg": 2}),
    ("testl %ecx, (%rdi)", {"kind": Kind.TEST, "form": Form.MEM_REG, "operand_size": 4, "reg": 1}),
    ("testb $0x10, 0x81(%rdi)", {"kind": Kind.TEST, "form": Form.MEM_IMM, "operand_size": 1, "immediate": 0x10}),
    ("testq $-8, (%rdi)", {"kind": Kind.TEST, "form": Form.MEM_IMM, "operand_size": 8, "immediate": M64 - 7}),
    ("notw (%rdi)", {"kind": Kind.NOT, "operand_size": 2}),
    ("lock negl (%rdi)", {"kind": Kind.NEG, "operand_size": 4, "lock": True}),
    ("incb (%rdi)", {"kind": Kind.INC, "operand_size": 1}),
    ("lock decq (%rdi)", {"kind": Kind.DEC, "operand_size": 8, "lock": True}),
    ("lock xaddl %r11d, (%rdi)", {"kind": Kind.XADD, "operand_size": 4, "reg": 11, "lock": True}),
    ("lock cmpxchgw %bx, (%rdi)", {"kind": Kind.CMPXCHG, "operand_size": 2, "reg": 3, "lock": True}),
    ("rep stosl", {"kind": Kind.STOS, "operand_size": 4, "repeat": True}),
    ("stosb", {"kind": Kind.STOS, "operand_size": 1, "repeat": False, "length": 1}),
    ("lodsq", {"kind": Kind.LODS, "operand_size": 8}),
    ("rep movsq", {"kind": Kind.MOVS, "operand_size": 8, "repeat": True}),
    ("movsb %fs:(%rsi), %es:(%rdi)", {"kind": Kind.MOVS, "operand_size": 1, "segment": 5}),
    ("movsl %cs:(%rsi), %es:(%rdi)", {"kind": Kind.MOVS, "operand_size": 4, "segment": 0}),
    ("movl %gs:0x20(%rax), %eax", {"kind": Kind.MOV_LOAD, "segment": 6}),
    *(
        (
            f"{name}{size} %{register}, 0x300(%rbx)",
            {"kind": Kind.ALU, "form": Form.MEM_REG, "operation": number, "operand_size": SIZES[size], "reg": 1},
        )
        for number, name in enumerate(ALU)
        for size, register in (("b", "cl"), ("w", "cx"), ("l", "ecx"), ("q", "rcx"))
    ),
    *(
        (f"{name}l 0x300(%rbx), %edx", {"kind": Kind.ALU, "form": Form.REG_MEM, "operation": number, "reg": 2})
        for number, name in enumerate(ALU)
    ),
    *(
        (
            f"{name}{size} ${value}, (%rbx)",
            {
                "kind": Kind.ALU,
                "form": Form.MEM_IMM,
                "operation": number,
                "operand_size": SIZES[size],
                "immediate": value & M64,
            },
        )
        for number, name in enumerate(ALU)
        for size, value in (("b", 0x7F), ("w", 0x1234), ("w", -1), ("l", -2), ("l", 0x12345678), ("q", -0x1234567))
    ),
    *(
        (f"{name}l %eax, (%rbx)", {"kind": Kind.BIT, "form": Form.MEM_REG, "operation": number, "operand_size": 4})
        for number, name in enumerate(BIT)
    ),
    *(
        (f"{name}q $37, (%rbx)", {"kind": Kind.BIT, "form": Form.MEM_IMM, "operation": number, "immediate": 37})
        for number, name in enumerate(BIT)
    ),
    ("btsw $0x29, (%rbx)", {"kind": Kind.BIT, "immediate": 9, "operand_size": 2}),
]

ACCESSES_32: list[tuple[str, dict[str, Any]]] = [
    ("movl (%eax), %ebx", {"kind": Kind.MOV_LOAD, "operand_size": 4, "address_size": 4, "reg": 3}),
    ("movl %eax, 0xfee000f0", {"kind": Kind.MOV_STORE, "operand_size": 4, "length": 5}),
    ("movb %dh, (%eax,%ecx,4)", {"kind": Kind.MOV_STORE, "reg": 2, "high_byte": True}),
    ("movw %ax, 0x1234(%bx,%si)", {"kind": Kind.MOV_STORE, "operand_size": 2, "address_size": 2, "length": 6}),
    ("movl $5, %es:0x10(%ebp)", {"kind": Kind.MOV_STORE_IMM, "segment": 1, "immediate": 5}),
    ("movsl %cs:(%esi), %es:(%edi)", {"kind": Kind.MOVS, "segment": 2}),
    (".byte 0x82, 0x08, 0x7f", {"kind": Kind.ALU, "operation": 1, "operand_size": 1, "immediate": 0x7F}),
]

ACCESSES_16: list[tuple[str, dict[str, Any]]] = [
    ("movl (%eax), %ebx", {"kind": Kind.MOV_LOAD, "operand_size": 4, "address_size": 4, "reg": 3}),
    ("movw (%bx), %cx", {"kind": Kind.MOV_LOAD, "operand_size": 2, "address_size": 2, "reg": 1}),
    ("movw %cx, 0x1234", {"kind": Kind.MOV_STORE, "operand_size": 2, "length": 4}),
    ("movw %cx, 0x12(%bp)", {"kind": Kind.MOV_STORE, "operand_size": 2, "length": 3}),
    ("movw %ax, 0x1234", {"kind": Kind.MOV_STORE, "operand_size": 2, "length": 3}),
    ("movl $-2, (%di)", {"kind": Kind.MOV_STORE_IMM, "operand_size": 4, "immediate": M64 - 1}),
    ("movw $-2, (%di)", {"kind": Kind.MOV_STORE_IMM, "operand_size": 2, "length": 4, "immediate": M64 - 1}),
    ("lock orw $0x100, (%di)", {"kind": Kind.ALU, "operation": 1, "immediate": 0x100, "lock": True}),
]


@pytest.mark.parametrize(("mode", "table"), [(64, ACCESSES), (32, ACCESSES_32), (16, ACCESSES_16)])
def test_accesses(decoder: Decoder, tmp_path: Path, mode: int, table: list[tuple[str, dict[str, Any]]]) -> None:
    for (text, expected), code in zip(table, assemble([text for text, _ in table], mode, tmp_path), strict=True):
        insn = decoder.decode(code, mode)
        assert insn is not None, text
        got = {name: getattr(insn, name) for name in ("length", *expected)}
        assert got == {"length": len(code), **expected}, f"{text}: {code.hex()}"


@pytest.mark.parametrize(
    "text",
    [
        "movl %eax, %ebx",
        "xchgl %eax, %ebx",
        "addl $1, %eax",
        "pushq (%rax)",
        "call *(%rax)",
        "mull (%rax)",
        "lea (%rax), %rbx",
        "movaps (%rax), %xmm0",
        "vmovdqu (%rax), %ymm0",
        "movw %ds, (%rax)",
        "popq (%rax)",
        "fldl (%rax)",
        "cmpxchg8b (%rax)",
        ".byte 0xf0, 0x89, 0x08",  # LOCK MOV
        ".byte 0xf0, 0x39, 0x08",  # LOCK CMP
        ".byte 0xf0, 0x03, 0x08",  # LOCK ADD r, m
        ".byte 0xf0, 0x0f, 0xa3, 0x08",  # LOCK BT
        ".byte 0xc6, 0x08, 0x01",  # C6 /1
        ".byte 0xf7, 0xc0, 1, 0, 0, 0",  # TEST r, i
        ".byte 0x82, 0x08, 0x01",  # invalid in 64-bit mode
        ".byte 0x0f, 0xba, 0x18, 0x01",  # 0F BA /3
        ".byte 0x63, 0x08",  # MOVSXD without REX.W
    ],
)
def test_not_taken(decoder: Decoder, tmp_path: Path, text: str) -> None:
    (code,) = assemble([text], 64, tmp_path)
    assert decoder.decode(code) is None


SIMPLE_CODES = [
    ("cpuid", "0fa2"),
    ("cpuid", "480fa2"),
    ("cpuid", "f3660fa2"),
    ("rdmsr", "0f32"),
    ("wrmsr", "0f30"),
    ("hlt", "f4"),
    ("wbinvd", "0f09"),
    ("wbnoinvd", "f30f09"),
    ("invd", "0f08"),
    ("rdtsc", "0f31"),
    ("rdtscp", "0f01f9"),
    ("pause", "f390"),
    ("vmmcall", "0f01d9"),
    ("vmgexit", "f30f01d9"),
    ("vmgexit", "f20f01d9"),
    ("pvalidate", "f20f01ff"),
    ("rmpadjust", "f30f01fe"),
    ("invlpgb", "0f01fe"),
    ("tlbsync", "0f01ff"),
    ("rmp_batch", "0fb9c0"),
]


@pytest.mark.parametrize(("name", "code"), SIMPLE_CODES)
def test_simple(decoder: Decoder, name: str, code: str) -> None:
    data = bytes.fromhex(code)
    assert decoder.simple(data + b"\xcc\xcc") == (name, len(data))
    assert decoder.simple(data[:-1]) == ("", 0)


def test_simple_against_objdump(tmp_path: Path) -> None:
    """The table above is what binutils says (which shows ignored prefixes by themselves)."""
    others = ("cpuid", "vmgexit", "rmp_batch")
    known = [(name, bytes.fromhex(code)) for name, code in SIMPLE_CODES if name not in others]
    for (name, code), listed in zip(known, disassemble([code for _, code in known], 64, tmp_path), strict=True):
        assert listed.length == len(code)
        assert without_prefixes(listed.text)[0] == name


@pytest.mark.parametrize(
    "code",
    [
        # Others that SVM intercepts, or that raise #UD.
        "0f33",
        "0f01c8",
        "670f01c8",
        "0f01c9",
        "0f01fa",
        "0f01fb",
        "0f0138",
        "410f01bc2411223344",
        "0f013d11223344",
        "0f01df",
        "0f01d1",
        "f20f01fe",
        "f30f01ff",
        "f30f01fd",
        "0f01fd",
        # No such instruction, or cut off.
        "90",
        "f34190",
        "f00fa2",
        "0f01d8",
        "0f01d0",
        "0f0130",
        "0fa3",
        "0fb9",
        "0fb9c1",
        "f30fb9c0",
        "0f01c1",
        "f30f01f9",
        "f20f01c8",
        "",
        "f3",
        "0f",
    ],
)
def test_not_simple(decoder: Decoder, code: str) -> None:
    assert decoder.simple(bytes.fromhex(code)) == ("", 0)


def test_simple_in_other_modes(decoder: Decoder) -> None:
    assert decoder.simple(bytes.fromhex("480fa2"), 32) == ("", 0)  # DEC EAX
    assert decoder.simple(bytes.fromhex("0f013e3412"), 16) == ("", 0)  # INVLPG
    assert decoder.simple(bytes.fromhex("67660fa2"), 16) == ("cpuid", 4)
    assert decoder.simple(bytes.fromhex("0fa2"), 48) == ("", 0)


@pytest.mark.parametrize("gpr", range(16))
def test_cr_writes(decoder: Decoder, tmp_path: Path, gpr: int) -> None:
    numbers = (0, 2, 3, 4, 8)
    codes = assemble([f"mov %{GPR64[gpr]}, %cr{n}" for n in numbers], 64, tmp_path)
    for number, code in zip(numbers, codes, strict=True):
        assert decoder.cr_write(code) == (number, gpr, len(code)), code.hex()
        assert decoder.cr_write(code[:-1]) is None


@pytest.mark.parametrize("gpr", range(16))
def test_other_system_moves_are_no_cr_writes(decoder: Decoder, tmp_path: Path, gpr: int) -> None:
    register = GPR64[gpr]
    moves = [
        *(f"mov %cr{n}, %{register}" for n in (0, 2, 3, 4, 8)),
        *(f"mov %{register}, %db{n}" for n in range(8)),
        *(f"mov %db{n}, %{register}" for n in range(8)),
    ]
    for text, code in zip(moves, assemble(moves, 64, tmp_path), strict=True):
        assert decoder.cr_write(code) is None, text


@pytest.mark.parametrize(
    ("code", "mode", "expected"),
    [
        ("f00f22c1", 64, (8, 1, 4)),  # LOCK MOV CR0: CR8
        ("f00f22c1", 32, (8, 1, 4)),
        ("f00f22d9", 64, None),  # LOCK MOV CR3
        ("0f22c9", 64, None),  # CR1
        ("440f22c9", 64, None),  # CR9
        ("0f2218", 64, (3, 0, 3)),  # mod is ignored
        ("f3660f22d8", 64, (3, 0, 5)),
        ("0f22d8", 32, (3, 0, 3)),
        ("400f22c0", 32, None),  # INC EAX
    ],
)
def test_unusual_cr_writes(decoder: Decoder, code: str, mode: int, expected: tuple[int, int, int] | None) -> None:
    assert decoder.cr_write(bytes.fromhex(code), mode) == expected


@pytest.mark.parametrize("prefixes", ["66" * 13, "66" * 14, "66" * 15])
def test_fifteen_bytes(decoder: Decoder, prefixes: str) -> None:
    insn = decoder.decode(bytes.fromhex(prefixes + "8b00"))
    assert (insn is not None) == (len(prefixes) // 2 + 2 <= 15)


def test_rex_counts_before_the_opcode_only(decoder: Decoder) -> None:
    insn = decoder.decode(bytes.fromhex("4c668b00"))
    assert insn is not None
    assert (insn.operand_size, insn.reg, insn.length) == (2, 0, 4)


OPCODES = [
    *((op,) for op in range(0x40) if op & 7 < 4 and op != 0x0F),
    *(
        (op,)
        for op in (0x63, *range(0x80, 0x8C), *range(0xA0, 0xA6), *range(0xAA, 0xAE), 0xC6, 0xC7, 0xF6, 0xF7, 0xFE, 0xFF)
    ),
    *((0x0F, op) for op in (0xA3, 0xAB, 0xB3, 0xBB, 0xB0, 0xB1, 0xB6, 0xB7, 0xBA, 0xBE, 0xBF, 0xC0, 0xC1, 0xC3)),
]


def random_code(source: random.Random, mode: int) -> bytes:
    """An instruction-like string: a few prefixes, an opcode of the decoder's, then anything."""
    prefixes = source.sample([0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x26, 0x2E, 0x64], source.choice([0, 0, 0, 1, 1, 2]))
    rex = [source.randrange(0x40, 0x50)] if mode == 64 and source.random() < 0.5 else []
    return bytes([*prefixes, *rex, *source.choice(OPCODES)]) + source.randbytes(12)


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_random_codes_against_objdump(decoder: Decoder, tmp_path: Path, mode: int) -> None:
    source = random.Random(mode)
    codes = [random_code(source, mode)[:15] for _ in range(1500)]
    taken = 0
    for code, listed in zip(codes, disassemble(codes, mode, tmp_path), strict=True):
        insn = decoder.decode(code, mode)
        words = without_prefixes(listed.text)
        where = f"{code.hex()}: {listed.text}"
        if not words:  # objdump lists an ignored prefix as a line of its own
            continue
        if insn is None:
            memory = "PTR" in words and words[0] in TAKEN and len(code) >= listed.length
            assert not memory or 0xF0 in code[:2] or words[0] in REFUSED_FORMS, where
            continue
        taken += 1
        assert insn.length == listed.length, where
        expected = (
            {ALU[insn.operation]} if insn.kind is Kind.ALU else MNEMONICS.get(insn.kind, {BIT[insn.operation & 3]})
        )
        assert words[0] in expected, where
        if "PTR" in words:
            assert insn.operand_size == WIDTHS[words[words.index("PTR") - 1].split(",")[-1].split(":")[-1]], where
    assert taken > 500


@pytest.mark.parametrize("seed", range(1, 5))
def test_random_bytes(decoder: Decoder, seed: int) -> None:
    """No read past the end, no length above 15, no dependence on what follows: checked in the driver."""
    decoder.fuzz(seed, 5000)


#: Opcodes that ModRM.reg extends.
GROUPS = (
    *(bytes([number]) for number in (0x8F, *range(0xD8, 0xE0), 0xF6, 0xF7, 0xFF)),
    b"\x0f\x01",
    b"\x0f\xae",
    b"\x0f\xc7",
)
#: objdump's names of operand sizes.
WIDTHS = {"BYTE": 1, "WORD": 2, "DWORD": 4, "FWORD": 6, "QWORD": 8, "TBYTE": 10, "XMMWORD": 16}


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_width_against_objdump(decoder: Decoder, tmp_path: Path, mode: int) -> None:
    """Every opcode of the two maps with a memory operand, each prefix that selects a form, ModRM.reg if it does."""
    prefixes = (b"", b"\x66", b"\xf3", b"\xf2") + ((b"\x48",) if mode == 64 else ())
    opcodes = [bytes([number]) for number in range(256)] + [bytes([0x0F, number]) for number in range(256)]
    codes = [
        prefix + opcode + bytes([0x07 | reg << 3]) + bytes(8)
        for prefix in prefixes
        for opcode in opcodes
        for reg in (range(8) if opcode in GROUPS else (0,))
    ]
    found, wrong = 0, []
    for code, listed in zip(codes, disassemble(codes, mode, tmp_path), strict=True):
        match = re.search(r"\b([A-Z]+) PTR", listed.text)
        width = decoder.width(code, mode)
        if match is None or "(bad)" in listed.text or not width or match[1] not in WIDTHS:
            continue
        found += 1
        if width != WIDTHS[match[1]]:
            wrong.append((code.hex(), listed.text, width))
    assert not wrong
    assert found > 250


@pytest.mark.parametrize("size", range(1, 12))
def test_width_of_a_part_is_not_known(decoder: Decoder, size: int) -> None:
    assert decoder.width(bytes.fromhex("660f7e07")[:size]) in (0, 4)
    assert decoder.width(b"\x0f"[:size]) == 0
    assert decoder.width(b"\x66" * size) == 0
