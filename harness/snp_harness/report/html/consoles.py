# SPDX-License-Identifier: GPL-2.0-or-later
"""The consoles and logs of a run directory as lines. What a guest prints is hostile: it is shown, never interpreted."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
    """A line of a console. number: from 1."""

    number: int
    text: str
    severity: Severity


@dataclass(frozen=True, slots=True)
class ConsoleText:
    """A console's lines. name: a word for links. left: bytes in its middle that are not among the lines."""

    name: str
    title: str
    lines: tuple[Line, ...]
    left: int


def read_consoles(directory: Path | None) -> list[ConsoleText]:
    """Return the consoles of a run directory that have text, in the order of CONSOLES."""
    found = []
    for file, title in CONSOLES.items():
        data, left = _read(directory / file) if directory is not None else (b"", 0)
        if data.strip():
            name = file.partition(".")[0]
            found.append(ConsoleText(name, title, tuple(_lines(data)), left))
    return found


def _read(path: Path) -> tuple[bytes, int]:
    """The text, and how many bytes in its middle are left out."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size <= HEAD_MAX + TAIL_MAX:
                return file.read(HEAD_MAX + TAIL_MAX), 0
            head = file.read(HEAD_MAX)
            file.seek(size - TAIL_MAX)
            left = size - HEAD_MAX - TAIL_MAX
            return head + b"\n[%d bytes are not shown]\n" % left + file.read(TAIL_MAX), left
    except (OSError, ValueError):  # a path that no file system has
        return b"", 0


def _lines(data: bytes) -> Iterator[Line]:
    texts = data.decode("utf-8", "replace").split("\n")
    if len(texts) > LINES_MAX:
        half = LINES_MAX // 2
        dropped = len(texts) - 2 * half
        texts = [*texts[:half], f"[{dropped} lines are not shown]", *texts[-half:]]
    for number, raw in enumerate(texts, start=1):
        text = escape(_ESCAPE.sub("", raw).strip("\r").rstrip(), LINE_MAX)
        yield Line(number, text, severity(text))


def severity(text: str) -> Severity:
    """Return how a line reads."""
    if _ERROR.search(text):
        return Severity.ERROR
    return Severity.WARNING if _WARNING.search(text) else Severity.INFO
