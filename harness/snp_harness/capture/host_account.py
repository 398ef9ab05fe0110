# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's own account of its log: a second way for what the ring should have shown.

It is in memory of the hypervisor (struct record_account in harness/emulator/include/record.h), not in the ring's, and
is read by QEMU's monitor while QEMU is stopped. What hides or changes records in the ring does not change it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from snp_harness.capture.record import ACCOUNT, ACCOUNT_MAGIC, ACCOUNT_SLOTS

#: 64-bit words of the account, for the monitor's command xp.
ACCOUNT_WORDS = ACCOUNT.size // 8
_WORD = re.compile(r"\b0x([0-9a-f]{16})\b")


@dataclass(frozen=True, slots=True)
class HostAccount:
    """What the hypervisor has written. count: records. lost: dropped ones. accesses: to a local APIC.

    recorded: of these, those with a record. digests: after record n at n % ACCOUNT_SLOTS.
    """

    count: int
    lost: int
    accesses: int
    recorded: int
    digests: tuple[int, ...]

    @classmethod
    def parse(cls, text: object) -> HostAccount:
        """Return the account in the answer to the monitor's xp; one without records if there is none."""
        words = [int(word, 16) for word in _WORD.findall(text)] if isinstance(text, str) else []
        if len(words) != ACCOUNT_WORDS or words[0] != ACCOUNT_MAGIC:
            words = [0] * ACCOUNT_WORDS
        return cls(words[1], words[2], words[3], words[4], tuple(words[5:]))

    def differences(self, seen: Seen) -> Iterator[str]:
        """Yield how the log that was read differs, a sentence each."""
        # QEMU may be stopped while a record is in the account and not in the ring yet.
        behind = self.count - seen.records
        if behind not in (0, 1):
            yield f"the hypervisor has written {self.count} records, {seen.records} were read"
        elif self.digests[seen.records % ACCOUNT_SLOTS] != seen.digest:
            yield "the records that were read are not those that the hypervisor has written: another digest"
        if self.lost != seen.dropped:
            yield f"the hypervisor has dropped {self.lost} records, its log has {seen.dropped}"
        unwritten = self.accesses - seen.accesses
        if unwritten and not (unwritten == 1 and (behind == 1 or self.recorded != self.accesses)):
            yield f"the hypervisor has counted {self.accesses} local-APIC accesses, its log has {seen.accesses}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read from the ring: records, their digest, how many the ring says were dropped, ACCESS records."""

    records: int
    digest: int
    dropped: int
    accesses: int
