# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of the emulated host, and the firmware that they are about."""

from __future__ import annotations

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.collect import Collector
from snp_harness.capture.host_timeline import WITNESS, HostTimeline
from snp_harness.capture.record import (
    ANSWERS_SHIFT,
    FLAG_VALUE,
    FLAG_WRITE,
    RecordKind,
    RecordPath,
)
from tests.capture.firmware import Firmware, module
from tests.launch.ring import make_record

SEC_BASE = 0xFFFD0000
PEI_BASE = 0x820000
XAPIC, X2APIC = 2, 3
GUEST = 2


#: SEC in flash, a PEIM with a run address, and a DXE driver without.
FIRMWARE = Firmware(
    module("SecMain", Phase.SEC, SEC_BASE, 0x8000, 0x240),
    module("CpuMpPei", Phase.PEI, PEI_BASE, 0x8000, 0x240),
    module("CpuDxe", Phase.DXE, None, 0x9000, 0x300),
)


class Run:
    """Feeds records, one batch each."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.host = HostTimeline(FIRMWARE, GUEST, self.collector)
        self.seq = 0
        self.add(RecordKind.START)

    def add(self, kind: int, **fields: int) -> None:
        self.seq += 1
        self.host.take(make_record(self.seq, kind=kind, **{"vmpl": GUEST, **fields}))

    def apic(self, address: int, value: int, *, write: bool = False, **fields: int) -> None:
        path = RecordPath.MMIO if address >= 0xFEE00000 else RecordPath.MSR
        given = {"rip": SEC_BASE + 0x3B52, "path": path, "size": 4, "aux": XAPIC, "flags": FLAG_WRITE if write else 0}
        self.add(RecordKind.APIC, address=address, value=value, **(given | fields))

    def begin(self, address: int, value: int | None = None, *, write: bool = False, **fields: int) -> int:
        """An access as the processor makes it; value: of a write, if it was observed. Returns its number."""
        path = RecordPath.MMIO if address >= 0xFEE00000 else RecordPath.MSR
        flags = (FLAG_WRITE if write else 0) | (0 if value is None else FLAG_VALUE)
        given = {"rip": SEC_BASE + 0x3B52, "path": path, "size": 4, "aux": XAPIC, "flags": flags, "value": value or 0}
        self.add(RecordKind.ACCESS, address=address, **(given | fields))
        return self.seq

    def answer(
        self, number: int, address: int, value: int, *, mode: int = XAPIC, write: bool = False, **fields: int
    ) -> None:
        """The answer to the access with this number."""
        self.apic(address, value, write=write, aux=mode | number << ANSWERS_SHIFT, **fields)

    def timeline(self) -> Timeline:
        self.host.finish()
        return self.collector.finish(
            witness=WITNESS,
            platform="emulated",
            gaps=[],
            lost=0,
            not_observed=frozenset(),
            alternate_injection=True,
            svsm=True,
            apic_protocol=True,
        )
