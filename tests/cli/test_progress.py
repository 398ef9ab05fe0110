# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import io
from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.verdict import RuleResult, Status
from snp_harness.cli import progress
from snp_harness.cli.progress import (
    BuildProgress,
    CellsProgress,
    FuzzProgress,
    PointsProgress,
    ProgressLine,
    TestsProgress,
)
from snp_harness.cli.resources import notify
from tests.apic import samples


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("snp_harness.cli.progress.monotonic", lambda: now[0])
    return now


def test_terminal_line_is_redrawn_over_the_longer_one_and_cleared(clock: list[float]) -> None:
    stream = Terminal()
    with ProgressLine(stream) as line:
        line.update(Phase.SEC, 7, 12345)
        clock[0] += 1
        line.update(Phase.PEI, 8)
    first, second, blank, end = stream.getvalue().split("\r")[1:]
    assert first == "SEC: 7 APIC accesses, 12345 exits, 0.0 s"
    assert second.rstrip() == "PEI: 8 APIC accesses, 1.0 s"
    assert len(second) == len(first)
    assert blank.strip() == ""
    assert end == ""


def test_terminal_line_is_not_redrawn_more_often_than_it_can_be_read(clock: list[float]) -> None:
    stream = Terminal()
    line = ProgressLine(stream)
    for accesses in range(100):
        line.update(Phase.SEC, accesses)
        clock[0] += progress.REDRAW_S / 10
    assert 10 <= stream.getvalue().count("\r") <= 11


def test_a_broken_rule_gets_a_line_of_its_own() -> None:
    stream = Terminal()
    with ProgressLine(stream) as line:
        line.update(Phase.SEC, 7)
        line.broken(RuleResult("x2apic-before-sec", Status.VIOLATED, "", (samples.DEFAULTS,)))
        line.broken(RuleResult("no-refused-access", Status.VIOLATED, "an access\x1b never completed"))
    assert stream.getvalue().split("\r")[-1] == (
        "snp-harness: violated: x2apic-before-sec: read of SVR 0F0 by SecMain+1A2B in SEC; the run goes on\n"
        "snp-harness: violated: no-refused-access: an access\\x1b never completed; the run goes on\n"
    )


def test_a_pipe_gets_whole_lines_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    with ProgressLine(stream) as line:
        line.update(Phase.SEC, 1)
        assert stream.getvalue() == ""
        clock[0] += progress.LINE_S
        line.update(Phase.SEC, 7, 9)
        clock[0] += 1
        line.update(Phase.PEI, 8, 10)
    assert stream.getvalue() == "SEC: 7 APIC accesses, 9 exits, 10.0 s\n"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_quiet_says_nothing(clock: list[float], stream: io.StringIO) -> None:
    with ProgressLine(stream, quiet=True) as line:
        clock[0] += 2 * progress.LINE_S
        line.update(Phase.SEC, 1)
    assert stream.getvalue() == ""


def test_points_are_counted_not_accesses(tmp_path: Path, clock: list[float]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    stream = Terminal()

    def shown(console: bytes | None, directory: Path = out) -> str:
        if console is not None:
            (directory / "serial.log").write_bytes(console)
        clock[0] += 10
        points.update(Phase.SEC, 5929)
        return stream.getvalue().rpartition("\r")[2].rstrip()

    points = PointsProgress(out, stream)
    assert shown(None) == "SEC: no points yet, 10.0 s"
    head = b"noise\r\nTAP version 14\r\n1..4\r\n# begin a/first\r\n"
    assert shown(head) == "0 of 4 points, a/first, 20.0 s"
    head += b"ok 1 - a/first\r\n# begin a/second\r\nnot ok 2 - a/second\r\n# begin b/third\r\n"
    assert shown(head) == "2 of 4 points, b/third, 30.0 s, about 30 s left"
    # The points are run again without one that has ended the run.
    again = tmp_path / "out-again-1"
    again.mkdir()
    assert shown(b"1..4\n# begin a/first\nok 1 - a/first\n", again).startswith("1 of 4 points, a/first, 40.0 s")


def test_the_cells_of_a_matrix(clock: list[float]) -> None:
    stream = Terminal()
    line = CellsProgress(4, stream)
    line.update(0, ["a/plain/emulated/1", "b/plain/emulated/1"])
    assert stream.getvalue() == "\r0 of 4 cells, a/plain/emulated/1 and 1 more, 0.0 s"
    clock[0] += 10
    line.update(1, ["b/plain/emulated/1"])
    assert stream.getvalue().split("\r")[-1].rstrip() == "1 of 4 cells, b/plain/emulated/1, 10.0 s, about 30 s left"
    line.say("b/plain: violated")
    assert stream.getvalue().endswith("\rsnp-harness: b/plain: violated\n")


def test_a_download_counts_megabytes(clock: list[float]) -> None:
    stream = Terminal()
    line = BuildProgress(100, stream)
    line("downloading x.deb, 40.0 MB")
    line.amount(0, 40_000_000)
    clock[0] += 5
    line.amount(10_000_000, 40_000_000)
    line("fetched")
    step, first, second, *_, last = stream.getvalue().split("\r")
    assert step == "snp-harness: downloading x.deb, 40.0 MB\n"
    assert first == "0.0 of 40.0 MB, 0 s"
    assert second == "10.0 of 40.0 MB, 5 s, about 15 s left"
    assert last == "snp-harness: fetched\n"


def test_notify_shows_a_download_where_stderr_is_a_file(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    for done in range(5):
        notify.amount(done * 1_000_000, 4_000_000)
        clock[0] += progress.LINE_S / 2
    notify("fetched")
    assert stream.getvalue().splitlines() == [
        "snp-harness: 2.0 of 4.0 MB, 10 s, about 10 s left",
        "snp-harness: 4.0 of 4.0 MB, 20 s",
        "snp-harness: fetched",
    ]


def test_modules_of_a_build_are_estimated_from_the_first_one_on(clock: list[float]) -> None:
    stream = Terminal()
    line = BuildProgress(11, stream)
    clock[0] += 1000
    line.module(1, "first")
    clock[0] += 10
    line.module(6, "sixth")
    assert stream.getvalue().split("\r")[-1] == "building: 5 of 11 modules, sixth, 1010 s, about 12 s left"


def test_tests_and_random_requests_are_counted(clock: list[float]) -> None:
    stream = Terminal()
    tests = TestsProgress(stream)
    tests.show(Phase.RESET, 0, 0, "")
    clock[0] += 10
    tests.show(Phase.SEC, 5, 20, "a::b")
    assert [text.rstrip() for text in stream.getvalue().split("\r")[1:]] == [
        "RESET: no tests yet, 0.0 s",
        "5 of 20 tests, a::b, 10.0 s, about 30 s left",
    ]
    fuzz = FuzzProgress(30, stream)
    fuzz.update(Phase.SEC, 12345)
    assert stream.getvalue().endswith("random requests for 30 s: 0 s")
