# SPDX-License-Identifier: GPL-2.0-or-later
"""`Snapshot`: a moment of a guest, to which it can be brought back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snp_harness.firmware_run import PreparedBoot
    from snp_harness.platforms.saved import Saved


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `Guest.snapshot` returns. `Guest.restore` uses it any number of times, also after the guest has ended.

    paused: whether the guest was paused.
    """

    paused: bool
    _saved: Saved = field(repr=False)
    _boot: PreparedBoot = field(repr=False)
    _unread: Mapping[str, str] = field(repr=False)

    @property
    def path(self) -> Path:
        """Return its directory, beside the run directory; only its owner can read it."""
        return self._saved.path

    @property
    def size(self) -> int:
        """Return the bytes of its files: of the memory that the guest has used, and of the logs until then."""
        return self._saved.size

    def remove(self) -> None:
        """Remove its files; it cannot be restored any more. The end of the guest's block or test does so."""
        self._saved.remove()
