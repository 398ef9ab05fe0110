# SPDX-License-Identifier: GPL-2.0-or-later
"""One thing that was examined on this machine: what a platform's probe and `snp-harness doctor` are lists of."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass


class CheckStatus(enum.StrEnum):
    """OK: there and usable. WARN: usable with a loss that the evidence names. MISSING: what needs it cannot run."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement and what was found. name: the thing ("QEMU"). evidence: what was seen ("7.2.22, /usr/bin/...").

    hint: what to do about it, empty when nothing is to be done.
    """

    name: str
    status: CheckStatus
    evidence: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.name}: {self.evidence}"
        return f"{text}: {self.hint}" if self.hint else text

    def to_json(self) -> dict[str, str]:
        """The four fields as strings."""
        return {key: str(value) for key, value in asdict(self).items()}


def first_missing(checks: list[Check]) -> Check | None:
    """The first requirement that is not met, or None: what a skip names."""
    return next((check for check in checks if check.status is CheckStatus.MISSING), None)
