# SPDX-License-Identifier: GPL-2.0-or-later
"""The RMP's rules: RMPUPDATE, PSMASH, PVALIDATE, RMPADJUST, and what each VMPL may do (APM vol. 2, 15.36)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.native import compile_driver
from tests.emulator.rmp import (
    ALL_P,
    ASID,
    ASSIGNED,
    FETCH,
    GPA,
    IS_LARGE,
    READ_P,
    SOURCES,
    SSS_P,
    SUPERVISOR_P,
    USER_P,
    VALIDATED,
    VMSA_ATTRIBUTE,
    WRITE,
    WRITE_P,
    Fault,
    Result,
    Rmp,
    Update,
)

MIB = 1 << 20
PAGE = 0x1000
LARGE = 2 * MIB
#: The driver's ranges: the 2 MiB page at 0 is covered in its upper half only, those at 2 and 4 MiB are whole.
A = 2 * MIB
B = 4 * MIB
PARTLY = 1 * MIB
SMALL = 0x40000000
NOWHERE = 0x50000000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rmp]:
    with Rmp(compile_driver(tmp_path_factory.mktemp("rmp"), "rmp_driver.c", *SOURCES)) as rmp:
        yield rmp


@pytest.fixture
def rmp(running: Rmp) -> Rmp:
    running.ask("reset")
    return running


@pytest.mark.parametrize(
    ("spa", "gpa", "large", "asid", "result"),
    [
        pytest.param(A, GPA, False, 1, Update.OK, id="4K"),
        pytest.param(A, GPA, True, 1, Update.OK, id="2M"),
        pytest.param(SMALL, GPA, False, 15, Update.OK, id="last-asid"),
        pytest.param(SMALL, GPA, False, 16, Update.INPUT, id="asid-too-large"),
        pytest.param(A + 1, GPA, False, 1, Update.INPUT, id="4K-not-aligned"),
        pytest.param(A + PAGE, GPA, True, 1, Update.INPUT, id="2M-not-aligned"),
        pytest.param(A, GPA + PAGE, True, 1, Update.INPUT, id="2M-gpa-not-aligned"),
        pytest.param(A, GPA + 1, False, 1, Update.INPUT, id="4K-gpa-not-aligned"),
        pytest.param(NOWHERE, GPA, False, 1, Update.INPUT, id="not-covered"),
        pytest.param(SMALL, GPA, True, 1, Update.INPUT, id="2M-covered-in-part"),
    ],
)
def test_rmpupdate(rmp: Rmp, spa: int, gpa: int, large: bool, asid: int, result: Update) -> None:
    assert rmp.update(spa, gpa, large=large, asid=asid) is result
    expected = ASSIGNED | (IS_LARGE if large else 0) if result is Update.OK else 0
    if spa != NOWHERE:
        assert rmp.bits(spa) == expected


def test_rmpupdate_of_2m_gives_each_page_its_own_gpa(rmp: Rmp) -> None:
    rmp.update(A, large=True)
    for page in (0, 1, 511):
        assert rmp.ask("read", A + page * PAGE) == [GPA + page * PAGE | 1 | 1 << 1 | ASID << 4]
    assert rmp.bits(B) == 0
    assert rmp.ask("read", NOWHERE) == [(1 << 64) - 1]


@pytest.mark.parametrize("page", [0, 1, 511])
def test_pages_of_two_sizes_do_not_overlap(rmp: Rmp, page: int) -> None:
    assert rmp.update(A + page * PAGE, GPA + page * PAGE) is Update.OK
    assert rmp.update(A, large=True) is Update.OVERLAP
    assert rmp.unassign(A, large=True) is Update.OVERLAP
    assert rmp.unassign(A + page * PAGE) is Update.OK
    assert rmp.update(A, large=True) is Update.OK
    assert rmp.update(A + page * PAGE, GPA + page * PAGE) is Update.OVERLAP
    assert rmp.unassign(A + page * PAGE) is Update.OVERLAP
    assert rmp.psmash(A) is Update.OK
    assert rmp.unassign(A + page * PAGE) is Update.OK
    assert rmp.update(A, large=True) is Update.OVERLAP


def test_rmpupdate_forgets_validation_and_permissions(rmp: Rmp) -> None:
    rmp.update(A)
    rmp.validate(A)
    rmp.adjust(A, 2 | ALL_P << 8)
    assert rmp.bits(A) == ASSIGNED | VALIDATED | ALL_P << 16
    rmp.update(A)
    assert rmp.bits(A) == ASSIGNED


def test_psmash_keeps_everything_but_the_size(rmp: Rmp) -> None:
    rmp.update(A, large=True)
    rmp.validate(A, large=True)
    rmp.adjust(A, 1 | READ_P << 8, large=True)
    assert rmp.psmash(A) is Update.OK
    for page in (0, 511):
        assert rmp.bits(A + page * PAGE) == ASSIGNED | VALIDATED | READ_P << 8
    assert rmp.ask("uniform", A) == [1]


@pytest.mark.parametrize("spa", [A + PAGE, 0, SMALL, NOWHERE])
def test_psmash_needs_a_whole_2m_page(rmp: Rmp, spa: int) -> None:
    assert rmp.psmash(spa) is Update.INPUT


@pytest.mark.parametrize("large", [False, True])
def test_pvalidate_says_whether_anything_changed(rmp: Rmp, large: bool) -> None:
    rmp.update(A, large=large)
    assert rmp.validate(A, large=large) == (Fault.OK, Result.SUCCESS, False)
    assert rmp.validate(A, large=large) == (Fault.OK, Result.SUCCESS, True)
    assert rmp.validate(A, large=large, validate=False) == (Fault.OK, Result.SUCCESS, False)
    assert rmp.validate(A, large=large, validate=False) == (Fault.OK, Result.SUCCESS, True)


def test_pvalidate_of_another_size(rmp: Rmp) -> None:
    rmp.update(A)
    assert rmp.validate(A, large=True)[:2] == (Fault.OK, Result.FAIL_SIZEMISMATCH)
    rmp.update(B, large=True)
    assert rmp.validate(B + PAGE, GPA + PAGE)[0] is Fault.SIZE
    assert rmp.bits(B + PAGE) == ASSIGNED | IS_LARGE
    rmp.psmash(B)
    assert rmp.validate(B + PAGE, GPA + PAGE) == (Fault.OK, Result.SUCCESS, False)
    assert (rmp.bits(B), rmp.bits(B + PAGE)) == (ASSIGNED, ASSIGNED | VALIDATED)


@pytest.mark.parametrize(
    ("gpa", "asid"),
    [pytest.param(GPA + PAGE, ASID, id="another-gpa"), pytest.param(GPA, ASID + 1, id="another-guest")],
)
def test_a_page_belongs_to_one_guest_at_one_gpa(rmp: Rmp, gpa: int, asid: int) -> None:
    rmp.update(A)
    rmp.validate(A)
    assert rmp.check(A) is Fault.OK
    assert rmp.check(A, gpa, asid=asid) is Fault.NOT_ASSIGNED
    assert rmp.validate(A, gpa, asid=asid, validate=False)[0] is Fault.NOT_ASSIGNED
    assert rmp.bits(A) == ASSIGNED | VALIDATED


def test_an_access_needs_an_assigned_and_a_validated_page(rmp: Rmp) -> None:
    assert rmp.check(A) is Fault.NOT_ASSIGNED
    assert rmp.validate(A)[0] is Fault.NOT_ASSIGNED
    assert rmp.adjust(A, 1)[0] is Fault.NOT_VALIDATED
    rmp.update(A)
    assert rmp.check(A) is Fault.NOT_VALIDATED
    assert rmp.adjust(A, 1) == (Fault.NOT_VALIDATED, Result.FAIL_INPUT)
    rmp.validate(A)
    assert rmp.check(A, info=WRITE) is Fault.OK


@pytest.mark.parametrize(
    ("permissions", "read", "write", "user", "supervisor"),
    [
        (0, False, False, False, False),
        (READ_P, True, False, False, False),
        (WRITE_P, False, False, False, False),
        (READ_P | WRITE_P, True, True, False, False),
        (READ_P | USER_P, True, False, True, False),
        (READ_P | SUPERVISOR_P, True, False, False, True),
        (READ_P | USER_P | SUPERVISOR_P, True, False, True, True),
        (ALL_P, True, True, True, True),
    ],
)
@pytest.mark.parametrize("vmpl", [1, 2, 3])
def test_permissions_of_a_vmpl(
    rmp: Rmp, vmpl: int, permissions: int, read: bool, write: bool, user: bool, supervisor: bool
) -> None:
    rmp.update(A)
    rmp.validate(A)
    assert rmp.adjust(A, vmpl | permissions << 8) == (Fault.OK, Result.SUCCESS)
    for cpl, fetch in ((0, supervisor), (3, user)):
        for info, allowed in ((0, read), (WRITE, write), (FETCH, fetch)):
            assert rmp.check(A, vmpl=vmpl, cpl=cpl, info=info) is (Fault.OK if allowed else Fault.VMPL)
            assert rmp.check(A, vmpl=0, cpl=cpl, info=info) is Fault.OK
            for other in {1, 2, 3} - {vmpl}:
                assert rmp.check(A, vmpl=other, cpl=cpl, info=info) is Fault.VMPL


@pytest.mark.parametrize(
    ("own", "attributes", "result"),
    [
        pytest.param(ALL_P, 3 | ALL_P << 8, Result.SUCCESS, id="its-own"),
        pytest.param(READ_P, 3 | READ_P << 8, Result.SUCCESS, id="less"),
        pytest.param(READ_P, 3 | (READ_P | WRITE_P) << 8, Result.FAIL_PERMISSION, id="more-than-it-has"),
        pytest.param(ALL_P, 3 | SSS_P << 8, Result.FAIL_PERMISSION, id="shadow-stack"),
        pytest.param(ALL_P, 3 | VMSA_ATTRIBUTE, Result.FAIL_PERMISSION, id="vmsa"),
    ],
)
def test_rmpadjust_below_vmpl0(rmp: Rmp, own: int, attributes: int, result: Result) -> None:
    rmp.update(A)
    rmp.validate(A)
    rmp.adjust(A, 2 | own << 8)
    assert rmp.adjust(A, attributes, vmpl=2) == (Fault.OK, result)


def test_rmpadjust_of_another_size(rmp: Rmp) -> None:
    rmp.update(A)
    rmp.validate(A)
    assert rmp.adjust(A, 1, large=True) == (Fault.OK, Result.FAIL_SIZEMISMATCH)
    rmp.update(B, large=True)
    rmp.validate(B, large=True)
    assert rmp.adjust(B, 1 | ALL_P << 8)[0] is Fault.SIZE
    assert rmp.adjust(B, 1 | ALL_P << 8, large=True) == (Fault.OK, Result.SUCCESS)
    assert rmp.bits(B + 511 * PAGE) == ASSIGNED | VALIDATED | IS_LARGE | ALL_P << 8


def test_vmsa_pages(rmp: Rmp) -> None:
    rmp.update(A)
    assert rmp.ask("vmsa", A) == [0]
    rmp.validate(A)
    rmp.adjust(A, 1 | VMSA_ATTRIBUTE)
    assert rmp.ask("vmsa", A) == [1]
    rmp.validate(A, validate=False)
    assert rmp.ask("vmsa", A) == [0]
    rmp.validate(A)
    rmp.adjust(A, 1)
    assert rmp.ask("vmsa", A) == [0]
    assert rmp.ask("vmsa", NOWHERE) == [0]


def test_uniform_is_all_512_pages_in_a_row(rmp: Rmp) -> None:
    assert rmp.ask("uniform", A) == [1]
    for page in range(512):
        rmp.update(A + page * PAGE, GPA + page * PAGE)
    assert rmp.ask("uniform", A + 5 * PAGE) == [1]
    rmp.validate(A + 511 * PAGE, GPA + 511 * PAGE)
    assert rmp.ask("uniform", A) == [0]
    rmp.update(A + 511 * PAGE, GPA)
    assert rmp.ask("uniform", A) == [0]


def test_ranges(rmp: Rmp) -> None:
    assert [rmp.ask("large", spa)[0] for spa in (PARTLY, A, A + LARGE - 1, SMALL, NOWHERE)] == [0, 1, 1, 0, 0]
    assert rmp.ask("cover") == [6]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["update", "unassign", "psmash", "validate", "rescind", "adjust"]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS)
def test_sizes_never_mix(running: Rmp, steps: list[tuple[str, int, bool]]) -> None:
    """After any sequence of instructions a 2 MiB page is one entry or 512."""
    running.ask("reset")
    for name, page, large in steps:
        offset = 0 if large else page * PAGE
        spa, gpa = A + offset, GPA + offset
        match name:
            case "update":
                running.update(spa, gpa, large=large)
            case "unassign":
                running.unassign(spa, large=large)
            case "psmash":
                running.psmash(A)
            case "adjust":
                running.adjust(spa, 1 | ALL_P << 8, gpa, large=large)
            case _:
                running.validate(spa, gpa, large=large, validate=name == "validate")
    sizes = {running.bits(A + page * PAGE) & IS_LARGE for page in (0, 1, 2, 3, 511)}
    assert len(sizes) == 1
    assert not any(
        running.bits(A + page * PAGE) & VALIDATED and not running.bits(A + page * PAGE) & ASSIGNED for page in range(4)
    )
