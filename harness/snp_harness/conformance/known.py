# SPDX-License-Identifier: GPL-2.0-or-later
"""Known failures of an implementation: points that are expected not to pass (docs/conformance.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.conformance.tap import POINTS_MAX, PointStatus
from snp_harness.data import data_file
from snp_harness.errors import UsageError

if TYPE_CHECKING:
    from snp_harness.conformance.tap import Point

#: Those of the harness, as NAME.txt.
SHIPPED_DIRECTORY = data_file("svsm_configs/known-failures")
#: Bytes of a file.
SIZE_MAX = 1 << 18
_NAMES_HINT = "name a file of known failures, or coconut-svsm"
_LINE = re.compile(r"(fails|ends-the-run) ([\x21-\x7e]{1,80})\s+#\s*(\S[\x20-\x7e]{0,300})")
_STATUSES = {"fails": PointStatus.FAILED, "ends-the-run": PointStatus.ENDED_THE_RUN}


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """An expected failure. status: FAILED or ENDED_THE_RUN. reason: why, from the file."""

    status: PointStatus
    reason: str


@dataclass(frozen=True, slots=True)
class KnownFailures:
    """The expected failures by the name of the point. source: the file; empty: none."""

    by_name: Mapping[str, KnownFailure] = field(default_factory=dict)
    source: str = ""

    def explains(self, point: Point) -> KnownFailure | None:
        """Return what explains a point that did not pass; None: it passed, was skipped, or is a new failure."""
        known = self.by_name.get(point.name)
        return known if known is not None and known.status is point.status else None

    def is_unexpected(self, point: Point) -> bool:
        """Whether a point that ran had another result than expected: a new failure, or a pass of a known one."""
        if point.status is PointStatus.SKIPPED:
            return False
        known = self.by_name.get(point.name)
        return point.status is not (PointStatus.PASSED if known is None else known.status)


#: For an implementation without known failures.
NONE_KNOWN = KnownFailures()


def load_known(path: Path) -> KnownFailures:
    """Read a file of known failures: a path, or the name of one of the harness. Raises UsageError, with the line."""
    shipped = SHIPPED_DIRECTORY / f"{path.name}.txt"
    if path.name == str(path) and not path.exists() and shipped.is_file():
        path = shipped
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", _NAMES_HINT) from None
    if len(data) > SIZE_MAX:
        raise UsageError(f"{path} has more than {SIZE_MAX} bytes", _NAMES_HINT)
    return parse_known(data.decode("ascii", errors="replace"), str(path))


def parse_known(text: str, source: str) -> KnownFailures:
    """Read the lines of a file. source: its name for messages. Raises UsageError."""
    found: dict[str, KnownFailure] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise UsageError(
                f"{source}:{number}: {line[:80]!a} is not a known failure",
                'lines are "fails POINT # REASON" or "ends-the-run POINT # REASON"',
            )
        kind, name, reason = match.groups()
        if name in found:
            raise UsageError(f"{source}:{number}: {name} is named twice", "remove one of the lines")
        if len(found) >= POINTS_MAX:
            raise UsageError(f"{source} has more than {POINTS_MAX} points", _NAMES_HINT)
        found[name] = KnownFailure(_STATUSES[kind], reason)
    return KnownFailures(found, source)
