# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP version 14 as the conformance guest prints it: read strictly, because a guest's console is untrusted input.

What the guest uses of it (https://testanything.org/tap-version-14-specification.html): the version line, the plan, test
points with a description and the SKIP directive, a YAML diagnostic block of plain keys, comments, "Bail out!".
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

#: Limits: characters of a console, characters of a line, and numbers of points, comments and lines of a diagnostic.
TEXT_MAX = 1 << 20
LINE_MAX = 500
POINTS_MAX = 2000
NOTES_MAX = 2000
DIAGNOSTIC_MAX = 20

VERSION = "TAP version 14"
#: The guest's last line.
END = "end of the tests"
#: Begins the comment that names the point that begins.
BEGIN = "begin "

_PLAN = re.compile(r"1\.\.(0|[1-9][0-9]{0,3})")
_POINT = re.compile(r"(not )?ok ([1-9][0-9]{0,3}) - ([\x21-\x7e]{1,80})(?: # SKIP ([\x20-\x7e]{1,200}))?")
_NOTE = re.compile(r"# ?([\x20-\x7e]*)")
_BAIL = re.compile(r"Bail out!\s?([\x20-\x7e]*)")
_KEY = re.compile(r'  ([a-z][a-z-]{0,30}): (?:"([\x20\x21\x23-\x5b\x5d-\x7e]*)"|([0-9a-zA-Z]{1,20}))')
_BLOCK_BEGIN = "  ---"
_BLOCK_END = "  ..."


class PointStatus(enum.Enum):
    """The result of a point."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    #: The point began and has no result. The guest does not print this; series.py finds it.
    ENDED_THE_RUN = "ended the run"


@dataclass(frozen=True, slots=True)
class Point:
    """A point. name: group/point. reason: why it was skipped. diagnostic: keys and values that explain a failure."""

    number: int
    name: str
    status: PointStatus
    reason: str = ""
    diagnostic: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TapReport:
    """What was read. plan: the number of points that were announced, None without a plan. notes: comments.

    begun: the name of the point that has begun without a result, if any. ended: the guest printed its last line.
    defects: why this is not complete, or not TAP, one line each.
    """

    plan: int | None
    points: tuple[Point, ...]
    notes: tuple[str, ...]
    begun: str
    ended: bool
    defects: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Every point of the plan is there, and there is no defect."""
        return not self.defects


def parse(text: str) -> TapReport:
    """Read a console's text. What precedes the version line is ignored."""
    reader = _Reader()
    lines = text[:TEXT_MAX].replace("\r\n", "\n").split("\n")
    if len(text) > TEXT_MAX:
        reader.defect(f"the console has more than {TEXT_MAX} characters")
    if VERSION not in lines:
        return TapReport(None, (), (), "", ended=False, defects=(f'no line "{VERSION}"',))
    for line in lines[lines.index(VERSION) + 1 :]:
        if not reader.read(line):
            break
    return reader.finish()


class _Reader:
    """Reads the lines after the version line, one by one."""

    def __init__(self) -> None:
        self._plan: int | None = None
        self._points: list[Point] = []
        self._notes: list[str] = []
        self._begun = ""
        self._block: list[tuple[str, str]] | None = None
        self._ended = False
        self._defects: list[str] = []

    def defect(self, text: str) -> None:
        self._defects.append(text)

    def read(self, line: str) -> bool:
        """Read a line. False if nothing that follows is reliable."""
        if self._block is not None:
            return self._in_block(self._block, line)
        if not line:
            return True
        if self._ended and not _BAIL.fullmatch(line) and not _NOTE.fullmatch(line):
            return self._refuse(line, "after the end")
        if match := _POINT.fullmatch(line):
            return self._point(line, match)
        if line == _BLOCK_BEGIN and self._points and self._points[-1].status is PointStatus.FAILED:
            self._block = []
        elif match := _PLAN.fullmatch(line):
            if self._plan is not None:
                return self._refuse(line, "a second plan")
            self._plan = int(match.group(1))
        elif match := _BAIL.fullmatch(line):
            self.defect(f"the guest bailed out: {match.group(1)[:LINE_MAX]}")
            return False
        elif match := _NOTE.fullmatch(line):
            return self._note(match.group(1))
        else:
            return self._refuse(line, "not TAP")
        return True

    def finish(self) -> TapReport:
        if self._block is not None:
            self.defect("the console ends in a diagnostic")
        if self._plan is None:
            self.defect("no plan")
        elif len(self._points) != self._plan:
            last = f", the last one is {self._points[-1].name}" if self._points else ""
            self.defect(f"{len(self._points)} of {self._plan} points were reported{last}")
        elif not self._plan:
            self.defect("no points")
        if not self._ended:
            self.defect("the guest did not reach its end")
        return TapReport(
            self._plan, tuple(self._points), tuple(self._notes), self._begun, self._ended, tuple(self._defects)
        )

    def _note(self, text: str) -> bool:
        if text.startswith(BEGIN):
            self._begun = text.removeprefix(BEGIN)[:LINE_MAX]
            return True
        if len(self._notes) >= NOTES_MAX:
            return self._refuse("#", "too many comments")
        self._notes.append(text[:LINE_MAX])
        self._ended = self._ended or text == END
        return True

    def _point(self, line: str, match: re.Match[str]) -> bool:
        failed, number, name, reason = match.groups()
        if int(number) != len(self._points) + 1 or len(self._points) >= POINTS_MAX:
            return self._refuse(line, "a point out of order")
        if any(point.name == name for point in self._points):
            return self._refuse(line, "a repeated point")
        if self._begun not in ("", name):
            return self._refuse(line, f"{self._begun} has no result")
        self._begun = ""
        status = PointStatus.FAILED if failed else PointStatus.SKIPPED if reason else PointStatus.PASSED
        self._points.append(Point(int(number), name, status, reason or ""))
        return True

    def _in_block(self, block: list[tuple[str, str]], line: str) -> bool:
        if line == _BLOCK_END:
            last = self._points[-1]
            self._points[-1] = Point(last.number, last.name, last.status, last.reason, tuple(block))
            self._block = None
            return True
        match = _KEY.fullmatch(line)
        if match is None or len(block) >= DIAGNOSTIC_MAX or len(line) > LINE_MAX:
            self._block = None
            return self._refuse(line, "not a diagnostic")
        key, quoted, plain = match.groups()
        block.append((key, quoted if quoted is not None else plain))
        return True

    def _refuse(self, line: str, why: str) -> bool:
        self.defect(f"{why}: {line[:LINE_MAX]!a}")
        return False
