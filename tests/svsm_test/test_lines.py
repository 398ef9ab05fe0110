# SPDX-License-Identifier: GPL-2.0-or-later
"""The plain lines of a test image as results: whole, cut off by a panic or a hang, and hostile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from snp_harness.svsm.panic import find_panic
from snp_harness.svsm_test.lines import OUTPUT_MAX, TESTS_MAX, TestLines, TestReport, TestStatus

WHOLE = """\
[SVSM] CPU vendor Amd
[SVSM test task] running 4 tests
[SVSM test task] test svsm::address::tests::first ...
[SVSM test task] test svsm::greq::services::tests::report ...
[SVSM test task] WARN: Assertion warning failed at kernel/src/greq/services.rs:145:13:
assertion `left == right` failed
[SVSM test task] test svsm::io::tests::panics ... ignored, #[should_panic] not supported
[SVSM test task] test svsm::io::tests::last ...
[SVSM test task] from the test
[SVSM test task] Kernel tests in svsm passed!
[SVSM test task] Running tests in svsm for uapi_tester
[uapi_tester] running 1 user tests
[uapi_tester] test uapi_tester::tests::memory ...
[uapi_tester] Usermodule tests in svsm passed!
[SVSM test task] All tests passed!
"""
PANIC = """\
[SVSM test task] ERROR: Panic on CPU[1]! COCONUT-SVSM Version: x
[SVSM test task] ERROR: Info: panicked at kernel/src/io.rs:7:9:
no port
[SVSM test task] ---BACKTRACE---:
[SVSM test task]   [ffffff8000000010] svsm::io::get+0x1
[SVSM test task] ---END---
"""


def read(text: str, **end: object) -> TestReport:
    lines = TestLines()
    for number, line in enumerate(text.splitlines(keepends=True)):
        lines.feed(line, float(number))
    return lines.finish(**end)  # type: ignore[arg-type]


def names(report: TestReport, status: TestStatus) -> list[str]:
    return [result.name.rpartition("::")[2] for result in report.of(status)]


def test_a_whole_run() -> None:
    report = read(WHOLE)
    assert report.plan == 5
    assert report.defects == ()
    assert names(report, TestStatus.PASSED) == ["first", "report", "last", "memory"]
    assert names(report, TestStatus.SKIPPED) == ["panics"]
    [skipped] = report.of(TestStatus.SKIPPED)
    assert skipped.reason == "#[should_panic] not supported"
    [warned] = [result for result in report.results if result.warnings]
    assert warned.warnings == ("Assertion warning failed at kernel/src/greq/services.rs:145:13:",)
    assert report.results[3].output == ("from the test",)
    assert [result.seconds for result in report.results] == [1.0, 3.0, 0.0, 2.0, 1.0]


def test_lines_with_results_and_carriage_returns() -> None:
    text = (
        "running 3 tests\r\ntest a ... ok\r\ntest b ... FAILED\r\ntest c ...\r\ntest c ... ok\r\nAll tests passed!\r\n"
    )
    report = read(text)
    assert [(result.name, result.status) for result in report.results] == [
        ("a", TestStatus.PASSED),
        ("b", TestStatus.FAILED),
        ("c", TestStatus.PASSED),
    ]
    assert report.defects == ()


def test_a_panic_fails_the_test_that_runs() -> None:
    text = WHOLE.partition("[SVSM test task] from the test")[0] + PANIC
    report = read(text, panic=find_panic(text))
    [failed] = report.of(TestStatus.FAILED)
    assert failed.name == "svsm::io::tests::last"
    assert failed.reason == "no port, at kernel/src/io.rs:7:9"
    assert failed.output[-2:] == ("  [ffffff8000000010] svsm::io::get+0x1", "---END---")
    assert report.defects == ("the image did not say that all tests passed",)


def test_a_test_that_hangs_fails() -> None:
    report = read(WHOLE.partition("[SVSM test task] Kernel")[0], failure="no end in 5 s")
    [failed] = report.of(TestStatus.FAILED)
    assert (failed.name, failed.reason) == ("svsm::io::tests::last", "no end in 5 s")
    assert failed.output == ("from the test",)


def test_an_end_between_tests_is_not_a_test_s() -> None:
    report = read(WHOLE.partition("[uapi_tester] running")[0], failure="the SVSM ended")
    assert report.of(TestStatus.FAILED) == ()
    assert report.defects == ("the SVSM ended", "the image did not say that all tests passed")


def test_an_image_that_reports_fewer_tests_than_it_announced() -> None:
    report = read("running 3 tests\ntest a ...\nAll tests passed!\n")
    assert report.defects == ("1 of 3 tests were reported, the last one is a",)


def test_nothing_of_an_image() -> None:
    assert read("SeaBIOS\n").defects == ("no tests were announced", "the image did not say that all tests passed")


def test_two_tests_of_the_same_name_and_one_after_the_end() -> None:
    report = read("running 2 tests\ntest a ...\ntest a ...\nAll tests passed!\ntest b ...\n")
    assert names(report, TestStatus.PASSED) == ["a", "a (2)"]
    assert report.defects == ("a test after the end: b",)


def test_the_last_line_and_the_current_test() -> None:
    lines = TestLines()
    assert (lines.current, lines.since_s) == (None, None)
    lines.feed("running 1 tests\ntest a ...\nwork", 3.0)
    assert (lines.current, lines.since_s, lines.last_line, lines.counts) == ("a", 3.0, "test a ...", (0, 1))
    lines.feed("ing\n", 4.0)
    assert (lines.last_line, lines.since_s, lines.ended) == ("working", 3.0, False)


@given(st.integers(0, len(WHOLE)), st.integers(1, 40))
def test_pieces_are_the_same_as_the_whole(end: int, size: int) -> None:
    """However the text arrives; a run that is cut off is never complete."""
    text = WHOLE[:end]
    whole, pieces = TestLines(), TestLines()
    whole.feed(text, 0.0)
    for at in range(0, len(text), size):
        pieces.feed(text[at : at + size], 0.0)
    assert (found := pieces.finish()) == whole.finish()
    if "All tests passed!" not in text:
        assert found.defects


@given(st.lists(st.sampled_from(WHOLE.splitlines()) | st.text(max_size=30)))
def test_any_console_is_bounded(lines: list[str]) -> None:
    report = read("\n".join(lines))
    assert len(report.results) <= TESTS_MAX
    assert len({result.name for result in report.results}) == len(report.results)
    for result in report.results:
        assert len(result.output) <= OUTPUT_MAX
        assert all(line.isprintable() for line in (*result.output, result.name, result.reason))


def test_a_line_without_end_and_endless_output_are_bounded() -> None:
    lines = TestLines()
    lines.feed("running 1 tests\ntest a ...\n", 0.0)
    for _ in range(1000):
        lines.feed("x" * 10_000, 0.0)
    for number in range(10 * OUTPUT_MAX):
        lines.feed(f"line {number}\nWARN: {number}\n", 0.0)
    [result] = lines.finish().results
    assert len(result.output) == OUTPUT_MAX
    assert len(result.warnings) == OUTPUT_MAX
