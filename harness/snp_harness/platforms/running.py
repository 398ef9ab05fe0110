# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that a platform has started: how it is followed, and how it ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.errors import UnsupportedError

if TYPE_CHECKING:
    from snp_harness.apic.timeline import Timeline
    from snp_harness.capture.collect import Collector
    from snp_harness.capture.goal import Position
    from snp_harness.platforms.platform import RunOutcome
    from snp_harness.platforms.saved import Saved
    from snp_harness.platforms.session import Ending
    from snp_harness.platforms.stuck import StuckWatch
    from snp_harness.vm.machine_base import MachineBase

#: Reads physical memory of QEMU's: address and size.
Peek = Callable[[int, int], bytes]


class Running(ABC):
    """A guest in its machine, and its witnesses. All methods belong to the thread that started it.

    platform: its name. stuck: recognizes a guest that cannot go on, None where that is not known. console_in_log: what
    the guest prints is in the witness's log, among what the guest does. is_current: `step` reads all that the guest has
    done before the call.
    """

    platform: str
    machine: MachineBase
    collector: Collector
    stuck: StuckWatch | None = None
    console_in_log: bool = False
    is_current: bool = False

    @abstractmethod
    def step(self) -> float:
        """Read the witnesses; returns the seconds after which it has to be called again at the latest."""

    def exits(self) -> int | None:
        """Return the #VMEXITs so far, None if they are not counted."""
        return None

    def ended(self) -> Ending | None:
        """Return the end of the guest that a witness has seen, None if there is none."""
        return None

    def is_open(self, position: Position | None = None) -> bool:
        """Whether a vCPU waits for the answer of an access, as far as that is known. position: one from before it."""
        return False

    @abstractmethod
    def timeline(self, ending: Ending) -> Timeline:
        """Return what was seen so far, as if the run had ended so. The guest may go on."""

    def locate(self, peek: Peek, gpas: Sequence[int], vmpl: int | None, *, write: bool) -> list[int]:
        """Return where QEMU has the byte at each GPA, as a VMPL sees it; it is there to the end of its page.

        vmpl: None for the guest's. Raises MemoryAccessError, and UnsupportedError where that is not known.
        """
        raise UnsupportedError(self.platform, "access the guest's memory", "it is encrypted")

    def registers(self, peek: Peek, printed: str, vcpu: int, vmpl: int | None) -> dict[str, int]:
        """Return the registers of a vCPU of a stopped guest, by their names in small letters.

        printed: what QEMU's monitor prints for all its processors. vmpl: None for the one that runs. Raises UsageError
        for a vCPU or VMPL that there is none of, UnsupportedError where the registers are not known.
        """
        raise UnsupportedError(self.platform, "show the guest's registers", "they are encrypted")

    def save(self, path: Path) -> Saved:
        """Save the guest, which is stopped, in a new directory.

        Raises UnsupportedError, SnapshotError, CannotWriteError, UsageError for a disk, QemuError.
        """
        raise UnsupportedError(self.platform, "take a snapshot", "the guest's memory is encrypted")

    @abstractmethod
    def finish(self, ending: Ending) -> RunOutcome:
        """Stop QEMU, read the rest, and return the outcome. Called once."""
