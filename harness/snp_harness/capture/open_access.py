# SPDX-License-Identifier: GPL-2.0-or-later
"""Accesses whose answer the end of the run cut off: a vCPU's last records show nothing but the way to the answer."""

from __future__ import annotations

from dataclasses import dataclass

from snp_harness.capture.record import FLAG_WRITE, HostRecord, RecordEnd, RecordKind
from snp_harness.svsm.protocol import APIC_CALLS, QUERY_PROTOCOL, ApicCall, asks_for_apic

#: Longer an access is not on its way to an answer. Measured on a machine with five times its load: 30 ms.
ANSWER_NS = 200_000_000
_VCPU, _VMPL, _KIND = map(HostRecord._fields.index, ("vcpu", "vmpl", "kind"))
#: The hypervisor's doing, or another VMPL's; and what comes before the bytes of a page's first instruction that exits.
_BESIDE = frozenset(
    {
        RecordKind.DOORBELL,
        RecordKind.STATS,
        RecordKind.TEXT,
        RecordKind.VMPL_SWITCH,
        RecordKind.MODULE,
    }
)
#: Of the access itself, if they name its instruction.
_OF_ACCESS = frozenset({RecordKind.VC, RecordKind.RMP_VIOLATION})
#: VMGEXIT (REP VMMCALL), as the low bytes of `address` of a BYTES record.
_VMGEXIT, _VMGEXIT_MASK = 0xD9010FF3, 0xFFFFFFFF
#: How far the request for an answer has come.
_NOT_ASKED, _QUERIED, _OFFERED, _CALLED = range(4)


@dataclass(slots=True)
class _Begun:
    access: HostRecord
    asked: int = _NOT_ASKED


class OpenAccesses:
    """The last access of each vCPU without an answer, while the vCPU does nothing that does not lead to one.

    What leads to one: a VMGEXIT, the question whether the SVSM offers the APIC protocol, and the call for the register.
    """

    def __init__(self, guest_vmpl: int) -> None:
        self._guest_vmpl = guest_vmpl
        self._begun: dict[int, _Begun] = {}

    def take(self, fields: tuple[int, ...]) -> None:
        """Process a record: the next of its vCPU."""
        vcpu, kind = fields[_VCPU], fields[_KIND]
        if kind != RecordKind.ACCESS and vcpu not in self._begun:
            return
        if fields[_VMPL] < self._guest_vmpl:
            return
        record = HostRecord._make(fields)
        if kind == RecordKind.ACCESS:
            self._begun[vcpu] = _Begun(record)
        elif not _leads_to_answer(record, self._begun[vcpu]):
            del self._begun[vcpu]

    def at_end(self, end_ns: int) -> frozenset[int]:
        """Return the numbers of the accesses that the end of the run cut off. end_ns: when it was."""
        accesses = [begun.access for begun in self._begun.values()]
        return frozenset(access.seq for access in accesses if end_ns - access.time_ns <= ANSWER_NS)


def _leads_to_answer(record: HostRecord, begun: _Begun) -> bool:
    if record.kind in _BESIDE:
        return True
    if record.kind in _OF_ACCESS:
        return record.rip == begun.access.rip and begun.asked == _NOT_ASKED
    if record.kind == RecordKind.BYTES:
        return record.address & _VMGEXIT_MASK == _VMGEXIT
    if record.kind == RecordKind.END:
        # Of the others it is the end that cut the access off; the guest goes on to make this one.
        return record.address != RecordEnd.DEBUG_EXIT
    before, begun.asked = begun.asked, _asked(record, begun.access)
    return begun.asked > before


def _asked(record: HostRecord, access: HostRecord) -> int:
    if record.kind == RecordKind.SVSM_RESULT and record.address == QUERY_PROTOCOL:
        return _OFFERED
    if record.kind != RecordKind.SVSM_CALL:
        return _NOT_ASKED
    if asks_for_apic(record.address, record.value):
        return _QUERIED
    wanted = APIC_CALLS[ApicCall.WRITE_REGISTER if access.flags & FLAG_WRITE else ApicCall.READ_REGISTER]
    return _CALLED if (record.address, record.value) == (wanted, access.address) else _NOT_ASKED
