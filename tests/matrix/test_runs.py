# SPDX-License-Identifier: GPL-2.0-or-later
"""The processes of a matrix: all end, whatever ends it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from snp_harness.errors import BrokenEnvironmentError
from snp_harness.matrix.plan import Planned
from snp_harness.matrix.runs import Done, run_all
from tests.matrix.samples import place
from tests.vm.processes import children

#: Says where it is, waits, and says how it ended.
CHILD = """
import signal, sys, time
status, seconds, path = sys.argv[3:6]
def end(number, _):
    open(path, "w").write("ended")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
open(path, "w").write("runs")
time.sleep(float(seconds))
print("snp-harness: some news\\nsnp-harness: error: it is broken", file=sys.stderr)
sys.exit(int(status))
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of this Python, one that runs CHILD whatever module it is to run."""
    script = tmp_path / "python"
    (tmp_path / "child.py").write_text(CHILD)
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/child.py "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def cells(count: int) -> list[Planned]:
    return [Planned(place(f"f{number}"), Path("x"), "plain", refuses=False) for number in range(count)]


def command(tmp_path: Path, status: int, seconds: float) -> Callable[[Planned], Sequence[str]]:
    return lambda one: [str(status), str(seconds), str(tmp_path / one.place.firmware)]


@pytest.mark.usefixtures("python")
def test_some_at_a_time_and_each_once(tmp_path: Path) -> None:
    most = 0

    def tick(running: Sequence[Planned]) -> None:
        nonlocal most
        most = max(most, len(running))

    done = list(run_all(cells(5), command(tmp_path, 3, 0), 2, tick))
    assert {one.planned.place.firmware for one in done} == {f"f{number}" for number in range(5)}
    assert {(one.status, one.message) for one in done} == {(3, "it is broken")}
    assert most == 2


@pytest.mark.usefixtures("python")
def test_what_runs_is_ended_with_its_time_to_write_what_it_saw(tmp_path: Path) -> None:
    def interrupt(running: Sequence[Planned]) -> None:
        files = [tmp_path / one.place.firmware for one in running]
        if all(file.exists() and file.read_text() == "runs" for file in files):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_all(cells(3), command(tmp_path, 0, 60), 2, interrupt))
    assert [(tmp_path / f"f{number}").exists() for number in range(3)] == [True, True, False]
    assert {(tmp_path / name).read_text() for name in ("f0", "f1")} == {"ended"}


@pytest.mark.usefixtures("python")
def test_a_consumer_that_stops_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    runs = run_all(
        cells(2), lambda one: ["0", "0" if one.place.firmware == "f0" else "60", str(tmp_path / "x")], 2, _none
    )
    first = next(runs)
    assert isinstance(first, Done)
    started = time.monotonic()
    runs.close()
    assert time.monotonic() - started < 30
    assert set(children()) <= set(before)


def test_a_python_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(BrokenEnvironmentError, match="cannot run /nonexistent/python"):
        list(run_all(cells(1), lambda _: [], 1, _none))


def _none(_: Sequence[Planned]) -> None:
    """Nothing is shown."""
