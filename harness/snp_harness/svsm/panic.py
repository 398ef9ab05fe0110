# SPDX-License-Identifier: GPL-2.0-or-later
"""What an SVSM prints when it panics. The text is untrusted: a guest may write to the same console."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Characters of a console that are read, from its end, and limits of what is kept.
TEXT_MAX = 1 << 18
FRAMES_MAX = 48
_LINE_MAX = 200
#: Lines of COCONUT's message after the one with the place.
_MESSAGE_MAX = 4

#: COCONUT's handler (kernel/src/svsm.rs, panic): the CPU, the place, the message; then print_stack
#: (kernel/src/debug/stacktrace.rs). A line may begin with the name of the stage or of the task that prints it.
_PREFIX = re.compile(r"^\[(?![0-9a-f]{16}\])[^\]]{1,60}\] ?")
_PLACE = re.compile(r"(?:Info: |ERROR: ){1,2}panicked at ([^\s:]{1,160}:\d{1,7}:\d{1,7}):?(.*)")
_BACKTRACE = "---BACKTRACE---"
_BACKTRACE_END = "---END---"
_FRAME = re.compile(r"^\s{0,8}\[([0-9a-f]{16})\](?: [@#]{1,2})? (\S.*)$")
#: The reference SVSM (harness/emulator/svsm/trap.c): one line, the offset is in its image.
_EXCEPTION = re.compile(r"^SVSM: (exception \d{1,3}, error code .*): ends the guest$")


@dataclass(frozen=True, slots=True)
class SvsmPanic:
    """A panic. text: the message and where, one line. frames: of the backtrace, innermost first."""

    text: str
    frames: tuple[str, ...] = ()


def find_panic(text: str) -> SvsmPanic | None:
    """Return the last panic that a console shows, None if there is none."""
    lines = [plain_line(line) for line in text[-TEXT_MAX:].splitlines()]
    for at in range(len(lines) - 1, -1, -1):
        if match := _EXCEPTION.match(lines[at]):
            return SvsmPanic(match[1])
        if match := _PLACE.search(lines[at]):
            return _coconut(match[1], match[2], lines[at + 1 :])
    return None


def _coconut(place: str, rest: str, lines: list[str]) -> SvsmPanic:
    message = [rest.strip()] if rest.strip() else []
    at = 0
    while at < len(lines) and len(message) < _MESSAGE_MAX and lines[at] and not lines[at].startswith(_BACKTRACE):
        message.append(lines[at].strip())
        at += 1
    frames: list[str] = []
    begin = next((n for n, line in enumerate(lines) if line.startswith(_BACKTRACE)), len(lines))
    for line in lines[begin + 1 :]:
        match = _FRAME.match(line)
        if match is None or line.startswith(_BACKTRACE_END) or len(frames) == FRAMES_MAX:
            break
        frames.append(f"{int(match[1], 16):X} {match[2]}")
    text = " ".join(message) or "no message"
    return SvsmPanic(f"{text[:_LINE_MAX]}, at {place}", tuple(frames))


def plain_line(line: str) -> str:
    """Return a line without its prefix, with what is not printable as "?"."""
    shown = "".join(character if character.isprintable() else "?" for character in line[: 2 * _LINE_MAX])
    return _PREFIX.sub("", shown, count=1)[:_LINE_MAX].rstrip()
