# SPDX-License-Identifier: GPL-2.0-or-later
"""Core protocol, PVALIDATE: the list, the entries, and that no list of a guest changes memory of others."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snp_harness.svsm.protocol import CoreCall, Result
from tests.emulator.numbers import IGNORE_CF, LARGE, VALIDATE
from tests.emulator.svsm.driver import (
    CAA,
    FLASH,
    HIGH,
    LAUNCH_VMSA,
    PAGE,
    PAGE_2M,
    RAM_HIGH,
    RAM_LOW,
    SCRUB,
    SVSM_BASE,
    SVSM_SIZE,
    Rmp,
    Svsm,
)

LIST = 0x10000
UNCHANGED = Result.PROTOCOL_BASE + 0x10
FAIL_INPUT = Result.PROTOCOL_BASE + 1
SIZE_MISMATCH = Result.PROTOCOL_BASE + 6


def done(svsm: Svsm, at: int = LIST) -> int:
    return svsm.peek(at) >> 16 & 0xFFFF


def test_validates_clears_and_grants(svsm: Svsm) -> None:
    svsm.pages(0x200000, 1, "i")
    svsm.poke(0x200FF8, 0xDEAD)
    assert svsm.pvalidate([0x200000 | VALIDATE]).rax == Result.SUCCESS
    assert svsm.rmp(0x200000).state == "v"
    assert svsm.rmp(0x200000).permissions == (0, 0xF, 0)  # the guest's VMPL alone
    assert svsm.peek(0x200FF8) == 0
    assert done(svsm) == 1


def test_isa_range_is_validated_but_not_written(svsm: Svsm) -> None:
    svsm.pages(0xC0000, 1, "i")
    svsm.poke(0xC0000, 0xAA55)
    assert svsm.pvalidate([0xC0000 | VALIDATE]).rax == Result.SUCCESS
    assert svsm.peek(0xC0000) == 0xAA55


def test_content_stays_where_scrubbing_is_off(svsm: Svsm) -> None:
    svsm.boot(flags=0)
    svsm.pages(0x200000, 1, "i")
    svsm.poke(0x200000, 0x1234)
    assert svsm.pvalidate([0x200000 | VALIDATE]).rax == Result.SUCCESS
    assert svsm.peek(0x200000) == 0x1234


def test_large_page(svsm: Svsm) -> None:
    svsm.pages(PAGE_2M, 512, "U")
    assert svsm.pvalidate([PAGE_2M | VALIDATE | LARGE]).rax == Result.SUCCESS
    last = svsm.rmp(2 * PAGE_2M - PAGE)
    assert (last.state, last.permissions) == ("V", (0, 0xF, 0))


def test_large_entry_of_small_pages_is_a_size_mismatch(svsm: Svsm) -> None:
    svsm.pages(PAGE_2M, 512, "i")
    assert svsm.pvalidate([PAGE_2M | VALIDATE | LARGE]).rax == SIZE_MISMATCH
    assert svsm.rmp(PAGE_2M).state == "i"


def test_rescission_takes_permissions_first(svsm: Svsm) -> None:
    for vmpl in (1, 2, 3):
        svsm.command("grant", 0x200000, vmpl, 0xF)
    assert svsm.pvalidate([0x200000]).rax == Result.SUCCESS
    assert svsm.rmp(0x200000).state == "i"
    assert svsm.rmp(0x200000).permissions[1:] == (0, 0)


def test_unchanged_page_needs_ignore_cf(svsm: Svsm) -> None:
    assert svsm.pvalidate([0x200000 | VALIDATE]).rax == UNCHANGED
    assert done(svsm) == 0
    assert svsm.pvalidate([0x200000 | VALIDATE | IGNORE_CF]).rax == Result.SUCCESS
    assert svsm.rmp(0x200000).permissions == (0, 0xF, 0)


def test_stops_at_the_entry_that_fails_and_goes_on_there(svsm: Svsm) -> None:
    svsm.pages(0x200000, 3, "i")
    svsm.pages(0x201000, 1, "s")
    entries = [gpa | VALIDATE for gpa in (0x200000, 0x201000, 0x202000)]
    assert svsm.pvalidate(entries).rax == FAIL_INPUT
    assert done(svsm) == 1
    assert svsm.rmp(0x202000).state == "i"
    svsm.pages(0x201000, 1, "i")
    assert svsm.core(CoreCall.PVALIDATE, LIST).rax == Result.SUCCESS
    assert done(svsm) == 3


def test_list_may_take_away_its_own_page(svsm: Svsm) -> None:
    assert svsm.pvalidate([LIST, 0x200000]).rax == Result.INVALID_ADDRESS
    assert svsm.rmp(LIST).state == "i"
    assert svsm.rmp(0x200000).state == "v"


@pytest.mark.parametrize(
    ("count", "next_entry", "offset", "result"),
    [
        (0, 0, 0, Result.INVALID_PARAMETER),
        (1, 1, 0, Result.INVALID_PARAMETER),
        (1, 2, 0, Result.INVALID_PARAMETER),
        (511, 510, 0, Result.SUCCESS),
        (512, 511, 0, Result.INVALID_PARAMETER),
        (1, 0, 0xFF0, Result.SUCCESS),
        (2, 1, 0xFF0, Result.INVALID_PARAMETER),
        (1, 0, 0xFF8, Result.INVALID_PARAMETER),
        (1, 0, 4, Result.INVALID_PARAMETER),
    ],
)
def test_list_stays_in_its_page(svsm: Svsm, count: int, next_entry: int, offset: int, result: Result) -> None:
    at = LIST + offset
    if offset % 8 == 0:
        svsm.poke(at, count | next_entry << 16)
        if count <= 511 and offset + 8 + 8 * next_entry < PAGE:
            svsm.poke(at + 8 + 8 * next_entry, 0x200000 | VALIDATE | IGNORE_CF)
    assert svsm.core(CoreCall.PVALIDATE, at).rax == result


@pytest.mark.parametrize("at", [SVSM_BASE, LAUNCH_VMSA, RAM_LOW, HIGH + RAM_HIGH, FLASH - PAGE, 1 << 51, (1 << 64) - 8])
def test_list_outside_guest_memory(svsm: Svsm, at: int) -> None:
    assert svsm.core(CoreCall.PVALIDATE, at).rax == Result.INVALID_PARAMETER


def test_list_in_a_page_that_is_not_validated(svsm: Svsm) -> None:
    svsm.pages(LIST, 1, "s")
    assert svsm.core(CoreCall.PVALIDATE, LIST).rax == Result.INVALID_ADDRESS


@pytest.mark.parametrize(
    ("entry", "result"),
    [
        (0x200000 | 2, Result.INVALID_PARAMETER),
        (0x200000 | 3, Result.INVALID_PARAMETER),
        (0x201000 | LARGE, Result.INVALID_PARAMETER),
        (SVSM_BASE, Result.INVALID_ADDRESS),
        (SVSM_BASE + SVSM_SIZE - PAGE, Result.INVALID_ADDRESS),
        (SVSM_BASE | LARGE, Result.INVALID_ADDRESS),
        (LAUNCH_VMSA | VALIDATE, Result.INVALID_ADDRESS),
        (RAM_LOW, Result.INVALID_ADDRESS),
        (HIGH + RAM_HIGH - PAGE_2M | LARGE | VALIDATE, SIZE_MISMATCH),  # the last one that is all guest memory
        (HIGH + RAM_HIGH | LARGE, Result.INVALID_ADDRESS),
        (0x200000 | 1 << 51, Result.INVALID_ADDRESS),
        ((1 << 64) - PAGE, Result.INVALID_ADDRESS),
        ((1 << 64) - PAGE_2M | LARGE, Result.INVALID_ADDRESS),
    ],
)
def test_entry_is_checked(svsm: Svsm, entry: int, result: int) -> None:
    assert svsm.pvalidate([entry]).rax == result
    assert done(svsm) == 0


def empties(entry: int, gpa: int) -> bool:
    """The entry validates the page, and a page that is validated is emptied."""
    size = PAGE_2M if entry & 3 == LARGE else PAGE
    return bool(entry & VALIDATE) and entry // size == gpa // size


def test_list_may_empty_its_own_page(svsm: Svsm) -> None:
    """Each entry is read when its turn comes: after the one that empties the list, they are "rescind page 0"."""
    assert svsm.pvalidate([LIST | VALIDATE | IGNORE_CF, SVSM_BASE | VALIDATE]).rax == Result.SUCCESS
    assert svsm.peek(LIST) == 2 << 16  # only `next` was written after that
    assert svsm.rmp(0).state == "i"
    assert svsm.rmp(SVSM_BASE).permissions == (0, 0, 0)


@pytest.mark.parametrize("flags", [0, SCRUB])
def test_a_list_of_more_pages_than_a_batch_has(svsm: Svsm, flags: int) -> None:
    svsm.boot(flags=flags)
    svsm.pages(0x200000, 511, "i")
    entries = [0x200000 + page * PAGE | VALIDATE for page in range(511)]
    assert svsm.pvalidate(entries).rax == Result.SUCCESS
    assert done(svsm) == 511
    assert {svsm.rmp(entry & -PAGE) for entry in entries} == {Rmp("v", (0, 0xF, 0), vmsa=False)}
    svsm.pages(0x200000 + 500 * PAGE, 1, "s")
    assert svsm.pvalidate([entry & -PAGE for entry in entries]).rax == FAIL_INPUT
    assert done(svsm) == 500


def test_list_behind_an_entry_for_its_own_page_is_read_late(svsm: Svsm) -> None:
    """In one batch without scrubbing, too: here the list is not validated any more when its second entry is read."""
    svsm.boot(flags=0)
    assert svsm.pvalidate([LIST, 0x200000]).rax == Result.INVALID_ADDRESS
    assert svsm.rmp(LIST).state == "i"
    assert svsm.rmp(0x200000).state == "v"


SOME_PAGES = st.tuples(
    st.sampled_from([0x200000, 0x201000, 0x202000, 2 * PAGE_2M, 2 * PAGE_2M + PAGE, SVSM_BASE, LIST]),
    st.integers(0, 15),
).map(lambda parts: parts[0] | parts[1])


@given(
    entries=st.lists(SOME_PAGES, min_size=1, max_size=8),
    states=st.lists(st.tuples(st.sampled_from([0x200000, 0x201000, 2 * PAGE_2M]), st.sampled_from("suiv")), max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_does_what_its_entries_do_one_by_one(
    shared_svsm: Svsm, entries: list[int], states: list[tuple[int, str]]
) -> None:
    svsm = shared_svsm
    seen = []
    for together in (True, False):
        svsm.boot(flags=0)
        svsm.pages(2 * PAGE_2M, 512, "V")
        for gpa, state in states:
            svsm.pages(gpa, 1, state)
        svsm.poke(LIST, len(entries), *entries)
        for calls in range(len(entries)):
            if not together and svsm.rmp(LIST).state == "v":
                svsm.poke(LIST, calls + 1 | calls << 16)
            answer = svsm.core(CoreCall.PVALIDATE, LIST)
            if together or answer.rax != Result.SUCCESS:
                break
        pages = {entry & -PAGE for entry in entries} | {gpa for gpa, _ in states}
        at = done(svsm) if svsm.rmp(LIST).state == "v" else None
        seen.append((answer.rax, at, {gpa: svsm.rmp(gpa) for gpa in sorted(pages)}))
    assert seen[0] == seen[1]


ADDRESSES = st.one_of(
    st.integers(0, RAM_LOW // PAGE + 2).map(lambda page: page * PAGE),
    st.integers(-2, SVSM_SIZE // PAGE + 2).map(lambda page: SVSM_BASE + page * PAGE),
    st.integers(-2, RAM_HIGH // PAGE + 2).map(lambda page: HIGH + page * PAGE),
    st.sampled_from([FLASH, CAA, LAUNCH_VMSA, 1 << 47, 1 << 51]),
    st.integers(0, (1 << 52) - 1).map(lambda page: page * PAGE),
)
ENTRIES = st.tuples(ADDRESSES, st.integers(0, 0xFFF)).map(lambda parts: parts[0] | parts[1])


@given(
    entries=st.lists(ENTRIES, min_size=1, max_size=12),
    next_entry=st.integers(0, 13),
    at=ADDRESSES,
    offset=st.integers(0, 511).map(lambda quadword: quadword * 8),
    states=st.lists(st.tuples(ADDRESSES, st.sampled_from("suiv")), max_size=6),
)
@example(entries=[HIGH | VALIDATE | IGNORE_CF, SVSM_BASE], next_entry=0, at=HIGH, offset=0, states=[])
@settings(max_examples=150, deadline=None)
def test_no_list_reaches_the_svsm(
    shared_svsm: Svsm,
    entries: list[int],
    next_entry: int,
    at: int,
    offset: int,
    states: list[tuple[int, str]],
) -> None:
    """The SVSM's pages keep state, permissions and content; success means that it read the guest's memory only."""
    svsm = shared_svsm
    svsm.boot()
    marks = {SVSM_BASE + page * PAGE: 0x5A5A0000 + page for page in (0, 3, 17, SVSM_SIZE // PAGE - 1)}
    for gpa, value in marks.items():
        svsm.poke(gpa, value)
    for gpa, state in states:
        if not SVSM_BASE <= gpa < SVSM_BASE + SVSM_SIZE:
            svsm.pages(gpa, 1, state)
    svsm.poke(at + offset, *([len(entries) | next_entry << 16, *entries][: (PAGE - offset) // 8]))
    marks = {gpa: svsm.peek(gpa) for gpa in marks}  # the list itself may lie there

    answer = svsm.core(CoreCall.PVALIDATE, at + offset)

    for gpa, value in marks.items():
        assert svsm.peek(gpa) == value
        assert svsm.rmp(gpa).state == "v"
        assert svsm.rmp(gpa).permissions == (0, 0, 0)
    assert answer.rax in set(Result) | {UNCHANGED, FAIL_INPUT, SIZE_MISMATCH}
    assert answer.rax not in (Result.INCOMPLETE, Result.BUSY)
    if answer.rax == Result.SUCCESS:
        assert next_entry < len(entries)
        for entry in entries[next_entry:]:
            assert not SVSM_BASE <= entry < SVSM_BASE + SVSM_SIZE
            if empties(entry, at):
                break  # the entries behind it are 0 now
