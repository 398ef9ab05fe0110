# SPDX-License-Identifier: GPL-2.0-or-later
"""The plain lines that an in-SVSM test image prints, as results. A console is untrusted input: everything is bounded.

COCONUT's runners (kernel/src/testing.rs, user/lib/src/testing.rs) announce a number of tests, print a line before each
test, and nothing after it: a test has passed when the next one begins, or when the runner says that all have. A test
that fails panics. Lines with a result ("... ok") are read, too.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from dataclasses import dataclass, field

from snp_harness.svsm.panic import SvsmPanic, plain_line

#: Limits: results, characters of a line that are read, lines that are kept of a test, announced tests.
TESTS_MAX = 5000
LINE_MAX = 400
OUTPUT_MAX = 60
PLAN_MAX = 100_000

_RUNNING = re.compile(r"running (\d{1,6}) (?:user )?tests?")
_TEST = re.compile(r"test (\S{1,300}) \.\.\.(?: (ok|FAILED|ignored)(?:, (.{1,300}))?)?")
_SUITE_PASSED = re.compile(r"(?:Kernel|Usermodule) tests in svsm passed!")
_ALL_PASSED = "All tests passed!"
_WARNING = re.compile(r"WARN: (.{1,300})")


class TestStatus(enum.Enum):
    """The result of a test."""

    __test__ = False

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test. reason: why it failed or was skipped. output: the last lines that it printed. warnings: of those lines.

    seconds: until the next line about tests.
    """

    __test__ = False

    name: str
    status: TestStatus
    reason: str = ""
    seconds: float = 0.0
    output: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestReport:
    """What an image reported. plan: tests that it announced. defects: why this is not complete, one line each."""

    __test__ = False

    plan: int
    results: tuple[TestResult, ...]
    defects: tuple[str, ...]

    def of(self, status: TestStatus) -> tuple[TestResult, ...]:
        """Return the tests with that result."""
        return tuple(result for result in self.results if result.status is status)


@dataclass(slots=True)
class _Open:
    """A test that has begun."""

    name: str
    since_s: float
    shown: str
    output: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class TestLines:
    """Reads a console's text as it arrives.

    current: the test that runs, None between tests. since_s: when the last line about tests was read, None before the
    first. last_line: the last line that is not empty.
    """

    __test__ = False

    def __init__(self) -> None:
        self.since_s: float | None = None
        self.last_line = ""
        self._rest = ""
        self._plan = 0
        self._results: list[TestResult] = []
        self._names: Counter[str] = Counter()
        self._open: _Open | None = None
        self._ended = False
        self._defects: list[str] = []

    @property
    def current(self) -> str | None:
        """Return the name of the test that runs."""
        return None if self._open is None else self._open.name

    @property
    def ended(self) -> bool:
        """Whether the image has said that all tests passed."""
        return self._ended

    @property
    def counts(self) -> tuple[int, int]:
        """Return how many tests have a result, and how many were announced so far."""
        return len(self._results), self._plan

    def feed(self, text: str, now_s: float) -> None:
        """Read text. now_s: when it arrived."""
        *lines, rest = (self._rest + text).replace("\r", "").split("\n")
        self._rest = rest[:LINE_MAX]
        for line in lines:
            self._line(plain_line(line), now_s)

    def finish(self, panic: SvsmPanic | None = None, failure: str = "", now_s: float = 0.0) -> TestReport:
        """Return the report. panic: the SVSM's. failure: why the run ended in the middle, a hang for one."""
        if self._rest:
            self.feed("\n", now_s)
        reason = panic.text if panic is not None else failure
        if self._open is not None:
            self._close(TestStatus.FAILED, now_s, reason or "the run ended before the test did")
        elif reason:
            self._defect(reason)
        if not self._plan:
            self._defect("no tests were announced")
        elif len(self._results) != self._plan:
            last = f", the last one is {self._results[-1].name}" if self._results else ""
            self._defect(f"{len(self._results)} of {self._plan} tests were reported{last}")
        if not self._ended:
            self._defect("the image did not say that all tests passed")
        return TestReport(self._plan, tuple(self._results), tuple(self._defects))

    def _line(self, line: str, now_s: float) -> None:
        if not line:
            return
        self.last_line = line
        if match := _TEST.fullmatch(line):
            self._test(match[1], match[2], match[3] or "", now_s)
        elif match := _RUNNING.fullmatch(line):
            self.since_s = now_s
            self._plan = min(self._plan + int(match[1]), PLAN_MAX)
        elif _SUITE_PASSED.fullmatch(line) or line == _ALL_PASSED:
            self._pass(now_s)
            self.since_s = now_s
            self._ended = self._ended or line == _ALL_PASSED
        elif self._open is not None:
            if match := _WARNING.match(line):
                self._open.warnings.append(match[1])
                del self._open.warnings[OUTPUT_MAX:]
            self._open.output.append(line)
            del self._open.output[:-OUTPUT_MAX]

    def _test(self, name: str, result: str | None, reason: str, now_s: float) -> None:
        if result is None or self.current != name:
            self._pass(now_s)
            if not self._begin(name, now_s):
                return
        self.since_s = now_s
        if result == "ok":
            self._close(TestStatus.PASSED, now_s)
        elif result == "FAILED":
            self._close(TestStatus.FAILED, now_s, reason or "the image reported that it failed")
        elif result == "ignored":
            self._close(TestStatus.SKIPPED, now_s, reason or "ignored")

    def _begin(self, name: str, now_s: float) -> bool:
        if self._ended:
            self._defect(f"a test after the end: {name}")
            return False
        if len(self._results) >= TESTS_MAX:
            self._defect(f"more than {TESTS_MAX} tests")
            return False
        # A test is named without its crate: two of them may have the same name.
        self._names[name] += 1
        times = self._names[name]
        self._open = _Open(name, now_s, f"{name} ({times})" if times > 1 else name)
        return True

    def _pass(self, now_s: float) -> None:
        if self._open is not None:
            self._close(TestStatus.PASSED, now_s)

    def _close(self, status: TestStatus, now_s: float, reason: str = "") -> None:
        test, self._open = self._open, None
        assert test is not None
        seconds = max(0.0, now_s - test.since_s)
        self._results.append(
            TestResult(test.shown, status, reason, seconds, tuple(test.output[-OUTPUT_MAX:]), tuple(test.warnings))
        )

    def _defect(self, text: str) -> None:
        if len(self._defects) < OUTPUT_MAX:
            self._defects.append(text[:LINE_MAX])
