# SPDX-License-Identifier: GPL-2.0-or-later
"""Whose code the vCPUs have executed, by the bytes of instructions, and which phases have begun by that."""

from __future__ import annotations

import struct

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Known
from snp_harness.capture.collect import Collector
from snp_harness.capture.module_names import KERNEL_HALF, UNKNOWN_CODE, Firmware, ModuleMap, Place
from snp_harness.capture.record import HostRecord

#: The vCPU that runs firmware; the others run what it starts on them.
BOOT_VCPU = 0
#: address, value and extra of a record are the bytes of an instruction.
_CODE = struct.Struct("<QQQ")
#: Instructions of all vCPUs that are remembered; others are unknown.
_EXECUTED_MAX = 1 << 16


class ExecutedCode:
    """The code of MODULE and BYTES records.

    guest_vmpl: the tested firmware's, as of HostTimeline. modules: of the firmware, where they run. skipped: what was
    not seen, in sentences: phases, and code of the firmware that the SVSM's VMPL executed.
    """

    def __init__(self, firmware: Firmware, guest_vmpl: int, collector: Collector) -> None:
        self.modules = ModuleMap(firmware)
        self.skipped: list[str] = []
        self._collector = collector
        self._guest_vmpl = guest_vmpl
        #: Whose code the instruction at a pc of a vCPU was when it was executed last.
        self._executed: dict[tuple[int, int], Place] = {}
        #: The SVSM's VMPL executed code of the firmware.
        self._misplaced = False

    def take_module(self, record: HostRecord) -> None:
        """Take a header, which names a module, and proves nothing."""
        self.modules.add_image(record.address, record.value & 0xFFFFFFFF, record.value >> 32)

    def take_bytes(self, record: HostRecord) -> None:
        """Find out whose code was executed, and record a later phase if the boot processor shows that it has begun."""
        code = _CODE.pack(record.address, record.value, record.extra)[: record.size]
        place = self.modules.proven(record.rip, code) if code else UNKNOWN_CODE
        if record.vmpl < self._guest_vmpl:
            if place.module is not None and not self._misplaced:
                self._misplaced = True
                what = f"code of the firmware ({place.name(record.rip)})"
                self.skipped.append(f"VMPL{record.vmpl} executed {what}, whose accesses there were not judged")
            return
        key = record.vcpu, record.rip
        if key in self._executed or len(self._executed) < _EXECUTED_MAX:
            self._executed[key] = place
        if record.vcpu == BOOT_VCPU:
            self._enter(place, record)

    def _enter(self, place: Place, record: HostRecord) -> None:
        reached = self._collector.phase
        if place.phase is None:
            if record.rip >= KERNEL_HALF and reached is Phase.BDS:
                evidence = f"#VMEXIT at {record.rip:X}, outside all modules"
                self._collector.enter(Phase.OS, record.time_ns, evidence, Known.INFERRED)
            return
        if place.phase <= reached:
            return
        if place.phase > reached + 1 and reached < Phase.DXE:
            skipped = ", ".join(phase.name for phase in Phase if reached < phase < place.phase)
            self.skipped.append(f"{skipped} was not seen before {place.phase.name}")
        evidence = f"#VMEXIT in {place.name(record.rip)}"
        self._collector.enter(place.phase, record.time_ns, evidence, Known.PROVEN)

    def placed(self, record: HostRecord) -> tuple[Place, Phase]:
        """Return whose code a record's instruction is, and the phase that it belongs to.

        SEC's own code is SEC's at any time. Code of a later module is of the phase that was reached. Unknown code may
        be SEC's until DXE was reached.
        """
        place = self._executed.get((record.vcpu, record.rip), UNKNOWN_CODE)
        reached = self._collector.phase
        if place.phase is None:
            return place, reached if reached >= Phase.DXE else Phase.UNKNOWN
        if place.phase <= Phase.SEC:
            return place, place.phase
        return place, reached if reached > Phase.SEC else Phase.UNKNOWN
