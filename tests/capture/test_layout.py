# SPDX-License-Identifier: GPL-2.0-or-later
"""The log's layout and numbers in Python are those of the C header."""

from __future__ import annotations

from snp_harness.capture import record
from snp_harness.launch import ring
from tests.helpers.c_headers import INCLUDE, assert_same, constants, layout, members, values

HEADER = f"{INCLUDE}/record.h"
NUMBERS = {
    **members(record.RecordPath, "RECORD_PATH_{}"),
    **members(record.RecordOutcome, "RECORD_{}"),
    **members(record.RecordKind, "RECORD_{}"),
    **members(record.RecordEnd, "RECORD_END_{}"),
    **members(record.RecordRefused, "RECORD_REFUSED_{}"),
    **members(record.RecordViolation, "RECORD_VIOLATION_{}"),
    **members(record.RecordRmpOp, "RECORD_RMP_{}"),
    **members(record.RecordIrqSource, "RECORD_IRQ_{}"),
    "RECORD_WRITE": record.FLAG_WRITE,
    "RECORD_CR0_PE": record.FLAG_CR0_PE,
    "RECORD_CR0_PG": record.FLAG_CR0_PG,
    "RECORD_EFER_LMA": record.FLAG_EFER_LMA,
    "RECORD_CPL_SHIFT": record.FLAG_CPL_SHIFT,
    "RECORD_VALUE": record.FLAG_VALUE,
    "RECORD_ANSWERS_SHIFT": record.ANSWERS_SHIFT,
    "RECORD_ANSWERS_BITS": record.ANSWERS_BITS,
    "RECORD_LAUNCH_FINISH": record.LAUNCH_FINISH,
    "RECORD_MAGIC": ring.MAGIC,
    "RECORD_VERSION": ring.VERSION,
    "RECORD_GATE_OPEN": ring.GATE_OPEN,
    "RECORD_GATE_ASKED": ring.GATE_ASKED,
    "RECORD_GATE_CLOSED": ring.GATE_CLOSED,
    "RECORD_ACCOUNT_MAGIC": record.ACCOUNT_MAGIC,
    "RECORD_ACCOUNT_SLOTS": record.ACCOUNT_SLOTS,
    "RECORD_DIGEST_MODULUS": record.DIGEST_MODULUS,
}
#: How long the writer waits for the reader: only the writer knows it.
ONLY_IN_C = {"RECORD_WAIT_NS"}


def test_the_header_has_these_numbers_and_no_others() -> None:
    found = constants(HEADER, "RECORD_")
    assert {name: value for name, value in found.items() if name not in ONLY_IN_C} == NUMBERS


def test_the_structures_have_the_same_layout() -> None:
    header = layout([HEADER], "struct record_ring", ring.RING_OFFSETS)
    assert {name: offset for name, (offset, _) in header.items()} == ring.RING_OFFSETS
    fields = layout([HEADER], "struct record", record.RECORD_OFFSETS)
    assert {name: offset for name, (offset, _) in fields.items()} == record.RECORD_OFFSETS
    account = layout([HEADER], "struct record_account", record.ACCOUNT_OFFSETS)
    assert {name: offset for name, (offset, _) in account.items()} == record.ACCOUNT_OFFSETS
    assert_same([HEADER], {"sizeof(struct record_account)": record.ACCOUNT.size})
    sizes = {"sizeof(struct record)": ring.RECORD_SIZE, "sizeof(struct record_ring)": ring.HEADER_SIZE}
    assert_same([HEADER], sizes)


def test_struct_format_has_the_fields_of_the_header() -> None:
    assert tuple(record.RECORD_OFFSETS) == record.HostRecord._fields
    assert record.RECORD.size == ring.RECORD_SIZE
    sizes = {"Q": 8, "I": 4, "H": 2, "B": 1}
    expected, offset = [], 0
    for code in record.RECORD.format.removeprefix("<"):
        expected.append((offset, sizes[code]))
        offset += sizes[code]
    assert list(layout([HEADER], "struct record", record.RECORD_OFFSETS).values()) == expected


def test_check_word_is_the_header_s() -> None:
    fields = record.HostRecord(7, 123456789, 0xFFFD1234, 0xFEE000F0, 0x1FF, 5, 0, 3, 1, 2, 4, 1, 0, 0x0F, 2)
    initial = ", ".join(f".{name} = {value}ull" for name, value in fields._asdict().items())
    (check,) = values([HEADER], [f"record_check(&(struct record){{ {initial} }})"]).values()
    assert check == record.record_check(record.RECORD.pack(*fields))
    assert record.checks_fit(record.RECORD.pack(*fields._replace(check=check)))


def test_digest_is_the_headers() -> None:
    key = 0x123456789ABCDEF
    fields = record.HostRecord(*range(1, 16))._replace(seq=(1 << 64) - 1, value=(1 << 64) - 1)
    initial = ", ".join(f".{name} = {value}ull" for name, value in fields._asdict().items())
    start = record.DIGEST_MODULUS - 1
    powers = f"struct record_key powers; record_key_set(&powers, {key}ull)"
    digested = f"record_digest({start}ull, &powers, &(struct record){{ {initial} }})"
    (wanted,) = values([HEADER], [f"({{ {powers}; {digested}; }})"]).values()
    digest = record.Digest(key)
    digest.value = start
    digest.add(record.RECORD.pack(*fields))
    assert digest.value == wanted
