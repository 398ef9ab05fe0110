# SPDX-License-Identifier: GPL-2.0-or-later
"""From KVM's events of an SNP guest under an SVSM to the verdict: what can be held and what cannot on hardware.

The lines are written from the formats of the kernels' sources; none was recorded on an SNP host.
"""

from __future__ import annotations

import dataclasses

from snp_harness.apic.access import Operation
from snp_harness.apic.contract import evaluate
from snp_harness.apic.rules import injection
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_timeline import NOT_OBSERVED_ENCRYPTED, WITNESS, KvmTimeline
from snp_harness.platforms.snp import PLATFORM
from tests.apic.samples import SEVEN
from tests.capture.kvm_lines import Trace
from tests.platforms.sec import sec_accesses, told

GUEST = 2
FIXED = ((False, 0x80F, 0xFF), (True, 0x80F, 0x1FF), (True, 0x832, 0x20005), (True, 0x838, 1))
#: What KVM prints for the pc of an encrypted guest means nothing.
RIP = 0xFFFFFFFF81000000


class SnpTrace(Trace):
    """An SNP guest's: each access is a VMGEXIT."""

    def run_vmpl(self, vmpl: int) -> None:
        self.exit("vmgexit", RIP)
        self.add(f"kvm_vmgexit_msr_protocol_enter: vcpu 0, ghcb_gpa {vmpl << 32 | 0x16:016x}")

    def vmgexit(self, reason: int, info1: int, info2: int = 4) -> None:
        self.exit("vmgexit", RIP)
        self.add(f"kvm_vmgexit_enter: vcpu 0, exit_reason {reason:x}, exit_info1 {info1:x}, exit_info2 {info2:x}")

    def page(self, write: bool, offset: int, value: int) -> None:
        self.vmgexit(0x80000002 if write else 0x80000001, 0xFEE00000 + offset)
        apic = f"kvm_apic: apic_{'write' if write else 'read'} {offset:#x} = {value:#x}"
        page = f"kvm_mmio: mmio {'write' if write else 'read'} len 4 gpa {0xFEE00000 + offset:#x} val {value:#x}"
        for line in (page, apic) if write else (apic, page):
            self.add(line)

    def register(self, write: bool, number: int, value: int, suffix: str = "") -> None:
        self.vmgexit(0x7C, int(write))
        self.add(f"kvm_msr: msr_{'write' if write else 'read'} {number:x} = {value:#x}{suffix}")

    def svsm_starts(self, *, injection: bool = True) -> None:
        """injection: the SVSM gives the guest Alternate Injection: before, it configures interrupts for itself."""
        self.vmgexit(0x72, 0)
        self.register(False, 0x1B, 0xFEE00900)
        if injection:
            self.vmgexit(0x8000001B, 0x50, 0)
        self.run_vmpl(GUEST)

    def fixed_sec(self) -> None:
        self.register(False, 0x1B, 0xFEE00900)
        self.register(True, 0x1B, 0xFEE00D00)
        for write, number, value in FIXED:
            self.register(write, number, value)

    def pei(self) -> None:
        self.vmgexit(0x7B, 0x510 << 16)
        self.pio(0x510, 0x19)

    def dxe(self) -> None:
        self.vmgexit(0x80000001, 0xE0000000)
        self.add("kvm_mmio: mmio read len 4 gpa 0xe0000000 val 0x0")


def timeline_of(trace: Trace, *, configured: bool = True) -> Timeline:
    collector = Collector()
    reader = KvmTimeline(collector, None, svsm=True)
    reader.feed(trace.data)
    reader.flush()
    assert reader.unread == 0
    return collector.finish(
        witness=WITNESS,
        platform="snp",
        gaps=[],
        lost=0,
        not_observed=NOT_OBSERVED_ENCRYPTED,
        alternate_injection=configured,
        svsm=True,
    )


def test_stock_firmware() -> None:
    trace = SnpTrace()
    trace.svsm_starts()
    for operation, offset, value in SEVEN:
        trace.register(False, 0x1B, 0xFEE00900)
        trace.page(operation is Operation.WRITE, offset, value)
    trace.pei()
    timeline = timeline_of(trace)
    assert told(sec_accesses(timeline)) == SEVEN
    assert {access.vmpl for access in timeline.accesses} == {GUEST}
    assert all(access.pc is None for access in timeline.accesses)
    verdict = evaluate(timeline, observed_on=PLATFORM.observed_on)
    assert verdict.status is Status.VIOLATED
    assert len(verdict.result("x2apic-before-sec").offences) == 7
    assert verdict.observed.startswith("SEV-SNP hardware")


def test_fixed_firmware() -> None:
    """It goes to x2APIC mode; the registers that the SVSM serves do not reach KVM, the timer's do."""
    trace = SnpTrace()
    trace.svsm_starts()
    trace.fixed_sec()
    # A call of the APIC protocol: the SVSM runs, and runs the firmware again.
    trace.run_vmpl(0)
    trace.run_vmpl(GUEST)
    trace.pei()
    # SEC can use fw_cfg, too: that alone does not show its end.
    early = evaluate(timeline_of(trace))
    assert early.status is Status.INCONCLUSIVE
    assert early.result("x2apic-before-sec").reason == (
        "the end of SEC was not seen: PEI is inferred (first use of fw_cfg: SEC has ended before)"
    )
    trace.dxe()
    verdict = evaluate(timeline_of(trace))
    assert verdict.status is Status.HOLDS
    assert {"pc", "module", "svsm-calls"} <= verdict.not_observed


def test_firmware_whose_timer_is_refused() -> None:
    """x2APIC registers while the hypervisor's APIC is in xAPIC mode."""
    trace = SnpTrace()
    trace.svsm_starts()
    trace.register(True, 0x832, 0x20005, " (#GP)")
    trace.pei()
    verdict = evaluate(timeline_of(trace))
    assert verdict.status is Status.VIOLATED
    assert verdict.result("no-refused-access").status is Status.VIOLATED


def test_alternate_injection_that_no_request_shows_is_not_observed() -> None:
    """An IGVM file whose flag nobody reads: the firmware runs without Alternate Injection, and nothing is shown."""
    trace = SnpTrace()
    trace.svsm_starts(injection=False)
    trace.fixed_sec()
    trace.pei()
    trace.dxe()
    timeline = timeline_of(trace)
    verdict = evaluate(timeline)
    assert verdict.status is Status.INCONCLUSIVE
    reason = "Alternate Injection was to be active, and was not seen to begin"
    assert verdict.result("x2apic-before-sec").reason == reason
    assert injection.state(timeline) == "configured, not observed to be active"


def test_what_was_not_seen_to_be_active_is_not_violated() -> None:
    trace = SnpTrace()
    trace.svsm_starts(injection=False)
    for operation, offset, value in SEVEN:
        trace.page(operation is Operation.WRITE, offset, value)
    trace.pei()
    trace.dxe()
    verdict = evaluate(timeline_of(trace))
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.reason == (
        "Alternate Injection was configured, not observed to be active;"
        " with it: 7 local-APIC accesses in SEC before x2APIC mode"
    )
    assert verdict.result("x2apic-before-sec").status is Status.NOT_APPLICABLE


def test_alternate_injection_that_was_to_be_off() -> None:
    trace = SnpTrace()
    trace.svsm_starts()
    trace.pei()
    timeline = timeline_of(trace, configured=False)
    verdict = evaluate(timeline)
    assert verdict.status is Status.INCONCLUSIVE
    assert verdict.reason == "Alternate Injection was not configured, and seen to begin"
    assert injection.state(timeline) == "not configured, and seen to begin"
    quiet = SnpTrace()
    quiet.svsm_starts(injection=False)
    quiet.pei()
    timeline = timeline_of(quiet, configured=False)
    assert evaluate(timeline).status is Status.NOT_APPLICABLE
    assert injection.state(timeline) == "not active"


def test_the_request_of_one_vcpu_shows_it_for_those_that_the_guest_starts() -> None:
    trace = SnpTrace()
    trace.svsm_starts()
    trace.fixed_sec()
    trace.pei()
    trace.dxe()
    timeline = timeline_of(trace)
    other = dataclasses.replace(timeline.accesses[0], vcpu=1)
    assert evaluate(dataclasses.replace(timeline, accesses=(*timeline.accesses, other))).status is Status.HOLDS
    early = dataclasses.replace(other, time_ns=0)
    verdict = evaluate(dataclasses.replace(timeline, accesses=(early, *timeline.accesses)))
    reason = "Alternate Injection was not seen to begin on vCPU 1 before its first access"
    assert verdict.result("x2apic-before-sec").reason == reason


def test_the_end_of_alternate_injection_is_seen() -> None:
    trace = SnpTrace()
    trace.svsm_starts()
    trace.run_vmpl(0)
    trace.vmgexit(0x8000001C, 0)
    trace.run_vmpl(GUEST)
    # The guest itself can make the request: that shows nothing.
    trace.vmgexit(0x8000001B, 0x50)
    events = [event for event in timeline_of(trace).events if event.kind == "alternate-injection"]
    assert [event.fields["active"] for event in events] == [1, 0]
    assert events[1].text == "Alternate Injection ends: the SVSM made request 8000001C"


def test_an_svsm_that_never_starts_the_firmware_says_nothing_about_it() -> None:
    trace = SnpTrace()
    trace.vmgexit(0x72, 0)
    trace.register(False, 0x80F, 0)
    timeline = timeline_of(trace)
    assert timeline.accesses == ()
    assert evaluate(timeline).status is Status.INCONCLUSIVE
