# SPDX-License-Identifier: GPL-2.0-or-later
"""The result of checking one requirement on this machine. Platforms' probes and `snp-harness doctor` return lists."""

from __future__ import annotations

import enum

from msgspec import Struct


class CheckStatus(enum.StrEnum):
    """OK: usable. WARN: usable with a loss, which the evidence names. MISSING: runs that need it cannot start."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


class Check(Struct, frozen=True):
    """A requirement and its state. name: the requirement ("QEMU"). evidence: what was found ("7.2.22, /usr/bin/...").

    hint: what to do about it, or empty.
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
        return {name: str(getattr(self, name)) for name in self.__struct_fields__}


def first_missing(checks: list[Check]) -> Check | None:
    """Return the first requirement that is not met, which is the reason of a skip; None if all are."""
    return next((check for check in checks if check.status is CheckStatus.MISSING), None)
