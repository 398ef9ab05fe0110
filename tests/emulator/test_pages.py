# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor resolves an #NPF: pages are assigned, split or converted, and the guest continues."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.emulator.native import compile_driver
from tests.emulator.pages import SOURCES, End, Operation, Outcome, Pages, State, Violation
from tests.emulator.rmp import ASSIGNED, IS_LARGE, VALIDATED

PAGE = 0x1000
LARGE = 2 << 20
#: The driver's memory: two 2 MiB pages.
GPA = 0x10000000
END = GPA + 2 * LARGE
NOWHERE = END
SCRAMBLED = 0xA5


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    with Pages(compile_driver(tmp_path_factory.mktemp("pages"), "pages_driver.c", *SOURCES)) as pages:
        yield pages


@pytest.fixture
def pages(running: Pages) -> Pages:
    running.ask("reset")
    return running


def test_the_first_access_assigns_2m(pages: Pages) -> None:
    assert pages.access(GPA + 5 * PAGE) == End(Outcome.NOT_VALIDATED, 1)
    assert [pages.bits(gpa) for gpa in (GPA, GPA + LARGE - PAGE, GPA + LARGE)] == [ASSIGNED | IS_LARGE] * 2 + [0]
    assert pages.access(GPA + 6 * PAGE) == End(Outcome.NOT_VALIDATED)


def test_beside_a_shared_page_4k_is_assigned(pages: Pages) -> None:
    assert pages.access(GPA + PAGE, private=False) == End(Outcome.DONE, 1)
    assert pages.access(GPA) == End(Outcome.NOT_VALIDATED, 1)
    assert [pages.state(GPA + n * PAGE) for n in range(3)] == [State.PRIVATE, State.SHARED, State.NOT_PRESENT]
    assert pages.bits(GPA) == ASSIGNED


def test_pvalidate_is_tried_again(pages: Pages) -> None:
    assert pages.pvalidate(GPA, large=True) == End(Outcome.DONE, 1)
    assert pages.bits(GPA + LARGE - PAGE) == ASSIGNED | IS_LARGE | VALIDATED
    # Not assigned, then in 2 MiB: two #NPFs, each with another answer.
    assert pages.pvalidate(GPA + LARGE + PAGE) == End(Outcome.DONE, 2)
    assert [pages.bits(GPA + LARGE + n * PAGE) for n in (0, 1)] == [ASSIGNED, ASSIGNED | VALIDATED]


def test_a_2m_page_is_split_for_pvalidate(pages: Pages) -> None:
    pages.pvalidate(GPA, large=True)
    assert pages.pvalidate(GPA + PAGE, validate=False) == End(Outcome.DONE, 1)
    assert [pages.bits(GPA + n * PAGE) for n in (0, 1)] == [ASSIGNED | VALIDATED, ASSIGNED]


def test_a_shared_access_converts_the_page(pages: Pages) -> None:
    pages.pvalidate(GPA, large=True)
    assert pages.access(GPA + PAGE, private=False) == End(Outcome.DONE, 1)
    assert pages.state(GPA + PAGE) is State.SHARED
    assert [pages.bits(GPA + n * PAGE) for n in (0, 1)] == [ASSIGNED | VALIDATED, 0]
    assert pages.access(GPA + PAGE, private=False) == End(Outcome.DONE)
    assert pages.access(GPA) == End(Outcome.DONE)


@pytest.mark.parametrize("private", [False, True])
def test_a_change_in_a_2m_page_unmaps_the_others(pages: Pages, private: bool) -> None:
    if private:
        pages.pvalidate(GPA, large=True)
    else:
        assert pages.change(GPA, Operation.SHARED, large=True)
    assert pages.access(GPA + PAGE, private=private) == End(Outcome.DONE)
    assert pages.change(GPA, Operation.SHARED if private else Operation.PRIVATE)
    for page in (1, 300, 511):
        assert pages.access(GPA + page * PAGE, private=private) == End(Outcome.DONE, 1)
        assert pages.access(GPA + page * PAGE, private=private) == End(Outcome.DONE)
    # Those around it, 32 in all, have come back with it, and no others.
    for page, faults in ((288, 0), (319, 0), (287, 1), (320, 1)):
        assert pages.access(GPA + page * PAGE, private=private) == End(Outcome.DONE, faults)
    assert pages.state(GPA + PAGE) is (State.PRIVATE if private else State.SHARED)
    # The next change finds pages of 4 KiB.
    assert pages.change(GPA + PAGE, Operation.SHARED if private else Operation.PRIVATE)
    assert pages.access(GPA + 300 * PAGE, private=private) == End(Outcome.DONE)


def test_without_shortcuts_each_page_comes_back_by_an_exit_of_its_own(pages: Pages) -> None:
    pages.ask("shortcuts", 0)
    pages.pvalidate(GPA, large=True)
    assert pages.access(GPA + PAGE) == End(Outcome.DONE)
    assert pages.change(GPA, Operation.SHARED)
    for page, faults in ((1, 1), (2, 1), (3, 1), (2, 0)):
        assert pages.access(GPA + page * PAGE) == End(Outcome.DONE, faults)


@pytest.mark.parametrize("instruction", [False, True])
def test_a_private_access_to_a_shared_page_is_a_violation(pages: Pages, instruction: bool) -> None:
    assert pages.change(GPA, Operation.SHARED)
    pages.ask("put", GPA + 7, 0x33)
    if instruction:
        assert pages.pvalidate(GPA) == End(Outcome.DONE, 1, Violation.PVALIDATE)
    else:
        assert pages.access(GPA) == End(Outcome.NOT_VALIDATED, 1, Violation.SHARED)
    assert pages.ask("get", GPA + 7) == [SCRAMBLED]
    assert pages.ask("get", GPA + PAGE) == [0]


def test_permissions_cannot_be_resolved(pages: Pages) -> None:
    pages.pvalidate(GPA, large=True)
    assert pages.access(GPA, vmpl=2) == End(Outcome.STOPPED, 1)


def test_without_memory_the_fault_is_not_a_pages(pages: Pages) -> None:
    assert pages.access(NOWHERE) == End(Outcome.NO_MEMORY, 1)
    assert not pages.change(NOWHERE, Operation.SHARED)


def test_page_state_changes(pages: Pages) -> None:
    assert pages.change(GPA, Operation.SHARED, large=True)
    assert pages.state(GPA + LARGE - PAGE) is State.SHARED
    assert pages.change(GPA, Operation.PRIVATE, large=True)
    assert pages.bits(GPA + LARGE - PAGE) == ASSIGNED | IS_LARGE
    assert pages.change(GPA, Operation.PSMASH, large=True)
    assert pages.bits(GPA) == ASSIGNED
    assert pages.change(GPA, Operation.UNSMASH, large=True)
    assert pages.change(GPA + PAGE, Operation.SHARED)
    assert pages.change(GPA, Operation.PRIVATE, large=True)
    assert pages.bits(GPA + PAGE) == ASSIGNED


@pytest.mark.parametrize(
    ("gpa", "operation", "large"),
    [
        pytest.param(GPA + 1, Operation.SHARED, False, id="not-aligned"),
        pytest.param(GPA + PAGE, Operation.SHARED, True, id="2M-not-aligned"),
        pytest.param(GPA, Operation.PSMASH, False, id="psmash-of-4K"),
        pytest.param(NOWHERE, Operation.PRIVATE, True, id="no-memory"),
    ],
)
def test_page_state_changes_that_are_refused(pages: Pages, gpa: int, operation: Operation, large: bool) -> None:
    assert not pages.change(gpa, operation, large=large)
    assert pages.state(GPA) is State.NOT_PRESENT


def test_launch(pages: Pages) -> None:
    pages.ask("launch", GPA + LARGE - PAGE, LARGE + PAGE)
    assert pages.bits(GPA + LARGE - 2 * PAGE) == 0
    assert pages.bits(GPA + LARGE - PAGE) == ASSIGNED | VALIDATED
    assert pages.bits(GPA + LARGE) == ASSIGNED | VALIDATED | IS_LARGE
    assert pages.access(GPA + LARGE) == End(Outcome.DONE)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["access", "shared", "pvalidate", "rescind", *Operation]),
        st.sampled_from([0, 1, 2, 511, 512, 513]),
        st.booleans(),
    ),
    max_size=30,
)


@given(STEPS)
def test_a_guest_can_do_all_this_in_any_order(running: Pages, steps: list[tuple[str | Operation, int, bool]]) -> None:
    """No order of accesses and requests makes the RMP refuse what the page states allow, or the two disagree."""
    running.ask("reset")
    for step, page, large in steps:
        gpa = GPA + (page // 512 * LARGE if large else page * PAGE)
        if isinstance(step, Operation):
            running.change(gpa, step, large=large)
            continue
        if step in ("access", "shared"):
            end = running.access(gpa, private=step == "access")
        else:
            end = running.pvalidate(gpa, large=large, validate=step == "pvalidate")
        assert end.outcome in (Outcome.DONE, Outcome.NOT_VALIDATED)
        assert end.faults <= 2
        assert running.ask("agree") == [1]
