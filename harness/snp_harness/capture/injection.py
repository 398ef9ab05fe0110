# SPDX-License-Identifier: GPL-2.0-or-later
"""The hypervisor's records of Alternate Injection as events: calls of the APIC protocol, interrupts, begin and end.

The events' fields are in the domain's terms (docs/contract.md): rules do not depend on numbers of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable

from snp_harness.apic.event_kinds import UNANSWERED_CALL
from snp_harness.apic.registers import X2APIC_MSR_FIRST, X2APIC_MSR_LAST
from snp_harness.capture.collect import EVENT_LIMIT, Collector
from snp_harness.capture.record import HostRecord, RecordIrqSource, RecordKind, RecordOutcome
from snp_harness.svsm.protocol import (
    APIC_CALLS,
    APIC_VECTOR_ALL,
    APIC_VECTOR_ALL_MIN,
    APIC_VECTOR_ENABLE,
    APIC_VECTOR_MASK,
    CALL_SHIFT,
    QUERY_PROTOCOL,
    ApicCall,
    Protocol,
    Result,
    asks_for_apic,
    call_name,
    result_name,
)

_LOW_32 = 0xFFFFFFFF
_CONFIGURE = APIC_CALLS[ApicCall.CONFIGURE]
#: These two are accesses if they name a register, and the hypervisor records them as such when they are answered.
_REGISTER_CALLS = frozenset({APIC_CALLS[ApicCall.READ_REGISTER], APIC_CALLS[ApicCall.WRITE_REGISTER]})
_SOURCES: dict[int, str] = {source: source.name.lower() for source in RecordIrqSource}


class InjectionEvents:
    """Converts the records that `handlers` names.

    Of interrupts the first of each vector, source and stage is kept, and again after each CONFIGURE_VECTOR.
    """

    def __init__(self, guest_vmpl: int, collector: Collector) -> None:
        self._guest_vmpl = guest_vmpl
        self._collector = collector
        self._calls: dict[int, HostRecord] = {}
        #: The last call of each vCPU, of any protocol, until it is answered.
        self._open: dict[int, HostRecord] = {}
        self._seen: dict[int, set[tuple[str, int, int, int]]] = {}
        self.handlers: dict[int, Callable[[HostRecord], None]] = {
            RecordKind.SVSM_CALL: self._call,
            RecordKind.SVSM_RESULT: self._result,
            RecordKind.DOORBELL: self._doorbell,
            RecordKind.INTERRUPT: self._interrupt,
            RecordKind.ALTERNATE: self._alternate,
        }

    def called_ns(self, vcpu: int) -> int | None:
        """Return when a vCPU made the call that is being answered, None if that was not seen."""
        call = self._calls.get(vcpu)
        return None if call is None else call.time_ns

    def flush(self) -> None:
        """Add the calls that have no answer at the end of the run."""
        for vcpu in list(self._calls):
            self._unanswered(vcpu)
        for call in self._open.values():
            text = f"{call_name(call.address)}, RCX {call.value:X}, RDX {call.extra:X}: no answer at the end of the run"
            fields: dict[str, int | str] = {"rax": call.address, "rcx": call.value, "rdx": call.extra}
            self._collector.event(UNANSWERED_CALL, call.time_ns, call.vcpu, text, **fields)
        self._open.clear()

    def _call(self, record: HostRecord) -> None:
        self._open[record.vcpu] = record
        self._unanswered(record.vcpu)
        if asks_for_apic(record.address, record.value) or record.address >> CALL_SHIFT == Protocol.APIC:
            self._calls[record.vcpu] = record

    def _result(self, record: HostRecord) -> None:
        self._open.pop(record.vcpu, None)
        call = self._calls.get(record.vcpu)
        if call is None or call.address != record.address:
            return
        del self._calls[record.vcpu]
        if record.address == QUERY_PROTOCOL:
            offered = record.value == Result.SUCCESS and record.extra != 0
            version = call.value & _LOW_32
            answer = "offers" if offered else "does not offer"
            self._collector.event(
                "apic-protocol-query",
                record.time_ns,
                record.vcpu,
                f"QUERY_PROTOCOL: the SVSM {answer} the APIC protocol, version {version}",
                offered=int(offered),
                version=version,
                result=record.value,
            )
        elif not _is_access(call):
            self._answered(call, record.time_ns, record.value)

    def _unanswered(self, vcpu: int) -> None:
        call = self._calls.pop(vcpu, None)
        if call is not None and call.address != QUERY_PROTOCOL:
            self._answered(call, call.time_ns, None)

    def _answered(self, call: HostRecord, time_ns: int, result: int | None) -> None:
        """Add an event for a call of the APIC protocol. result: None if there was no answer."""
        fields = {"call": call.address & _LOW_32, "rcx": call.value, "called_ns": call.time_ns}
        if result is not None:
            fields["result"] = result
        if call.address == APIC_CALLS[ApicCall.CONFIGURE_VECTOR]:
            self._seen.pop(call.vcpu, None)
            vector = call.value & APIC_VECTOR_MASK
            every = bool(call.value & APIC_VECTOR_ALL)
            fields["allowed"] = int(bool(call.value & APIC_VECTOR_ENABLE))
            fields["first_vector"] = APIC_VECTOR_ALL_MIN if every else vector
            fields["last_vector"] = APIC_VECTOR_MASK if every else vector
        answer = "no answer" if result is None else result_name(result)
        text = f"{call_name(call.address)}, RCX {call.value:X}: {answer}"
        self._collector.event("apic-protocol-call", time_ns, call.vcpu, text, **fields)

    def _doorbell(self, record: HostRecord) -> None:
        # Another VMPL may run at that time: posted interrupts are for the guest's.
        lost = record.outcome != RecordOutcome.OK
        what = "lost by an injected fault" if lost else "posted to the doorbell page"
        self._vector("doorbell", record, what, lost=int(lost), level=int(record.size == 1))

    def _interrupt(self, record: HostRecord) -> None:
        if record.vmpl == self._guest_vmpl:
            self._vector("interrupt", record, "taken by the guest")

    def _vector(self, kind: str, record: HostRecord, what: str, **fields: int) -> None:
        seen = self._seen.setdefault(record.vcpu, set())
        key = (kind, record.address, record.value, record.outcome)
        if key in seen:
            return
        # Beyond the limit the collector only counts.
        if len(seen) < EVENT_LIMIT:
            seen.add(key)
        source = _SOURCES.get(record.value, f"source {record.value}")
        text = f"vector {record.address:X} of {source}, {what}"
        self._collector.event(
            kind, record.time_ns, record.vcpu, text, vector=record.address, source=source, pc=record.rip, **fields
        )

    def _alternate(self, record: HostRecord) -> None:
        text = f"Alternate Injection of VMPL{record.address} {'begins' if record.value else 'ends'}"
        if record.aux:
            text += f"; the hypervisor has changed APIC_BASE to {record.extra:X} by itself"
        call = self._calls.get(record.vcpu)
        asked = call is not None and call.address == _CONFIGURE
        # The guest can have VMPLs below its own begin and end by AP creation, without running them.
        kind = "alternate-injection" if record.address == self._guest_vmpl else "other-vmpl-alternate-injection"
        self._collector.event(
            kind,
            record.time_ns,
            record.vcpu,
            text,
            vmpl=record.address,
            active=int(bool(record.value)),
            apic_base=record.extra,
            by_policy=int(bool(record.aux)),
            asked=int(asked),
        )


def _is_access(call: HostRecord) -> bool:
    """Whether a call reads or writes a register of the APIC: another number is not an access."""
    return call.address in _REGISTER_CALLS and X2APIC_MSR_FIRST <= call.value <= X2APIC_MSR_LAST
