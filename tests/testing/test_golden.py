# SPDX-License-Identifier: GPL-2.0-or-later
"""Golden timelines: written beside the test, compared with a difference that can be read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from tests.apic import samples
from tests.testing.recorded import project, recording

TESTS = """
    import pytest

    @pytest.mark.snp_firmwares("stock.fd", "fixed.fd")
    def test_boot(snp_boot, snp_golden):
        snp_golden.check(snp_boot())

    class TestTwo:
        def test_named(self, snp_boot, snp_golden):
            snp_golden.check(snp_boot("stock.fd"), "stock")
            snp_golden.check(snp_boot("fixed.fd"), "fixed")
"""
FILES = [
    "TestTwo-test_named.fixed.jsonl",
    "TestTwo-test_named.stock.jsonl",
    "test_boot-fixed.fd.jsonl",
    "test_boot-stock.fd.jsonl",
]


@pytest.fixture
def golden(pytester: pytest.Pytester) -> Path:
    """The directory of the golden timelines of a project that has written them."""
    test = project(pytester, TESTS)
    result = pytester.runpytest("--snp-update-golden")
    result.assert_outcomes(passed=3)
    directory = pytester.path / "golden" / test.stem
    for name in FILES:
        result.stdout.fnmatch_lines_random([f"snp-harness: golden timeline written: {directory / name}"])
    return directory


def test_they_are_written_and_compared(pytester: pytest.Pytester, golden: Path) -> None:
    assert sorted(path.name for path in golden.iterdir()) == FILES
    before = {path: path.stat().st_mtime_ns for path in golden.iterdir()}
    pytester.runpytest().assert_outcomes(passed=3)
    # What is the same is not written again.
    result = pytester.runpytest("--snp-update-golden")
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*golden timeline written*")
    assert {path: path.stat().st_mtime_ns for path in golden.iterdir()} == before


def test_another_timeline_fails_with_the_difference(pytester: pytest.Pytester, golden: Path) -> None:
    recording(pytester, "stock", samples.timeline(samples.fixed_sec()))
    result = pytester.runpytest("-k", "stock.fd")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: the timeline is not the golden one: accesses: 2 came, 7 changed, 1 the same",
            "E *SecMain, vCPU 0",
            "E *+ write APIC_BASE 1B = FEE00D00 *",
            "E *~ read SVR 80F: path mmio -> msr, mode xAPIC -> x2APIC at SecMain+1A2B",
            f"E *golden: {golden}/test_boot-stock.fd.jsonl",
            "E *artefacts: */runs/*-emulated",
            "E *pytest --snp-update-golden writes it",
        ]
    )
    result.stdout.no_fnmatch_line("*snp_harness/*.py*")
    (written,) = (
        line for line in pytester.runpytest("--snp-update-golden").outlines if "written" in line and "boot" in line
    )
    assert written.endswith("test_boot-stock.fd.jsonl")


def test_workers_of_xdist_write_and_compare(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    result = pytester.runpytest_subprocess("-n2", "--snp-update-golden")
    result.assert_outcomes(passed=3)
    assert len([line for line in result.outlines if "golden timeline written" in line]) == len(FILES)
    pytester.runpytest_subprocess("-n2").assert_outcomes(passed=3)


def test_a_golden_timeline_that_is_not_there_fails(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    result = pytester.runpytest("-k", "stock.fd")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: there is no golden timeline"])
    assert not (pytester.path / "golden").exists()


@pytest.mark.parametrize("option", ["-v", "--snp-update-golden"])
def test_a_run_that_was_not_seen_whole_is_neither_compared_nor_written(
    pytester: pytest.Pytester, golden: Path, option: str
) -> None:
    text = (golden / "test_boot-stock.fd.jsonl").read_text()
    recording(pytester, "stock", samples.timeline(samples.stock_sec(), complete=False, gaps=("it was cut",)))
    result = pytester.runpytest("-k", "stock.fd", option)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: inconclusive: the run was not seen whole: it was cut"])
    assert (golden / "test_boot-stock.fd.jsonl").read_text() == text


def test_a_witness_that_sees_less_is_inconclusive(pytester: pytest.Pytester, golden: Path) -> None:
    blind = [dataclasses.replace(access, vmpl=None) for access in samples.stock_sec()]
    recording(pytester, "stock", samples.timeline(blind))
    result = pytester.runpytest("-k", "stock.fd")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: inconclusive: *", "E *did not observe it: vmpl"])


def test_another_platform_is_not_compared(pytester: pytest.Pytester, golden: Path) -> None:
    recording(pytester, "stock", samples.timeline(samples.stock_sec(), platform="tcg"))
    result = pytester.runpytest("-k", "stock.fd", "--snp-platform=tcg")
    result.stdout.fnmatch_lines(["E *the golden timeline is of emulated, and the run of tcg"])


def test_a_file_of_another_version_is_refused_in_one_line(pytester: pytest.Pytester, golden: Path) -> None:
    path = golden / "test_boot-stock.fd.jsonl"
    header, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps({**json.loads(header), "version": 9}) + "\n", *rest]))
    result = pytester.runpytest("-k", "stock.fd")
    result.stdout.fnmatch_lines([f"E *TimelineError: {path}, line 1: not snp-harness-golden version 1: *"])
    result.stdout.no_fnmatch_line("*snp_harness/*.py*")


def test_two_timelines_need_names(pytester: pytest.Pytester) -> None:
    project(
        pytester,
        """
        def test_it(snp_boot, snp_golden):
            for _ in range(2):
                snp_golden.check(snp_boot("stock.fd"))
        """,
    )
    result = pytester.runpytest("--snp-update-golden")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *a test has one golden timeline without a name: *"])
