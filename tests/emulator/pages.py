# SPDX-License-Identifier: GPL-2.0-or-later
"""The page states' test driver as an object: a guest that accesses pages above harness/emulator/hypervisor/pages.h."""

from __future__ import annotations

import enum
from typing import NamedTuple

from tests.emulator.native import Driver

SOURCES = ("hypervisor/pages.c", "hardware/rmp.c")


class Outcome(enum.IntEnum):
    """How an access or a PVALIDATE ended (enum outcome of the driver)."""

    DONE = 0
    NOT_VALIDATED = 1
    NO_MEMORY = 2
    STOPPED = 3
    FAILED = 4


class State(enum.IntEnum):
    """enum hw_nested."""

    NOT_PRESENT = 0
    PRIVATE = 1
    SHARED = 2


class Violation(enum.IntEnum):
    """enum record_violation: those that the page states find."""

    SHARED = 2
    PVALIDATE = 5


class Operation(enum.IntEnum):
    """enum nae_psc_op."""

    PRIVATE = 1
    SHARED = 2
    PSMASH = 3
    UNSMASH = 4


class End(NamedTuple):
    """faults: the #NPFs that the hypervisor got."""

    outcome: Outcome
    faults: int = 0
    violation: Violation | None = None


class Pages(Driver):
    """The page states, and a guest."""

    def _end(self, answer: list[int]) -> End:
        return End(
            Outcome(answer[0] & 0xFF), answer[0] >> 8 & 0xFF, Violation(answer[0] >> 16) if answer[0] >> 16 else None
        )

    def access(self, gpa: int, *, private: bool = True, vmpl: int = 0) -> End:
        return self._end(self.ask("access", gpa, int(private), vmpl))

    def pvalidate(self, gpa: int, *, large: bool = False, validate: bool = True) -> End:
        return self._end(self.ask("pvalidate", gpa, int(large), int(validate)))

    def change(self, gpa: int, operation: Operation, *, large: bool = False) -> bool:
        return bool(self.ask("change", gpa, operation, int(large))[0])

    def state(self, gpa: int) -> State:
        return State(self.ask("state", gpa)[0])

    def bits(self, gpa: int) -> int:
        return self.ask("bits", gpa)[0]
