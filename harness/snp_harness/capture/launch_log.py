# SPDX-License-Identifier: GPL-2.0-or-later
"""The launch digest of what the emulated hypervisor launched, of its records of it and the contents in the launch list.

The emulated security processor computes the digest of the same pages only when the guest asks for a report or a key, or
the launch has an ID block: under QEMU that takes long (harness/emulator/hardware/psp_launch.h).
"""

from __future__ import annotations

from collections.abc import Callable

from snp_harness.apic.event_kinds import LAUNCH
from snp_harness.capture.collect import Collector
from snp_harness.capture.record import LAUNCH_FINISH, HostRecord
from snp_harness.svsm.launch import PAGE, PageType
from snp_harness.svsm.launch_digest import NOT_MEASURED, LaunchDigest, hash_page

#: Bound on pages that are launched: 4 GiB.
PAGES_MAX = 1 << 20
_TYPES = {int(kind): kind for kind in PageType}
_MEASURED = (PageType.NORMAL, PageType.VMSA)


class LaunchLog:
    """Adds the event of the launch. contents: returns bytes of the launch list, None if they are not known."""

    def __init__(self, collector: Collector, contents: Callable[[int, int], bytes] | None) -> None:
        self._collector = collector
        self._contents = contents
        self._digest = LaunchDigest()

    def take(self, record: HostRecord) -> None:
        """Process a record of a launch."""
        if self._contents is None:
            return
        if record.aux == LAUNCH_FINISH:
            digest = self._digest.value.hex()
            self._collector.event(LAUNCH, record.time_ns, None, f"launch digest {digest}", digest=digest)
            return
        kind = _TYPES.get(record.aux)
        if kind is None or self._digest.pages + record.value > PAGES_MAX:
            self._contents = None
            return
        data = self._contents(record.extra, record.value * PAGE) if kind in _MEASURED else b""
        for at in range(0, record.value * PAGE, PAGE):
            measured = hash_page(data[at : at + PAGE]) if data else NOT_MEASURED
            self._digest.extend(kind, record.address + at, measured)
