# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest and the ID block of the emulated security processor (publication 56860, sections 8.17 and 8.18)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.svsm.launch import PageType
from tests.emulator.native import Driver, compile_driver
from tests.helpers.c_headers import INCLUDE, assert_same, members

SOURCES = ("hardware/psp_launch.c", "hardware/sha384.c")
POLICY = 0x30000
MEASURED = (PageType.NORMAL, PageType.VMSA)
SUCCESS, INVALID_STATE, POLICY_FAILURE, BAD_MEASUREMENT, INVALID_PARAM = 0, 2, 7, 0xB, 0x16
RUNS = st.lists(
    st.tuples(
        st.sampled_from(PageType),
        st.integers(0, (1 << 40) - 1),
        st.integers(1, 3),
        st.integers(0, 2),
        st.integers(0, 1),
        st.booleans(),
    ),
    max_size=80,
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    with Driver(compile_driver(tmp_path_factory.mktemp("psp"), "psp_driver.c", *SOURCES)) as running:
        yield running


def extended(digest: bytes, kind: int, gpa: int, contents: bytes) -> bytes:
    """PAGE_INFO's hash, written down from the specification once more."""
    measured = hashlib.sha384(contents).digest() if kind in MEASURED else bytes(48)
    info = digest + measured + struct.pack("<HBBBBBBQ", 0x70, kind, 0, 0, 0, 0, 0, gpa)
    return hashlib.sha384(info).digest()


@given(RUNS)
def test_digest(driver: Driver, runs: list[tuple[PageType, int, int, int, int, bool]]) -> None:
    """Whether it is asked for at the end, between two runs, or there are more than wait for that."""
    driver.ask("begin", POLICY)
    expected = bytes(48)
    for kind, frame, pages, first, step, asked in runs:
        assert driver.ask("pages", kind, frame << 12, pages, first, step) == [SUCCESS]
        for page in range(pages):
            words = struct.pack("<512Q", *(first + number * step for number in range(512 * page, 512 * page + 512)))
            expected = extended(expected, kind, frame + page << 12, words)
        if asked:
            assert bytes(driver.ask("digest")) == expected
    assert bytes(driver.ask("digest")) == expected


@pytest.mark.parametrize(("block", "waiting"), [(0, 40 - 32), (1, 0)], ids=["no ID block", "its own"])
def test_pages_are_measured_when_the_digest_is_needed(driver: Driver, block: int, waiting: int) -> None:
    driver.ask("begin", POLICY)
    for number in range(40):
        driver.ask("pages", PageType.NORMAL, number << 12, 1, 1, 1)
    assert driver.ask("finish", block, POLICY, 0) == [SUCCESS]
    assert driver.ask("waiting") == [waiting]
    driver.ask("digest")
    assert driver.ask("waiting") == [0]


@pytest.mark.parametrize("kind", PageType)
def test_what_is_measured_needs_contents(driver: Driver, kind: PageType) -> None:
    driver.ask("begin", POLICY)
    assert driver.ask("nothing", kind) == [INVALID_PARAM if kind in MEASURED else SUCCESS]


@pytest.mark.parametrize(
    ("policy", "block", "status"),
    [
        (POLICY, (0, 0, 0), SUCCESS),
        (POLICY, (1, POLICY, 0), SUCCESS),
        (POLICY, (1, POLICY, 1), BAD_MEASUREMENT),
        (POLICY, (1, POLICY | 1 << 19, 0), POLICY_FAILURE),
        (0x10000, (0, 0, 0), POLICY_FAILURE),
    ],
    ids=["no ID block", "its own", "another digest", "another policy", "bit 17 of the policy"],
)
def test_finish(driver: Driver, policy: int, block: tuple[int, int, int], status: int) -> None:
    driver.ask("begin", policy)
    driver.ask("pages", PageType.NORMAL, 0x1000, 1, 1, 1)
    assert driver.ask("finish", *block) == [status]
    after = SUCCESS if status else INVALID_STATE
    assert driver.ask("pages", PageType.NORMAL, 0x2000, 1, 1, 1) == [after]


def test_unknown_type_of_page(driver: Driver) -> None:
    driver.ask("begin", POLICY)
    assert driver.ask("pages", 0, 0, 1, 0, 0) == [INVALID_PARAM]
    assert driver.ask("pages", 7, 0, 1, 0, 0) == [INVALID_PARAM]
    assert bytes(driver.ask("digest")) == bytes(48)


def test_types_have_the_header_s_numbers() -> None:
    assert_same([f"{INCLUDE}/psp.h"], members(PageType, "PSP_PAGE_{}"))
