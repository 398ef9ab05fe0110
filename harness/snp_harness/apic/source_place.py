# SPDX-License-Identifier: GPL-2.0-or-later
"""`SourcePlace`: an instruction of a module in the module's source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from snp_harness.apic import jsonfield

#: Bound on the functions that were inlined into each other at one instruction.
FRAMES_MAX = 16
#: Bound on the places of a run.
PLACES_MAX = 1000
#: Bound on a line number.
LINE_MAX = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A function and a line in it. file: relative to the top of edk2's tree, where that is known."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} at {self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class SourcePlace:
    """Where an instruction is in the source.

    module, offset: as in `Access`. frames: at least one; the first has the instruction's own line, each other one the
    call of the function before it, which the compiler has inlined. The last is the function that was compiled.
    """

    module: str
    offset: int
    frames: tuple[Frame, ...]

    @property
    def compiled(self) -> Frame:
        """The function that the module's code has, at the line that leads to the instruction."""
        return self.frames[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the place as JSON values."""
        return {
            "module": self.module,
            "offset": jsonfield.to_hex(self.offset),
            "frames": [{"function": frame.function, "file": frame.file, "line": frame.line} for frame in self.frames],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SourcePlace:
        """Rebuild a place. Raises FieldError."""
        if not isinstance(data, dict):
            raise jsonfield.FieldError("a place is not an object")
        jsonfield.require_keys(data, frozenset({"module", "offset", "frames"}))
        frames, offset = data["frames"], jsonfield.optional_hex(data, "offset")
        if not isinstance(frames, list) or not 0 < len(frames) <= FRAMES_MAX or offset is None:
            raise jsonfield.FieldError(f'"frames" is not a list of 1 to {FRAMES_MAX}, or "offset" is null')
        return cls(jsonfield.text(data, "module"), offset, tuple(map(_frame, frames)))


def _frame(data: Any) -> Frame:
    if not isinstance(data, dict):
        raise jsonfield.FieldError("a frame is not an object")
    jsonfield.require_keys(data, frozenset({"function", "file", "line"}))
    return Frame(
        jsonfield.text(data, "function"),
        jsonfield.text(data, "file"),
        jsonfield.integer(data, "line", LINE_MAX),
    )
