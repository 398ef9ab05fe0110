# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's events as accesses: path, outcome, vCPU, module and phase, and the report of lost events."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.apic.access import Access, Operation, Outcome, Path, Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.contract import evaluate
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture.collect import Collector
from snp_harness.capture.kvm_timeline import NOT_OBSERVED_ENCRYPTED, NOT_OBSERVED_PLAIN, WITNESS, KvmTimeline
from tests.apic.samples import SEVEN
from tests.capture.firmware import Firmware, module
from tests.capture.kvm_lines import KERNELS, TRACES, Trace
from tests.platforms.sec import sec_accesses, told

MOVED = module("CpuDxe", Phase.DXE, None, 0x6000, 0x1100)
FIRMWARE = Firmware(
    module("SecMain", Phase.SEC, 0xFFFCC094, 0x10000, 0x1000),
    module("PlatformPei", Phase.PEI, 0x820000, 0x40000, 0x2000),
    MOVED,
)


def finished(
    collector: Collector,
    gaps: Sequence[str] = (),
    lost: int = 0,
    not_observed: frozenset[str] = NOT_OBSERVED_PLAIN,
    *,
    svsm: bool = False,
) -> Timeline:
    return collector.finish(
        witness=WITNESS,
        platform="kvm",
        gaps=list(gaps),
        lost=lost,
        not_observed=not_observed,
        alternate_injection=svsm,
        svsm=svsm,
    )


def timeline_of(data: bytes, *, pc: bool = True, svsm: bool = False, step: int = 0) -> tuple[KvmTimeline, Timeline]:
    collector = Collector()
    reader = KvmTimeline(collector, FIRMWARE if pc else None, svsm=svsm)
    for at in range(0, len(data), step or len(data) or 1):
        reader.feed(data[at : at + (step or len(data))])
    reader.flush()
    gaps = [f"{reader.unread} lines not read"] if reader.unread else []
    not_observed = NOT_OBSERVED_PLAIN if pc else NOT_OBSERVED_ENCRYPTED
    return reader, finished(collector, gaps, reader.lost, not_observed, svsm=svsm)


def only(timeline: Timeline) -> Access:
    [access] = timeline.accesses
    return access


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("step", [0, 1000])
def test_recorded_traces(kernel: str, step: int) -> None:
    reader, timeline = timeline_of((TRACES / f"{kernel}.txt").read_bytes(), step=step)
    accesses = sec_accesses(timeline)
    assert told(accesses) == SEVEN
    assert {(a.path, a.vcpu, a.size, a.mode, a.outcome, a.served_by, a.module) for a in accesses} == {
        (Path.MMIO, 0, 4, ApicMode.XAPIC, Outcome.OK, Server.HYPERVISOR, "SecMain")
    }
    assert [a.pc for a in accesses[:2]] == [0xFFFCFBE6, 0xFFFCFC60]
    assert [mark.phase for mark in timeline.phases] == [Phase.RESET, Phase.SEC, Phase.PEI]
    assert (reader.unread, reader.lost, reader.accelerated) == (0, 0, "")
    verdict = evaluate(timeline, as_if_active=True)
    assert verdict.status is Status.VIOLATED
    assert len(verdict.result("x2apic-before-sec").offences) == 7


def test_sec_s_own_code_is_sec_s_after_pei_has_begun() -> None:
    trace = Trace()
    trace.exit("cpuid", 0xFFFCC100)
    trace.exit("io", 0x840100)
    trace.exit("npf", 0xFFFCFBE6)
    trace.add("kvm_apic: apic_read APIC_SPIV = 0xff")
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0xff")
    _, timeline = timeline_of(trace.data)
    assert timeline.reached is Phase.PEI
    assert (only(timeline).module, only(timeline).phase) == ("SecMain", Phase.SEC)
    assert evaluate(timeline, as_if_active=True).result("x2apic-before-sec").status is Status.VIOLATED


def test_the_upper_half_is_an_operating_system_s_after_bds_only() -> None:
    trace = Trace()
    trace.exit("cpuid", 0xFFFCC100)
    trace.exit("cpuid", 0xFFFFFFFF81000000)
    _, timeline = timeline_of(trace.data)
    assert timeline.reached is Phase.SEC


def test_msr_accesses_of_x2apic_mode() -> None:
    trace = Trace()
    trace.msr("write", 0x1B, 0xFEE00D00)
    trace.exit("msr", 0xFFFCC55E)
    # Of a register that KVM's APIC serves there are two events, of the ICR in some kernels one.
    trace.add("kvm_apic: apic_read APIC_SPIV = 0xff")
    trace.add("kvm_msr: msr_read 80f = 0xff")
    trace.msr("write", 0x830, 0x1000000FD)
    _, timeline = timeline_of(trace.data)
    base, svr, icr = timeline.accesses
    assert (base.mode, base.outcome, base.path) == (ApicMode.XAPIC, Outcome.OK, Path.MSR)
    assert (svr.register.name, svr.path, svr.mode, svr.value) == ("SVR", Path.MSR, ApicMode.X2APIC, 0xFF)
    assert (icr.register.name, icr.path, icr.size, icr.value) == ("ICR", Path.MSR, 8, 0x1000000FD)
    assert evaluate(timeline, as_if_active=True).result("legal-transition").status is Status.HOLDS


def test_a_served_access_shows_the_mode_and_how_it_was_reached_is_judged() -> None:
    trace = Trace()
    # A hypervisor that creates its vCPUs in x2APIC mode.
    trace.msr("read", 0x80F, 0xFF)
    trace.mmio_read(0xF0, 0xFF)
    _, timeline = timeline_of(trace.data)
    assert [access.mode for access in timeline.accesses] == [ApicMode.X2APIC, ApicMode.XAPIC]
    verdict = evaluate(timeline, as_if_active=True)
    assert verdict.result("legal-transition").offences == timeline.accesses[:1]
    assert verdict.result("x2apic-before-sec").offences == timeline.accesses[1:]


def test_refused_accesses() -> None:
    trace = Trace()
    trace.msr("read", 0x80F, 0, " (#GP)")
    trace.msr("write", 0x1B, 0xFEE00500, " (#GP)")
    trace.msr("read", 0x1B, 0xFEE00900)
    _, timeline = timeline_of(trace.data)
    read, write, after = timeline.accesses
    assert (read.outcome, read.value, read.served_by) == (Outcome.GP, None, Server.HYPERVISOR)
    assert (write.outcome, write.value, write.operation) == (Outcome.GP, 0xFEE00500, Operation.WRITE)
    assert after.mode is ApicMode.XAPIC
    verdict = evaluate(timeline, as_if_active=True)
    assert [a.index for a in verdict.result("no-refused-access").offences] == [0, 1]
    assert verdict.result("legal-transition").offences == (write,)


def test_mmio_that_no_apic_claims() -> None:
    trace = Trace()
    trace.msr("write", 0x1B, 0xFEE00D00)
    trace.exit("npf")
    # KVM's quirk LAPIC_MMIO_HOLE: all ones; without it QEMU serves the access, later.
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee00020 val 0xffffffff")
    trace.exit("npf")
    trace.add("kvm_mmio: mmio unsatisfied-read len 4 gpa 0xfee00030 val 0x0")
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee00030 val 0xffffffff")
    trace.exit("npf")
    trace.add("kvm_mmio: mmio unsatisfied-read len 4 gpa 0xfee00080 val 0x0")
    trace.exit("npf")
    trace.add("kvm_mmio: mmio write len 4 gpa 0xfee000b0 val 0x0")
    trace.exit("cpuid")
    _, timeline = timeline_of(trace.data)
    told_ = [(a.register.offset, a.value, a.outcome, a.served_by) for a in timeline.accesses[1:]]
    assert told_ == [
        (0x20, 0xFFFFFFFF, Outcome.NOT_CLAIMED, Server.NOBODY),
        (0x30, 0xFFFFFFFF, Outcome.NOT_CLAIMED, Server.NOBODY),
        (0x80, None, Outcome.NOT_CLAIMED, Server.NOBODY),
        (0xB0, 0, Outcome.NOT_CLAIMED, Server.NOBODY),
    ]
    assert len(evaluate(timeline, as_if_active=True).result("no-xapic-after-x2apic").offences) == 4


def test_vcpus_by_their_threads() -> None:
    trace = Trace()
    trace.exit("npf", vcpu=0, thread=7)
    trace.exit("npf", vcpu=1, thread=8)
    trace.add("kvm_apic: apic_read APIC_ID = 0x0", 7)
    trace.add("kvm_apic: apic_read APIC_ID = 0x1000000", 8)
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee00020 val 0x1000000", 8)
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee00020 val 0x0", 7)
    trace.msr("write", 0x1B, 0xFEE00C00, vcpu=1, thread=8)
    trace.mmio_read(0x30, 0x50014, vcpu=0, thread=7)
    _, timeline = timeline_of(trace.data)
    assert [(a.vcpu, a.value, a.mode) for a in timeline.accesses] == [
        (1, 0x1000000, ApicMode.XAPIC),
        (0, 0, ApicMode.XAPIC),
        (1, 0xFEE00C00, ApicMode.XAPIC),
        (0, 0x50014, ApicMode.XAPIC),
    ]


def test_vcpus_are_numbered_as_qemu_does() -> None:
    trace = Trace()
    # Two sockets of three cores: the fourth vCPU's APIC ID is 4.
    trace.mmio_read(0x20, 0x4000000, vcpu=4, thread=9)
    trace.mmio_read(0x20, 0x4000000, vcpu=4, thread=10)
    collector = Collector()
    reader = KvmTimeline(collector, FIRMWARE)
    reader.vcpus = {9: 3}
    reader.feed(trace.data)
    timeline = finished(collector)
    assert [access.vcpu for access in timeline.accesses] == [3, 4]


def test_a_moved_apic_page() -> None:
    trace = Trace()
    trace.msr("write", 0x1B, 0xFED00900)
    trace.exit("npf")
    trace.add("kvm_apic: apic_read APIC_SPIV = 0xff")
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfed000f0 val 0xff")
    trace.exit("npf")
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0xff")
    _, timeline = timeline_of(trace.data)
    assert [a.register.name for a in timeline.accesses] == ["APIC_BASE", "SVR"]


def test_a_fast_path_that_is_reported_before_its_exit_has_no_pc() -> None:
    trace = Trace()
    trace.exit("io", 0xFFFCC000)
    trace.add("kvm_apic: apic_write APIC_ICR = 0xfd")
    trace.add("kvm_msr: msr_write 830 = 0xfd")
    trace.exit("msr", 0xFFFCC100)
    _, timeline = timeline_of(trace.data)
    assert (only(timeline).pc, only(timeline).module, only(timeline).path) == (None, None, Path.MSR)


def test_the_reset_vectors_pc_is_where_it_lies() -> None:
    trace = Trace()
    trace.msr("read", 0x1B, 0xFEE00900, rip=0xFFF6)
    trace.exit("cpuid", 0xFFFCC100)
    # An AP's start in low memory.
    trace.msr("read", 0x1B, 0xFEE00800, rip=0x8006, vcpu=1, thread=8)
    _, timeline = timeline_of(trace.data)
    assert [(access.pc, access.phase) for access in timeline.accesses] == [
        (0xFFFFFFF6, Phase.RESET),
        (0x8006, Phase.SEC),
    ]


def test_an_exit_explains_one_access() -> None:
    trace = Trace()
    trace.msr("write", 0x80F, 0x1FF, rip=0xFFFCC200)
    # Another fast path, whose own exit follows.
    trace.add("kvm_msr: msr_write 830 = 0xfd")
    trace.exit("npf", 0xFFFCC300)
    # One instruction that reads and writes, and then an event of another instruction.
    for offset in (0x320, 0x380):
        trace.add(f"kvm_apic: apic_read {offset:#x} = 0x10000")
        trace.add(f"kvm_mmio: mmio read len 4 gpa {0xFEE00000 + offset:#x} val 0x10000")
        trace.add(f"kvm_mmio: mmio write len 4 gpa {0xFEE00000 + offset:#x} val 0x10001")
        trace.add(f"kvm_apic: apic_write {offset:#x} = 0x10001")
    _, timeline = timeline_of(trace.data)
    assert [access.pc for access in timeline.accesses] == [0xFFFCC200, None, 0xFFFCC300, 0xFFFCC300, None, None]


@pytest.mark.parametrize(
    ("reason", "path"), [("npf", Path.MMIO), ("APIC_ACCESS", Path.MMIO), ("MSR_WRITE", Path.MSR), ("io", Path.UNKNOWN)]
)
def test_an_apic_event_alone_takes_its_path_from_the_exit(reason: str, path: Path) -> None:
    trace = Trace()
    trace.exit(reason)
    trace.add("kvm_apic: apic_write APIC_EOI = 0x0")
    _, timeline = timeline_of(trace.data)
    assert (only(timeline).path, only(timeline).register.name) == (path, "EOI")


def test_phases() -> None:
    trace = Trace()
    trace.exit("cr0_sel_write", 0xFFF0)
    trace.exit("cpuid", 0xFFFCC100)
    trace.exit("io", 0x840100)
    trace.mmio_write(0x3E0, 0xB, rip=0x7E000000)
    trace.print("BdsDxe: loading Boot0001\r\n")
    _, timeline = timeline_of(trace.data)
    assert [(mark.phase, mark.evidence) for mark in timeline.phases] == [
        (Phase.RESET, "KVM's first trace event of the guest"),
        (Phase.SEC, "exit in SecMain+6C"),
        (Phase.PEI, "exit in PlatformPei+20100"),
        (Phase.DXE, "first write of the timer's divide register (LocalApicTimerDxe)"),
        (Phase.BDS, "console: BdsDxe: loading Boot0001"),
    ]


def test_an_ap_that_takes_over_the_timers_setting_shows_no_dxe() -> None:
    """MpInitLib in PEI, SyncLocalApicTimerSetting."""
    trace = Trace()
    trace.exit("io", 0x840100)
    trace.mmio_write(0x3E0, 0xB, rip=0x9FD00, thread=8, vcpu=1)
    _, timeline = timeline_of(trace.data)
    assert timeline.reached is Phase.PEI
    trace.mmio_write(0x3E0, 0xB, rip=0x7E000000)
    _, timeline = timeline_of(trace.data)
    assert timeline.reached is Phase.DXE


def test_a_devices_memory_shows_dxe_and_the_platforms_own_does_not() -> None:
    trace = Trace()
    trace.exit("io", 0x840100)
    for address in (0xFEC00000, 0xFED00000, 0xFFC00010):
        trace.add(f"kvm_mmio: mmio write len 4 gpa {address:#x} val 0x0")
    trace.pio(0x510, 0)
    _, before = timeline_of(trace.data)
    trace.add("kvm_mmio: mmio unsatisfied-read len 2 gpa 0xe0000000 val 0x0")
    _, after = timeline_of(trace.data)
    assert before.reached is Phase.PEI
    assert after.reached is Phase.DXE


def test_modules_that_were_moved_are_named_when_they_are_found() -> None:
    trace = Trace()
    for pc in (0x7E001113, 0x7E001200, 0x7E002000, 0x7F000000, 0xFFFCFBE6):
        trace.mmio_read(0x20, 0, rip=pc)
    collector = Collector()
    reader = KvmTimeline(collector, FIRMWARE)
    reader.feed(trace.data)
    assert reader.unnamed(2) == [0x7E001113, 0x7E002000]
    assert reader.unnamed(9) == [0x7F000000]
    assert reader.unnamed(9) == []
    reader.add_image(0x7E000000, MOVED.size_of_image, MOVED.entry_rva)
    reader.name_modules()
    trace.lines.clear()
    trace.mmio_read(0x30, 0, rip=0x7E003000)
    reader.feed(trace.data)
    assert reader.unnamed(9) == []
    timeline = finished(collector)
    assert [(access.module, access.module_offset) for access in timeline.accesses] == [
        ("CpuDxe", 0x1113),
        ("CpuDxe", 0x1200),
        ("CpuDxe", 0x2000),
        (None, None),
        ("SecMain", 0x3B52),
        ("CpuDxe", 0x3000),
    ]
    assert [access.index for access in timeline.accesses] == list(range(6))


def test_a_guest_whose_pc_is_not_known_is_placed_by_its_console() -> None:
    trace = Trace()
    trace.exit("vmgexit", 0xDEAD)
    trace.print("SecCoreStartupWithStack(0xFFFCC000, 0x820000)\n")
    trace.exit("vmgexit", 0xDEAD)
    trace.add("kvm_vmgexit_enter: vcpu 0, exit_reason 80000001, exit_info1 fee000f0, exit_info2 4")
    trace.add("kvm_apic: apic_read APIC_SPIV = 0xff")
    trace.add("kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0xff")
    trace.pio(0x510, 1)
    _, timeline = timeline_of(trace.data, pc=False)
    access = only(timeline)
    assert (access.phase, access.pc, access.module, access.path) == (Phase.SEC, None, None, Path.MMIO)
    assert [mark.phase for mark in timeline.phases] == [Phase.SEC, Phase.PEI]


def test_a_private_access_to_the_apic_page() -> None:
    trace = Trace()
    trace.print("SecCoreStartupWithStack(0xFFFCC000, 0x820000)\n")
    trace.add("kvm_page_fault: vcpu 0 rip 0xdead address 0x00000000fee000f0 error_code 0x4")
    _, shared = timeline_of(trace.data, pc=False)
    trace.add("kvm_page_fault: vcpu 0 rip 0xdead address 0x00000000fee000f0 error_code 0x400000004")
    _, private = timeline_of(trace.data, pc=False)
    rule = "sec-apic-page-shared"
    # The absence of a fault does not show that the page is shared.
    assert evaluate(shared, as_if_active=True).result(rule).status is Status.INCONCLUSIVE
    assert evaluate(private, as_if_active=True).result(rule).status is Status.VIOLATED
    assert [event.fields["gpa"] for event in private.events] == [0xFEE000F0]


def test_what_the_svsm_does_is_no_access_of_the_firmware() -> None:
    trace = Trace()
    trace.exit("vmgexit")
    trace.msr("read", 0x1B, 0xFEE00900)
    trace.pio(0x510, 1)
    trace.print("BdsDxe: an SVSM that prints this\n")
    trace.add("kvm_vmgexit_msr_protocol_enter: vcpu 0, ghcb_gpa 0000000200000016")
    trace.msr("read", 0x80F, 0, " (#GP)")
    # It calls the SVSM, which runs it again.
    trace.add("kvm_vmgexit_enter: vcpu 0, exit_reason 80000018, exit_info1 0, exit_info2 0")
    trace.msr("write", 0x80B, 0)
    trace.add("kvm_vmgexit_enter: vcpu 0, exit_reason 80000018, exit_info1 2, exit_info2 0")
    trace.msr("write", 0x1B, 0xFEE00D00)
    _, timeline = timeline_of(trace.data, pc=False, svsm=True)
    assert [(a.register.name, a.vmpl, a.outcome) for a in timeline.accesses] == [
        ("SVR", 2, Outcome.GP),
        ("APIC_BASE", 2, Outcome.OK),
    ]
    assert [event.text for event in timeline.events] == [
        "VMPL0: APIC read of APIC_BASE",
        "VMPL0: APIC write of EOI",
    ]
    assert timeline.reached is Phase.SEC


def test_lost_events_and_unread_lines_leave_nothing_holding() -> None:
    trace = Trace()
    trace.exit("cpuid", 0xFFFCC100)
    trace.exit("io", 0x840100)
    _, whole = timeline_of(trace.data)
    lossy, lost = timeline_of(trace.data + b"CPU:1 [LOST 17 EVENTS]\n")
    odd, unread = timeline_of(trace.data + b" qemu-7 [000] d..1.  6.000000: kvm_apic: of another form\n")
    assert evaluate(whole, as_if_active=True).result("x2apic-before-sec").status is Status.HOLDS
    assert lossy.lost == 17
    assert odd.unread == 1
    for timeline in (lost, unread):
        statuses = {result.status for result in evaluate(timeline, as_if_active=True).results if result.observable}
        assert Status.VIOLATED not in statuses
        assert evaluate(timeline, as_if_active=True).status is Status.INCONCLUSIVE


@pytest.mark.parametrize(
    "text", ["kvm_avic_unaccelerated_access: vcpu=0, offset=0xf0(APIC_SPIV), trap, write, vec=0x0", ""]
)
def test_a_processor_that_serves_the_apic_itself_is_noticed(text: str) -> None:
    trace = Trace()
    trace.exit("APIC_WRITE" if not text else "npf")
    if text:
        trace.add(text)
    reader, _ = timeline_of(trace.data)
    assert reader.accelerated == ("AVIC" if text else "APIC_WRITE")


def test_rules_that_need_what_kvm_does_not_show_do_not_hold() -> None:
    trace = Trace()
    trace.exit("io", 0x840100)
    _, timeline = timeline_of(trace.data)
    not_judged = {result.rule for result in evaluate(timeline, as_if_active=True).results if not result.observable}
    assert not_judged == {
        "sec-apic-page-shared",
        "apic-protocol-used-only-when-offered",
    }


_LINES = st.sampled_from(
    [
        "kvm_apic: apic_read APIC_SPIV = 0xff",
        "kvm_apic: apic_write APIC_TDCR = 0xb",
        "kvm_mmio: mmio read len 4 gpa 0xfee000f0 val 0xff",
        "kvm_mmio: mmio unsatisfied-read len 4 gpa 0xfee000f0 val 0x0",
        "kvm_mmio: mmio write len 4 gpa 0xfee003e0 val 0xb",
        "kvm_mmio: mmio write len 4 gpa 0xe0000000 val 0xb",
        "kvm_msr: msr_write 1b = 0xfee00d00",
        "kvm_msr: msr_write 83e = 0xb",
        "kvm_msr: msr_read 80f = 0x0 (#GP)",
        "kvm_exit: vcpu 0 reason npf rip 0xfffcfbe6 info1 0x0 info2 0x0",
        "kvm_exit: vcpu 3 reason msr rip 0x840000 info1 0x0 info2 0x0",
        "kvm_vmgexit_enter: vcpu 0, exit_reason 80000018, exit_info1 2, exit_info2 0",
        "kvm_pio: pio_write at 0x402 size 1 count 1 val 0xa ",
    ]
)


@given(st.lists(st.tuples(_LINES, st.integers(1, 3)), max_size=40), st.booleans(), st.booleans())
def test_any_order_of_events(lines: list[tuple[str, int]], pc: bool, svsm: bool) -> None:
    trace = Trace()
    for text, thread in lines:
        trace.add(text, thread)
    _, timeline = timeline_of(trace.data, pc=pc and not svsm, svsm=svsm)
    assert Timeline.from_jsonl(timeline.to_jsonl()) == timeline
    # No access is counted twice: each event of an MSR or of the APIC page is at most one access.
    sources = sum("1b =" in text or "msr" in text[:8] or "fee00" in text or "apic_" in text for text, _ in lines)
    assert len(timeline.accesses) <= sources
    evaluate(timeline, as_if_active=True)
