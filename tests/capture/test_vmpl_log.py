# SPDX-License-Identifier: GPL-2.0-or-later
"""What one VMPL did, in order, from a raw log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snp_harness.capture.record import FLAG_WRITE, HostRecord, RecordKind, RecordOutcome, RecordRmpOp
from snp_harness.capture.vmpl_log import Step, steps
from tests.launch.ring import make_record

GUEST = 2
PC = 0xFFFFFF8000001000


def read(*records: dict[str, int], vmpl: int = 0) -> list[Step]:
    log = b"".join(make_record(number, **{"vmpl": 0, "rip": PC, **record}) for number, record in enumerate(records, 1))
    return list(steps([log], vmpl, GUEST))


def change(gpa: int, operation: RecordRmpOp = RecordRmpOp.PVALIDATE, **fields: int) -> dict[str, int]:
    return {"kind": RecordKind.RMP_CHANGE, "address": gpa, "aux": operation, **fields}


def test_pages_that_follow_each_other_are_one_step() -> None:
    found = read(change(0x1000), change(0x2000), change(0x3000), change(0x8000))
    assert [(step.what, step.count, step.end) for step in found] == [
        ("PVALIDATE 1000", 3, 0x4000),
        ("PVALIDATE 8000", 1, 0x9000),
    ]
    assert (
        found[0]
        .line(lambda _: "f+1")
        .endswith(f"0/0 {PC:X} f+1                             PVALIDATE 1000 to 3FFF (3 times)")
    )


def test_two_sorts_of_changes_page_by_page_are_two_steps() -> None:
    pages = range(0x1000, 0x5000, 0x1000)
    found = read(
        *(change(gpa, operation) for gpa in pages for operation in (RecordRmpOp.PVALIDATE, RecordRmpOp.RMPADJUST))
    )
    assert [(step.what, step.count) for step in found] == [("PVALIDATE 1000", 4), ("RMPADJUST 1000", 4)]


def test_a_large_page_and_what_follows_it() -> None:
    found = read(change(0x200000, size=1), change(0x400000, size=1), change(0x600000))
    assert [(step.what, step.count, step.end) for step in found] == [("PVALIDATE 200000", 3, 0x601000)]


def test_what_is_refused_does_not_continue() -> None:
    found = read(change(0x1000), change(0x2000, outcome=RecordOutcome.ERROR), change(0x3000))
    assert [step.what for step in found] == ["PVALIDATE 1000", "PVALIDATE, refused 2000", "PVALIDATE 3000"]


def test_the_order_is_kept() -> None:
    request = {"kind": RecordKind.GHCB_MSR, "address": 0x80, "value": 0x81}
    found = read(change(0x1000), request, change(0x2000), request, request)
    assert [(step.what.split()[0], step.count) for step in found] == [
        ("PVALIDATE", 1),
        ("GHCB", 1),
        ("PVALIDATE", 1),
        ("GHCB", 2),
    ]


def test_calls_are_in_the_track_of_who_answers() -> None:
    call = {"kind": RecordKind.SVSM_RESULT, "address": 1, "vmpl": GUEST}
    assert [step.what for step in read(call)] == ["answers core PVALIDATE of the guest: SUCCESS"]
    assert read(call, vmpl=GUEST) == []


def test_of_another_vmpl_nothing_is_shown() -> None:
    access = {"kind": RecordKind.APIC, "address": 0x80B, "path": 2, "flags": FLAG_WRITE, "vmpl": GUEST}
    assert read(access) == []
    assert [step.what for step in read(access, vmpl=GUEST)] == ["APIC EOI write, value 0"]


_FIELDS = {name: st.integers(0, 255) for name in ("vcpu", "vmpl", "size", "path", "outcome", "flags")}
_WORDS = {name: st.integers(0, 2**64 - 1) for name in ("time_ns", "rip", "address", "value", "extra")}


@given(
    st.lists(st.fixed_dictionaries({"kind": st.integers(0, 40), "aux": st.integers(0, 2**32 - 1), **_FIELDS, **_WORDS}))
)
def test_any_log_is_shown(records: list[dict[str, int]]) -> None:
    assert set(records[0] if records else ()) <= set(HostRecord._fields)
    for vmpl in range(4):
        for step in read(*records, vmpl=vmpl):
            assert "\n" not in step.line(lambda _: None)
            assert step.to_json(lambda _: None)["count"] == step.count
