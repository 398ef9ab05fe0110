# SPDX-License-Identifier: GPL-2.0-or-later
"""What the SVSM does in a run: the stages of its start, and how often it did what, from the hypervisor's records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from snp_harness.apic.event_kinds import SVSM_ACTIVITY, SVSM_STAGE
from snp_harness.apic.jsonfield import TIME_MAX
from snp_harness.apic.timeline import Event, Known
from snp_harness.capture.collect import Collector
from snp_harness.capture.module_names import KERNEL_HALF
from snp_harness.capture.record import FLAG_EFER_LMA, RecordKind, RecordOutcome, RecordRmpOp
from snp_harness.svsm.protocol import CALL_SHIFT, Protocol

#: Records that are not about what the vCPU executes.
_NOT_EXECUTED = frozenset({RecordKind.START, RecordKind.END, RecordKind.STATS, RecordKind.TEXT, RecordKind.DOORBELL})
#: As integers: a record is compared with them, and the members of an enumeration are slow to look up.
_RESULT, _RMP_CHANGE = int(RecordKind.SVSM_RESULT), int(RecordKind.RMP_CHANGE)
_REQUESTS = (int(RecordKind.NAE), int(RecordKind.GHCB_MSR))
_APIC = (int(RecordKind.APIC), int(RecordKind.APIC_BASE))
_OK = int(RecordOutcome.OK)
#: Positions in a record's fields.
_TIME, _RIP, _ADDRESS, _VALUE, _KIND, _VCPU, _OUTCOME, _FLAGS, _AUX = 1, 2, 3, 4, 7, 8, 12, 13, 14

STARTED = "started"
STAGE_2 = "stage 2"
KERNEL = "kernel entered"
GUEST = "guest started"
#: What is counted, in the order of the event's text: the field's name, and the words.
_COUNTED = (
    ("calls", "calls answered"),
    ("apic_calls", "of the APIC protocol"),
    ("refused_calls", "refused"),
    ("apic_accesses", "accesses to an APIC of its own"),
    ("pvalidates", "PVALIDATEs"),
    ("rmpadjusts", "RMPADJUSTs"),
    ("page_state_changes", "page state changes"),
    ("requests", "other requests"),
)
_RMP_COUNTED = {
    RecordRmpOp.PVALIDATE: "pvalidates",
    RecordRmpOp.RESCIND: "pvalidates",
    RecordRmpOp.RMPADJUST: "rmpadjusts",
    RecordRmpOp.PSC_PRIVATE: "page_state_changes",
    RecordRmpOp.PSC_SHARED: "page_state_changes",
}
#: Not in the log at level 0.
_LEVEL_1 = frozenset({"pvalidates", "rmpadjusts", "page_state_changes", "requests"})

Fields = tuple[int, ...]


class SvsmTrack:
    """Reads the records of VMPLs below the guest's.

    name: returns a pc's function, None without symbols of it. awaits_guest: the guest was not seen yet.
    """

    def __init__(self, guest_vmpl: int, collector: Collector, name: Callable[[int], str | None]) -> None:
        self._guest_vmpl = guest_vmpl
        self._collector = collector
        self._name = name
        self._stage = "" if guest_vmpl else GUEST
        self.awaits_guest = guest_vmpl > 0
        self._counts: Counter[str] = Counter()
        self._changes: Counter[int] = Counter()
        #: At log level 1 an SVSM has made a request by the GHCB MSR before anything else.
        self._detailed = False

    def take(self, fields: Fields) -> None:
        """Process a record's fields."""
        kind = fields[_KIND]
        if kind == _RESULT:
            self._answered(fields)
        if fields[9] >= self._guest_vmpl:
            if self._stage not in ("", GUEST) and kind not in _NOT_EXECUTED:
                self._enter(GUEST, fields, Known.PROVEN)
        else:
            if self.awaits_guest and self._stage != KERNEL and fields[_RIP] and kind not in _NOT_EXECUTED:
                self._executes(fields)
            if kind == _RMP_CHANGE:
                self._changes[fields[_AUX]] += fields[_OUTCOME] == _OK
            else:
                self._count(kind)

    def activity(self) -> Event | None:
        """Return an event with what was counted so far, None if no SVSM was seen."""
        if not self._stage or not self._guest_vmpl:
            return None
        counts = self._counts.copy()
        for operation, what in _RMP_COUNTED.items():
            counts[what] += self._changes[operation]
        fields: dict[str, int | str] = {
            name: counts[name] for name, _ in _COUNTED if self._detailed or name not in _LEVEL_1
        }
        text = ", ".join(f"{fields[name]} {words}" for name, words in _COUNTED if fields.get(name)) or "nothing"
        if not self._detailed:
            text += "; RMP instructions and other requests: not observed (log.level 0)"
        return Event(SVSM_ACTIVITY, None, None, text, fields)

    def _answered(self, fields: Fields) -> None:
        self._counts["calls"] += 1
        self._counts["apic_calls"] += fields[_ADDRESS] >> CALL_SHIFT == Protocol.APIC
        self._counts["refused_calls"] += fields[_VALUE] != 0

    def _count(self, kind: int) -> None:
        if kind in _APIC:
            self._counts["apic_accesses"] += 1
        elif kind in _REQUESTS:
            self._detailed |= kind == _REQUESTS[1]
            self._counts["requests"] += 1

    def _executes(self, fields: Fields) -> None:
        """Find out how far the SVSM's start is; its code is not compared with its file."""
        known = Known.INFERRED if self._name(fields[_RIP]) is None else Known.LOCATED
        if fields[_RIP] >= KERNEL_HALF:
            self._enter(KERNEL, fields, known)
        elif not self._stage:
            # In long mode it may be a loader that has come that far, or a kernel at low addresses.
            self._enter(STARTED if fields[_FLAGS] & FLAG_EFER_LMA else STAGE_2, fields, known)

    def _enter(self, stage: str, fields: Fields, known: Known) -> None:
        self._stage = stage
        self.awaits_guest = stage != GUEST
        self._collector.svsm_stage = "" if stage == GUEST else stage
        name = self._name(fields[_RIP]) if stage != GUEST else None
        at = f"{fields[_RIP]:X}" if name is None else f"{fields[_RIP]:X} ({name})"
        text = f"SVSM: {stage}, {known.value}: #VMEXIT at pc {at}"
        self._collector.event(
            SVSM_STAGE,
            min(fields[_TIME], TIME_MAX),
            fields[_VCPU],
            text,
            stage=stage,
            known=known.value,
            pc=fields[_RIP],
        )
