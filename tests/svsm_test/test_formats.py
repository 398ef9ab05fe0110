# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP and JUnit: what other readers make of them."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from snp_harness.svsm_test.formats import junit, tap_lines
from snp_harness.svsm_test.lines import TestReport, TestResult, TestStatus

REPORT = TestReport(
    4,
    (
        TestResult("svsm::a::first", TestStatus.PASSED, seconds=0.25),
        TestResult("svsm::a::second", TestStatus.FAILED, 'no "port"', 1.5, ("said", "more")),
        TestResult("third", TestStatus.SKIPPED, "#[should_panic]"),
    ),
    ("3 of 4 tests were reported",),
)


def test_tap() -> None:
    assert list(tap_lines(REPORT)) == [
        "TAP version 14",
        "1..4",
        "ok 1 - svsm::a::first",
        "not ok 2 - svsm::a::second",
        "  ---",
        '  message: "no \\"port\\""',
        "  output:",
        '    - "said"',
        '    - "more"',
        "  seconds: 1.500",
        "  ...",
        "ok 3 - third # SKIP \\#[should_panic]",
        "# not complete: 3 of 4 tests were reported",
    ]


def test_junit() -> None:
    root = ElementTree.fromstring(junit(REPORT, "test.igvm", 2))
    [suite] = root
    counts = {name: suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped", "time")}
    assert counts == {
        "name": "test.igvm",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "1.750",
    }
    cases = {(case.get("classname"), case.get("name")): case for case in suite.iter("testcase")}
    assert list(cases) == [
        ("svsm::a", "first"),
        ("svsm::a", "second"),
        ("test.igvm", "third"),
        ("test.igvm", "the whole image"),
    ]
    assert cases["svsm::a", "second"].find("failure") is not None
    assert cases["svsm::a", "second"].findtext("system-out") == "said\nmore"
    assert cases["test.igvm", "the whole image"].find("error") is not None


_TEXT = st.text(min_size=1, max_size=30)


@given(st.lists(st.builds(TestResult, _TEXT, st.sampled_from(TestStatus), _TEXT, st.floats(0, 10), st.tuples(_TEXT))))
def test_any_report_is_xml_and_a_point_a_line(results: list[TestResult]) -> None:
    report = TestReport(len(results), tuple(results), ())
    [suite] = ElementTree.fromstring(junit(report, "x", 1))
    assert len(list(suite.iter("testcase"))) == len(results)
