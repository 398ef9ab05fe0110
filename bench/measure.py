# SPDX-License-Identifier: GPL-2.0-or-later
"""Timing of one process from its start to what its guest writes on the serial console, and to its end.

What runs beside slows the wall time; QEMU's own processor time hardly.
"""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

#: Seconds between two looks at the console's file: the resolution of the marks.
POLL_S = 0.005
#: Seconds that a process gets to end after SIGTERM.
END_S = 10.0


class MeasureError(Exception):
    """A run did not do what is to be timed; the message says what was seen."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run.

    marks: seconds of wall time from the start of the process, by mark; `end` is there if the process ended by itself.
    qemu_cpu: seconds of processor time that QEMU had used then, by mark of the console.
    """

    marks: Mapping[str, float]
    status: int | None
    qemu_cpu: Mapping[str, float] = field(default_factory=dict)


def write_report(path: Path, report: Mapping[str, object], measured: Mapping[str, float] | None = None) -> None:
    """Write what was measured as JSON. measured: values by the names of aims (bench.aims)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**report, "measured": measured or {}}, indent=2) + "\n", encoding="utf-8")


def children_s() -> float:
    """Return the processor time of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def has_text(text: str) -> Callable[[bytes], bool]:
    """A predicate: the console shows this text."""
    wanted = text.encode()
    return lambda console: wanted in console


def measure(
    command: Sequence[str],
    console: Path | None,
    wanted: Mapping[str, Callable[[bytes], bool]],
    log: Path,
    timeout_s: float,
) -> Sample:
    """Starts `command`, notes when each predicate first holds for the console's file, then ends it.

    With nothing wanted, waits until it ends by itself: the mark `end`. log: where its stdout and stderr go.
    Raises MeasureError if it ends before every mark was seen, or if it takes longer than timeout_s seconds.
    """
    marks: dict[str, float] = {}
    qemu_cpu: dict[str, float] = {}
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while True:
                status = process.poll()
                elapsed = time.monotonic() - started
                seen = console.read_bytes() if console is not None and console.exists() else b""
                for name, holds in wanted.items():
                    if name not in marks and holds(seen):
                        marks[name] = elapsed
                        qemu_cpu[name] = _qemu_cpu_s(process.pid)
                if wanted and len(marks) == len(wanted):
                    return Sample(marks, status, qemu_cpu)
                if status is not None:
                    if wanted:
                        raise MeasureError(_unseen(wanted, marks, f"it ended with status {status}", log))
                    return Sample({"end": elapsed}, status)
                if elapsed > timeout_s:
                    raise MeasureError(_unseen(wanted, marks, f"{timeout_s:g} s were over", log))
                time.sleep(POLL_S)
        finally:
            _end(process)


def _qemu_cpu_s(pid: int) -> float:
    """Return the processor time in seconds of a process and its descendants that are a QEMU, all threads."""
    threads = Path(f"/proc/{pid}/task")
    try:
        program = Path(f"/proc/{pid}/exe").readlink().name
        # One that was unpacked with its own libraries is started through its loader.
        is_qemu = "qemu-system" in program or program.startswith("ld-linux")
        seconds = 0.0
        for thread in threads.iterdir():
            if is_qemu:
                # Its first number is the time on a processor, in nanoseconds.
                seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
            seconds += sum(_qemu_cpu_s(int(child)) for child in (thread / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return seconds


def _unseen(wanted: Mapping[str, object], marks: Mapping[str, float], why: str, log: Path) -> str:
    missing = ", ".join(name for name in wanted if name not in marks) or "its end"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"waited for {missing}: {why}; last said: {lines[-1] if lines else 'nothing'}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def met(is_met: bool) -> str:
    """Return whether an aim is met, in words."""
    return "met" if is_met else "not met"
