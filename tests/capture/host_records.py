# SPDX-License-Identifier: GPL-2.0-or-later
"""Records of the emulated host, and the firmware that they are about."""

from __future__ import annotations

import struct

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
from snp_harness.firmware.firmware_modules import Module
from tests.capture.firmware import Firmware, module
from tests.launch.ring import make_record

SEC_BASE = 0xFFFD0000
PEI_BASE = 0x820000
#: Where the others are loaded, and an address of an operating system.
DXE_BASE, BDS_BASE, KERNEL = 0x7E000000, 0x7D000000, 0xFFFFFFFF81000000
#: Of the SVSM.
SVSM = 0xA000001000
XAPIC, X2APIC = 2, 3
GUEST = 2


#: SEC in flash, a PEIM with a run address, and a DXE driver without.
FIRMWARE = Firmware(
    module("SecMain", Phase.SEC, SEC_BASE, 0x8000, 0x240),
    module("CpuMpPei", Phase.PEI, PEI_BASE, 0x8000, 0x260),
    module("CpuDxe", Phase.DXE, None, 0x9000, 0x300),
    module("BdsDxe", Phase.BDS, None, 0x5000, 0x400),
)


class Run:
    """Feeds records, one batch each."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.host = HostTimeline(FIRMWARE, GUEST, self.collector)
        self.seq = 0
        self.images: dict[int, tuple[Module | None, int]] = {}
        self.executed: dict[tuple[int, int, int], bytes] = {}
        self.add(RecordKind.START)

    def add(self, kind: int, **fields: int) -> None:
        self.seq += 1
        self.host.take(make_record(self.seq, kind=kind, **{"vmpl": GUEST, **fields}))

    def code(self, rip: int, code: bytes | None = None, **fields: int) -> None:
        """An instruction is executed: a record if its bytes are not those of the last time.

        code: by default that of the module whose header or place is there.
        """
        if code is None:
            base = max((base for base in self.images if base <= rip < base + self.images[base][1]), default=None)
            module = None if base is None else self.images[base][0]
            if module is None or module.image is None:
                code = FIRMWARE.code(rip)
            else:
                code = module.image.bytes_at(0, rip - (base or 0), 24)
        key = rip, fields.get("vcpu", 0), fields.get("vmpl", GUEST)
        if self.executed.get(key) == code:
            return
        self.executed[key] = code or b""
        words = struct.unpack("<QQQ", (code or b"").ljust(24, b"\0"))
        values = dict(zip(("address", "value", "extra"), words, strict=True))
        self.add(RecordKind.BYTES, rip=rip, size=len(code or b""), **values, **fields)

    def image(self, base: int, size: int, entry: int) -> None:
        """The guest runs code below a PE header."""
        self.images = {at: found for at, found in self.images.items() if at >= base + size or at + found[1] <= base}
        self.images[base] = FIRMWARE.by_identity(size, entry), size
        self.add(RecordKind.MODULE, address=base, value=size | entry << 32, rip=base + 0x10)

    def apic(self, address: int, value: int, *, write: bool = False, **fields: int) -> None:
        path = RecordPath.MMIO if address >= 0xFEE00000 else RecordPath.MSR
        given = {"rip": SEC_BASE + 0x3B52, "path": path, "size": 4, "aux": XAPIC, "flags": FLAG_WRITE if write else 0}
        given |= fields
        self.code(given["rip"], vcpu=given.get("vcpu", 0), vmpl=given.get("vmpl", GUEST))
        self.add(RecordKind.APIC, address=address, value=value, **given)

    def begin(self, address: int, value: int | None = None, *, write: bool = False, **fields: int) -> int:
        """An access as the processor makes it; value: of a write, if it was observed. Returns its number."""
        path = RecordPath.MMIO if address >= 0xFEE00000 else RecordPath.MSR
        flags = (FLAG_WRITE if write else 0) | (0 if value is None else FLAG_VALUE)
        given = {"rip": SEC_BASE + 0x3B52, "path": path, "size": 4, "aux": XAPIC, "flags": flags, "value": value or 0}
        given |= fields
        self.code(given["rip"], vcpu=given.get("vcpu", 0), vmpl=given.get("vmpl", GUEST))
        self.add(RecordKind.ACCESS, address=address, **given)
        return self.seq

    def answer(
        self, number: int, address: int, value: int, *, mode: int = XAPIC, write: bool = False, **fields: int
    ) -> None:
        """The answer to the access with this number."""
        self.apic(address, value, write=write, aux=mode | number << ANSWERS_SHIFT, **fields)

    def timeline(self, quiet_ns: int = 0) -> Timeline:
        self.host.finish(quiet_ns)
        return self.collector.finish(
            witness=WITNESS,
            platform="emulated",
            gaps=self.host.skipped,
            lost=0,
            not_observed=frozenset(),
            alternate_injection=True,
            svsm=True,
            apic_protocol=True,
        )
