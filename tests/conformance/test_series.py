# SPDX-License-Identifier: GPL-2.0-or-later
"""Several runs as one result, and its reports. The runs are not made: a console is given for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest

from snp_harness.apic.contract import evaluate
from snp_harness.apic.event_kinds import UNANSWERED_CALL
from snp_harness.apic.timeline import Event
from snp_harness.conformance import series
from snp_harness.conformance.guest_run import ConformanceResult, prepare_guest
from snp_harness.conformance.image import PARAMETERS_OFFSET
from snp_harness.conformance.known import NONE_KNOWN, KnownFailures, parse_known
from snp_harness.conformance.reports import to_tap
from snp_harness.conformance.series import run_points
from snp_harness.conformance.tap import PointStatus, parse
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_VIOLATED
from snp_harness.firmware_run import PreparedBoot, RunResult
from snp_harness.vm.rundir import RunDirectory
from tests.apic.samples import timeline

NAMES = ("a/1", "a/2", "a/3", "b/1", "b/2")


def console(ends: frozenset[str], fails: frozenset[str], skipped: frozenset[str]) -> str:
    """The console of a guest with these points."""
    lines = ["TAP version 14", f"1..{len(NAMES)}"]
    for number, name in enumerate(NAMES, 1):
        if name in skipped:
            lines.append(f"ok {number} - {name} # SKIP by request")
            continue
        lines.append(f"# begin {name}")
        if name in ends:
            return "\n".join([*lines, ""])
        lines.append(f"{'not ' if name in fails else ''}ok {number} - {name}")
        if name in fails:
            lines += ["  ---", '  message: "text"', "  ..."]
    return "\n".join([*lines, "# end of the tests", ""])


@dataclass
class Runs:
    """A stand-in for run_guest. ends, fails: names of points that do so, in each run."""

    ends: frozenset[str] = frozenset()
    fails: frozenset[str] = frozenset()
    timeout: bool = False
    skipped: list[list[str]] = field(default_factory=list)

    def __call__(self, boot: PreparedBoot, directory: RunDirectory, _progress: object) -> ConformanceResult:
        names = boot.spec.image.data[PARAMETERS_OFFSET + 48 :].split(b"\0")[0].decode().split()
        self.skipped.append(names)
        call = Event(UNANSWERED_CALL, 1, 0, "apic CONFIGURE, RCX 0, RDX 0: no answer at the end of the run", {})
        events = (call,) if self.timeout else (call, Event("guest-termination", 2, 0, "", {}))
        seen = timeline(events=events, gaps=('the SVSM panicked: "text"',), complete=False)
        run = RunResult(evaluate(seen, observed_on="here"), seen, directory.path)
        return ConformanceResult(parse(console(self.ends, self.fails, frozenset(names))), run, "how")


Run = Callable[..., ConformanceResult]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def run(
        runs: Runs, known: KnownFailures = NONE_KNOWN, again: int = 4, skip: tuple[str, ...] = ()
    ) -> ConformanceResult:
        monkeypatch.setattr(series, "run_guest", runs)
        boot = prepare_guest("alternate-injection")
        with RunDirectory.create(tmp_path / "run", "emulated") as directory:
            return run_points(boot, directory, again=again, skip=skip, known=known)

    return run


def ended(*names: str) -> Runs:
    return Runs(frozenset(names), frozenset())


def test_a_run_without_an_end_is_one(run: Run) -> None:
    runs = Runs(fails=frozenset({"a/2"}))
    result = run(runs)
    assert runs.skipped == [[]]
    assert result.exit_status == EXIT_VIOLATED
    assert result.verdict == "does not conform: 4 passed, 1 failed, 0 skipped (how)"


def test_points_behind_one_that_ends_the_run_are_reached(run: Run, tmp_path: Path) -> None:
    runs = ended("a/2", "b/1")
    result = run(runs)
    assert runs.skipped == [[], ["a/2"], ["a/2", "b/1"]]
    statuses = [point.status for point in result.tap.points]
    assert statuses == [
        PointStatus.PASSED,
        PointStatus.ENDED_THE_RUN,
        PointStatus.PASSED,
        PointStatus.ENDED_THE_RUN,
        PointStatus.PASSED,
    ]
    assert result.exit_status == EXIT_VIOLATED
    assert result.verdict == "does not conform: 3 passed, 0 failed, 0 skipped, 2 ended the run (how)"
    first, second = result.of(PointStatus.ENDED_THE_RUN)
    assert dict(first.diagnostic) == {
        "message": 'the SVSM panicked: "text"',
        "call": "apic CONFIGURE, RCX 0, RDX 0: no answer at the end of the run",
        "run": str(tmp_path / "run"),
    }
    assert dict(second.diagnostic)["run"] == str(tmp_path / "run-again-1")


def test_the_number_of_runs_is_bounded(run: Run) -> None:
    runs = ended(*NAMES)
    result = run(runs, again=2)
    assert len(runs.skipped) == 3
    assert [point.name for point in result.of(PointStatus.ENDED_THE_RUN)] == ["a/1", "a/2", "a/3"]
    assert result.verdict.endswith(", 3 ended the run, 2 not reached (how)")
    assert run(ended("a/2"), again=0).verdict.endswith("1 ended the run, 3 not reached (how)")


def test_a_point_that_runs_at_the_timeout_is_not_blamed(run: Run) -> None:
    runs = Runs(frozenset({"a/2"}), timeout=True)
    result = run(runs)
    assert runs.skipped == [[]]
    assert (result.exit_status, result.not_passed) == (EXIT_INCONCLUSIVE, ())


def test_points_that_the_user_skips(run: Run) -> None:
    runs = ended("a/2", "b/1")
    result = run(runs, skip=("a/2",))
    assert runs.skipped == [["a/2"], ["a/2", "b/1"]]
    assert [point.name for point in result.of(PointStatus.SKIPPED)] == ["a/2"]


def test_known_failures_do_not_count(run: Run) -> None:
    known = parse_known("fails a/3 # one\nends-the-run b/1 # two", "list")
    result = run(Runs(frozenset({"b/1"}), frozenset({"a/3"})), known)
    assert (result.exit_status, result.unexpected) == (EXIT_HOLDS, ())
    assert result.verdict.startswith(
        "conforms but for known failures: 3 passed, 1 failed, 0 skipped, 1 ended the run, "
    )
    assert result.verdict.endswith(", as expected (how)")


@pytest.mark.parametrize(
    ("runs", "name"),
    [
        (Runs(fails=frozenset({"a/3"})), "b/1"),
        (Runs(fails=frozenset({"a/3", "b/1"})), "b/1"),
        (Runs(frozenset({"a/3", "b/1"})), "a/3"),
        (Runs(frozenset({"b/1"}), frozenset({"a/1", "a/3"})), "a/1"),
    ],
    ids=["unexpected pass", "fails only", "ends the run", "new failure"],
)
def test_another_result_than_the_known_one_stands_out(run: Run, runs: Runs, name: str) -> None:
    result = run(runs, parse_known("fails a/3 # one\nends-the-run b/1 # two", "list"))
    assert [point.name for point in result.unexpected] == [name]
    assert result.exit_status == EXIT_VIOLATED
    assert result.verdict.startswith("differs from the known failures: ")


def test_points_that_are_missing_are_inconclusive(run: Run) -> None:
    known = parse_known("ends-the-run a/2 # one", "list")
    assert run(ended("a/2"), known, again=0).exit_status == EXIT_INCONCLUSIVE


def test_reports(run: Run, tmp_path: Path) -> None:
    known = parse_known("fails a/3 # one\nends-the-run b/1 # two\nfails b/2 # three", "list")
    result = run(Runs(frozenset({"b/1"}), frozenset({"a/2", "a/3"})), known, skip=("a/1",))
    lines = (tmp_path / "run" / "results.tap").read_text(encoding="ascii").splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [
        "TAP version 14",
        "1..5",
        "ok 1 - a/1 # SKIP by request",
        "not ok 2 - a/2",
        "not ok 3 - a/3 # TODO one",
        "not ok 4 - b/1 # TODO two",
        "ok 5 - b/2 # TODO three",
    ]
    [suite] = ElementTree.parse(tmp_path / "run" / "junit.xml").getroot()
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5",
        "failures": "2",
        "errors": "0",
        "skipped": "3",
    }
    cases = {
        case.get("name"): [child.tag for child in case] for case in suite if case.get("classname") == "conformance.b"
    }
    assert cases == {"1": ["skipped"], "2": ["failure"]}
    assert "the SVSM panicked: 'text'" in to_tap(result)


def test_reports_of_an_incomplete_run(run: Run, tmp_path: Path) -> None:
    run(ended("a/2"), again=0)
    assert "\nBail out! 1 of 5 points were reported" in (tmp_path / "run" / "results.tap").read_text(encoding="ascii")
    [suite] = ElementTree.parse(tmp_path / "run" / "junit.xml").getroot()
    assert suite.get("errors") == "2"
