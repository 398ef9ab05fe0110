# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench import answers
from bench.__main__ import CPU_AT, PLAIN, PYTHON, medians, table
from bench.measure import MeasureError, Sample, has_text, measure
from tests.vm.processes import children, fifo, is_running

#: The second text comes when the first was seen.
WRITER = """
import os, sys, time
with open(sys.argv[1], "w") as console:
    print(os.getpid(), "first", file=console, flush=True)
    open(sys.argv[2], "rb").read(1)
    print("Shell> ", file=console, flush=True)
    time.sleep(3600)
"""
#: Ends its child, as the command ends its QEMU.
PARENT = """
import signal, subprocess, sys
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: child.kill())
child.wait()
"""


def test_marks_are_in_order_and_the_process_is_ended(tmp_path: Path) -> None:
    console, seen = tmp_path / "serial.log", fifo(tmp_path / "seen")
    fd = os.open(seen, os.O_RDWR)

    def first(text: bytes) -> bool:
        found = has_text("first")(text)
        if found:
            os.write(fd, b"x")
        return found

    wanted = {"first": first, "shell": has_text("Shell> ")}
    sample = measure([sys.executable, "-c", WRITER, str(console), str(seen)], console, wanted, tmp_path / "log", 300)
    os.close(fd)
    assert 0 < sample.marks["first"] < sample.marks["shell"]
    assert sample.qemu_cpu == {"first": 0.0, "shell": 0.0}
    assert not is_running(int(console.read_text().split()[0]))


def test_a_process_without_marks_is_timed_to_its_end(tmp_path: Path) -> None:
    sample = measure([sys.executable, "-c", "raise SystemExit(3)"], None, {}, tmp_path / "log", 300)
    assert sample.status == 3
    assert sample.marks["end"] > 0
    assert not sample.qemu_cpu


def test_the_processor_time_is_that_of_a_qemu_below_the_process(tmp_path: Path) -> None:
    machine = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "none"]
    machine += ["-chardev", f"file,id=text,path={tmp_path / 'text'}", "-mon", "chardev=text,mode=control"]
    command = [sys.executable, "-c", PARENT, *machine]
    sample = measure(command, tmp_path / "text", {"greeted": has_text("QMP")}, tmp_path / "log", 300)
    # A QEMU that has started used some; Python, which waits above it, does not count.
    assert 0 < sample.qemu_cpu["greeted"] < sample.marks["greeted"]


def test_an_early_end_says_what_was_awaited_and_what_was_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no disk')"]
    with pytest.raises(MeasureError, match=r"waited for shell: it ended with status 0; last said: no disk"):
        measure(command, tmp_path / "none", {"shell": has_text("Shell>")}, tmp_path / "log", 300)


def test_a_timeout_ends_the_process(tmp_path: Path) -> None:
    before = set(children())
    command = [sys.executable, "-c", "import time; time.sleep(3600)"]
    with pytest.raises(MeasureError, match=r"waited for its end: 0\.3 s were over"):
        measure(command, None, {}, tmp_path / "log", 0.3)
    assert set(children()) <= before


def test_medians_and_ratios() -> None:
    samples = [Sample({"end": seconds}, 0) for seconds in (0.4, 9.0, 0.5)]
    assert medians(samples) == {"end": 0.5}
    samples = [Sample({"Shell> ": 1.0}, 0, {"Shell> ": seconds}) for seconds in (0.7, 0.2, 0.3)]
    assert medians(samples) == {"Shell> ": 1.0, "QEMU's CPU at Shell> ": 0.3}
    marks = ("BdsDxe: ", "Shell> ", CPU_AT.format("BdsDxe: "))
    results = {
        PLAIN: dict(zip(marks, (2.0, 8.0, 1.5), strict=True)),
        "emulated, I/O as #VC": dict(zip(marks, (4.6, 9.0, 4.1), strict=True)),
        "emulated, native": dict(zip(marks, (2.2, 8.4, 1.7), strict=True)),
        "emulated, native, in place": dict(zip(marks, (2.6, 8.4, 2.1), strict=True)),
        answers.TCG: {"end": 0.5},
        answers.VERDICT: {"end": 0.51},
        answers.TOLD: {answers.OFFENCE: 0.25, CPU_AT.format(answers.OFFENCE): 0.1},
        answers.FAIL_FAST: {"end": 0.31},
        PYTHON: {"end": 0.07},
    }
    text = table(results, marks[:2])
    assert "emulated, native                      1.70 s  1.13x, aim 1.45x: met" in text
    assert "emulated, native, in place            2.10 s  1.40x, aim 1.20x: not met" in text
    assert "plain TCG                             1.50 s  1.00x\n" in text
    assert "emulated, I/O as #VC, in place" not in text
    assert "8.40 s (1.05x)" in text
    assert "emulated, I/O as #VC                  4.10 s  2.73x, aim 2.20x: not met" in text
    assert "emulated to the end of SEC: 0.51 s, aim 1.00 s: met" in text
    assert "emulated, the first offence: 0.50x, aim 0.60x: met" in text
    assert "emulated, --fail-fast: 0.62x, aim 0.60x: not met" in text
    assert "fixed" not in text
    results |= {answers.TCG_FIXED: {"end": 0.4}, answers.HOLDS: {"end": 0.44}}
    assert "fixed: 1.10x, aim 1.15x: met" in table(results, marks[:2])
