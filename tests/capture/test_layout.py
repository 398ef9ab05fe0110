# SPDX-License-Identifier: GPL-2.0-or-later
"""The log's layout and numbers in Python are those of the C header: a program compiled from it prints them."""

from __future__ import annotations

import enum
import subprocess
from pathlib import Path

import pytest

from snp_harness.capture import record

INCLUDE = Path(record.__file__).parents[2] / "emulator" / "include"
ENUMS: dict[str, type[enum.IntEnum]] = {
    "RECORD_PATH_": record.RecordPath,
    "RECORD_END_": record.RecordEnd,
    "RECORD_VIOLATION_": record.RecordViolation,
    "RECORD_RMP_": record.RecordRmpOp,
    "RECORD_IRQ_": record.RecordIrqSource,
}
OUTCOMES = {f"RECORD_{member.name}": member.value for member in record.RecordOutcome}
KINDS = {f"RECORD_{member.name}": member.value for member in record.RecordKind}
FLAGS = {
    "RECORD_WRITE": record.FLAG_WRITE,
    "RECORD_CR0_PE": record.FLAG_CR0_PE,
    "RECORD_CR0_PG": record.FLAG_CR0_PG,
    "RECORD_EFER_LMA": record.FLAG_EFER_LMA,
    "RECORD_CPL_SHIFT": record.FLAG_CPL_SHIFT,
    "RECORD_MAGIC": record.MAGIC,
    "RECORD_VERSION": record.VERSION,
}


def compile_and_run(directory: Path, name: str, body: str, header: str) -> list[list[str]]:
    """Compile a program that includes a header of the emulator; its output as words by line."""
    source, program = directory / f"{name}.c", directory / name
    source.write_text(f'#include <stdio.h>\n#include "{header}"\nint main(void) {{\n{body}\nreturn 0; }}\n')
    subprocess.run(["gcc", "-I", INCLUDE, source, "-o", program], check=True, timeout=60)
    done = subprocess.run([program], check=True, timeout=60, capture_output=True, text=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def header_values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """Names, offsets and sizes as the C compiler sees them."""
    names = [f"{prefix}{member.name}" for prefix, kind in ENUMS.items() for member in kind]
    names += [*OUTCOMES, *KINDS, *FLAGS]
    names += [f"offsetof(struct record, {name})" for name in record.RECORD_OFFSETS]
    names += [f"offsetof(struct record_ring, {name})" for name in record.RING_OFFSETS]
    names += ["sizeof(struct record)", "sizeof(struct record_ring)"]
    names += [f"sizeof(((struct record *)0)->{name})" for name in record.RECORD_OFFSETS]
    body = "\n".join(f'printf("%llu\\n", (unsigned long long)({name}));' for name in names)
    lines = compile_and_run(tmp_path_factory.mktemp("layout"), "record", body, "record.h")
    return {name: int(line[0]) for name, line in zip(names, lines, strict=True)}


def test_offsets(header_values: dict[str, int]) -> None:
    for name, offset in record.RECORD_OFFSETS.items():
        assert header_values[f"offsetof(struct record, {name})"] == offset, name
    for name, offset in record.RING_OFFSETS.items():
        assert header_values[f"offsetof(struct record_ring, {name})"] == offset, name
    assert header_values["sizeof(struct record)"] == record.RECORD_SIZE == record.RECORD.size
    assert header_values["sizeof(struct record_ring)"] == record.HEADER_SIZE


def test_struct_format_has_the_fields_of_the_header(header_values: dict[str, int]) -> None:
    assert tuple(record.RECORD_OFFSETS) == record.HostRecord._fields
    offset = 0
    for name, code in zip(record.RECORD_OFFSETS, record.RECORD.format.removeprefix("<"), strict=True):
        assert record.RECORD_OFFSETS[name] == offset
        size = {"Q": 8, "I": 4, "H": 2, "B": 1}[code]
        assert header_values[f"sizeof(((struct record *)0)->{name})"] == size, name
        offset += size


def test_numbers(header_values: dict[str, int]) -> None:
    for prefix, kind in ENUMS.items():
        for member in kind:
            assert header_values[prefix + member.name] == member, prefix + member.name
    for name, value in (OUTCOMES | KINDS | FLAGS).items():
        assert header_values[name] == value, name


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("record_path", len(record.RecordPath)),
        ("record_outcome", len(record.RecordOutcome)),
        ("record_kind", len(record.RecordKind)),
        ("record_end", len(record.RecordEnd)),
        ("record_violation", len(record.RecordViolation)),
        ("record_rmp_op", len(record.RecordRmpOp)),
        ("record_irq_source", len(record.RecordIrqSource)),
    ],
)
def test_no_member_of_the_header_is_missing(name: str, members: int) -> None:
    text = (INCLUDE / "record.h").read_text()
    body = text.partition(f"enum {name} {{")[2].partition("};")[0]
    assert body.count(" = ") == members


def test_check_word_is_the_header_s(tmp_path: Path) -> None:
    fields = record.HostRecord(7, 123456789, 0xFFFD1234, 0xFEE000F0, 0x1FF, 5, 0, 3, 1, 2, 4, 1, 0, 0x0F, 2)
    initial = ", ".join(f".{name} = {value}ull" for name, value in fields._asdict().items())
    body = f'struct record r = {{ {initial} }}; printf("%u\\n", record_check(&r));'
    [[printed]] = compile_and_run(tmp_path, "check", body, "record.h")
    packed = record.RECORD.pack(*fields)
    assert int(printed) == record.record_check(packed)
    assert record.checks_fit(record.RECORD.pack(*fields._replace(check=int(printed))))
