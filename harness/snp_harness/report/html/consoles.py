# SPDX-License-Identifier: GPL-2.0-or-later
"""The consoles and logs of a run directory as lines. What a guest prints is hostile: it is shown, never interpreted."""

from __future__ import annotations

import enum
import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snp_harness.apic.jsonfield import TIME_MAX
from snp_harness.report.text import escape

#: Files of a run directory, and their headings.
CONSOLES = {
    "serial.log": "Guest's console",
    "svsm.log": "SVSM's console",
    "qemu-stderr.log": "QEMU's messages",
    "outer-console.log": "Outer kernel's console",
    "outer-qemu-stderr.log": "Outer QEMU's messages",
}
#: Bounds of a console: bytes at its begin and at its end, lines, and characters of a line.
HEAD_MAX = 48 << 10
TAIL_MAX = 144 << 10
LINES_MAX = 4_000
LINE_MAX = 500
#: The file with the times of what was read of them, and the bytes of it that are read.
TIMES = "consoles.json"
_TIMES_SIZE_MAX = 4 << 20
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?=]*[ -/]*[@-~]|[@-_])")
_ERROR = re.compile(
    r"panic|!!!! (?:X64|IA32) Exception|^ASSERT\b|\b(?:error|fatal|failed|failure|violation|oops|BUG)\b", re.IGNORECASE
)
_WARNING = re.compile(r"\bwarn(?:ing)?\b|not found|unsupported|\bcannot\b", re.IGNORECASE)


class Severity(enum.Enum):
    """How a line reads: by its words, since consoles have no levels."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a console. number: from 1. time_ns: when it was read, in the timeline's time; None if not recorded."""

    number: int
    text: str
    severity: Severity
    time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ConsoleText:
    """A console's lines. name: a word for links."""

    name: str
    title: str
    lines: tuple[Line, ...]


def read_consoles(directory: Path | None) -> list[ConsoleText]:
    """Return the consoles of a run directory that have text, in the order of CONSOLES."""
    if directory is None:
        return []
    found = []
    times = _times(directory / TIMES)
    for file, title in CONSOLES.items():
        pieces = _read(directory / file)
        if any(data.strip() for _, data in pieces):
            name = file.partition(".")[0]
            found.append(ConsoleText(name, title, tuple(_lines(pieces, times.get(file, [])))))
    return found


def _read(path: Path) -> list[tuple[int, bytes]]:
    """The text, in pieces with their offsets: one, or the begin and the end."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size <= HEAD_MAX + TAIL_MAX:
                return [(0, file.read(HEAD_MAX + TAIL_MAX))]
            head = file.read(HEAD_MAX)
            file.seek(size - TAIL_MAX)
            return [(0, head), (size - TAIL_MAX, file.read(TAIL_MAX))]
    except (OSError, ValueError):  # a path that no file system has
        return []


def _times(path: Path) -> dict[str, list[tuple[int, int]]]:
    """When the consoles were read, by file: offsets and times. Empty if that was not recorded, or is damaged."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_TIMES_SIZE_MAX))["consoles"]
        return {
            str(name): [(int(offset), min(max(0, int(time)), TIME_MAX)) for offset, time in marks]
            for name, marks in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return {}


def _lines(pieces: list[tuple[int, bytes]], marks: list[tuple[int, int]]) -> Iterator[Line]:
    """The lines of pieces. marks: when they were read."""
    listed: list[tuple[int | None, bytes]] = []
    end = 0
    for start, data in pieces:
        if start > end:
            listed.append((None, b"[%d bytes are not shown]" % (start - end)))
        at = start
        for raw in data.split(b"\n"):
            listed.append((at, raw))
            at += len(raw) + 1
        end = start + len(data)
    if len(listed) > LINES_MAX:
        half = LINES_MAX // 2
        left = b"[%d lines are not shown]" % (len(listed) - 2 * half)
        listed = [*listed[:half], (None, left), *listed[-half:]]
    offsets = [offset for offset, _ in marks]
    for number, (offset, raw) in enumerate(listed, start=1):
        text = escape(_ESCAPE.sub("", raw.decode("utf-8", "replace")).strip("\r").rstrip(), LINE_MAX)
        found = -1 if offset is None else bisect_right(offsets, offset) - 1
        yield Line(number, text, severity(text), marks[found][1] if found >= 0 else None)


def severity(text: str) -> Severity:
    """Return how a line reads."""
    if _ERROR.search(text):
        return Severity.ERROR
    return Severity.WARNING if _WARNING.search(text) else Severity.INFO
