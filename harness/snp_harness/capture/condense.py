# SPDX-License-Identifier: GPL-2.0-or-later
"""Which accesses of a long run are kept, and which are only counted because they repeat others."""

from __future__ import annotations

from collections import Counter
from typing import Any

from snp_harness.apic import ipi
from snp_harness.apic.access import Access
from snp_harness.apic.apic_base import ApicMode, mode_of

#: Accesses that are kept one by one. A boot to the shell makes 5,000; the shell makes 300 a second.
ACCESS_LIMIT = 20_000
#: Beyond ACCESS_LIMIT, so many more accesses of each kind are kept; the others differ in value, pc and time.
SORT_LIMIT = 16
#: Kinds that are distinguished beyond ACCESS_LIMIT.
SORTS_LIMIT = 4096


class Condenser:
    """Counts what is not kept. condensed: accesses that repeat others; dropped: those of too many kinds."""

    def __init__(self) -> None:
        self.condensed = 0
        self.dropped = 0
        self._sorts: Counter[tuple[Any, ...]] = Counter()

    def keeps(self, access: Access) -> bool:
        """Whether to keep an access; its index says how many are kept before it.

        Every rule judges what is condensed like what it repeats: phase, register, path, mode, outcome, server and
        module are the same.
        """
        if access.index < ACCESS_LIMIT:
            return True
        sort = _sort(access)
        if sort not in self._sorts and len(self._sorts) >= SORTS_LIMIT:
            self.dropped += 1
            return False
        self._sorts[sort] += 1
        if self._sorts[sort] > SORT_LIMIT:
            self.condensed += 1
            return False
        return True

    def condensed_of(self, kept: int) -> int:
        """Return how many are condensed ahead of a place with so many kept accesses."""
        return 0 if kept < ACCESS_LIMIT else self.condensed

    def take_back(self) -> None:
        """Take back the last access that was condensed."""
        self.condensed = max(0, self.condensed - 1)


def _sort(access: Access) -> tuple[Any, ...]:
    # The only values that rules judge are the vectors of interrupts that are sent, and modes.
    judged: int | ApicMode | None = ipi.request(access.operation, access.register, access.value)
    if access.is_base and access.value is not None:
        judged = mode_of(access.value)
    return (
        access.operation,
        access.register,
        access.path,
        access.vcpu,
        access.vmpl,
        access.mode,
        access.outcome,
        access.served_by,
        access.phase,
        access.module,
        judged,
    )
