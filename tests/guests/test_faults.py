# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests of the tests: each injected fault makes exactly the points fail that test for it."""

from __future__ import annotations

import pytest

from snp_harness.conformance.guest_run import ConformanceResult
from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.hosts.host import Host
from snp_harness.svsm.config_files import parse_config
from tests.guests.points import points_of

pytestmark = pytest.mark.emulated

POINTS = frozenset(points_of("alternate-injection"))
TIMEOUT_S = 3600.0


def named(*groups: str) -> frozenset[str]:
    """The points of some groups."""
    return frozenset(name for name in POINTS if name.partition("/")[0] in groups)


#: Points that do not call the APIC protocol.
WITHOUT_PROTOCOL = named("apic-base") | {
    "core/query-protocol-core",
    "core/query-protocol-unknown",
    "core/unknown-call-and-protocol",
    "core/call-needs-pending",
    "core/pvalidate",
    "core/query-protocol-apic",
    "core/query-protocol-apic-versions",
    "timer/refused-in-xapic-mode",
    "timer/served-in-x2apic-mode",
    "other-vcpu/create",
    "other-vcpu/query-protocol",
    "other-vcpu/delete",
    "other-vcpu/delete-again-refused",
    "other-vcpu/comes-again",
    "other-vcpu/goes-again",
    "registration/no-eoi-required-is-clear",
}
#: Points that expect no interrupt, and so pass if none can be allowed.
WITHOUT_INTERRUPT = frozenset(
    {"vectors/all-leaves-out-what-is-below-31", "timer/stopped", "other-vcpu/timer-not-allowed-there"}
)

#: Points that expect an error of the protocol, and check its code.
REFUSALS = frozenset(name for name in POINTS if name.startswith("registers/") and name.endswith("-refused")) | {
    "calls/configure-bad-values",
    "values/tpr-has-8-bits",
    "values/eoi-takes-zero-only",
    "values/self-ipi-has-8-bits",
    "values/icr-reserved-bits-refused",
    "values/icr-lowest-priority-refused",
    "values/icr-smi-refused",
    "values/icr-remote-read-refused",
    "values/icr-init-refused",
    "values/icr-startup-refused",
    "values/icr-extint-refused",
    "values/icr-reads-back",
    "registration/other-vcpu-cannot-register",
    "vectors/bad-values-refused",
}

#: Points that read or write the TPR (MSR 808) by the protocol, or read it to see whether the protocol is there.
TPR = frozenset(
    {
        "calls/configure-query",
        "calls/configure-bad-values",
        "calls/configure-register-and-deregister",
        "calls/unused-registers-ignored",
        "classes/class-1",
        "classes/ppr-by-tpr-and-in-service",
        "classes/tpr-by-vector",
        "registers/read-tpr",
        "registers/upper-half-reads-as-zero",
        "values/tpr-has-8-bits",
        "values/tpr-reads-back",
        "values/tpr-is-cr8",
        "values/ppr-is-tpr-with-nothing-in-service",
        "priority/tpr-holds-back-and-lets-in",
        "priority/tpr-f0-holds-everything",
        "in-service/ppr-is-the-higher-of-two",
        "other-vcpu/tpr-holds-back",
        "other-vcpu/comes-again-as-after-init",
        "registration/state-handed-over",
    }
)

#: Points that wait for an interrupt of the hypervisor: of its timer or of a device.
INTERRUPTS = named("device") | {
    "other-vcpu/timer-allowed-there",
    "other-vcpu/device-edge",
    "other-vcpu/device-level-ends-there-only",
    "masking/hlt-with-a-pending-interrupt",
    "vectors/allowed-is-delivered",
    "vectors/no-longer-allowed",
    "vectors/all",
    "vectors/all-ignores-the-vector",
    "vectors/all-includes-31",
    "timer/one-shot",
    "timer/one-shot-counts-down-to-zero",
    "timer/periodic",
    "timer/held-by-if",
    "timer/held-by-tpr",
    "timer/ticks-merge-while-held",
    "timer/tick-while-in-service",
    "timer/wakes-hlt",
}
#: A delayed interrupt arrives when the hypervisor's APIC takes over, but these points expect their own only.
LATE = frozenset({"registration/hypervisor-self-ipi", "registration/hypervisor-nmi"})

#: Points that use the hypervisor's APIC by x2APIC MSRs through the GHCB, or end a level-triggered interrupt.
HYPERVISOR_MSRS = (
    INTERRUPTS
    | named("timer")
    | {
        "apic-base/msrs-refused-when-disabled",
        "apic-base/msrs-refused-in-xapic-mode",
        "apic-base/msrs-served-in-x2apic-mode",
        "apic-base/upper-half-refused-in-x2apic-mode",
        "apic-base/page-served-in-xapic-mode",
        "core/no-vector-allowed-at-first",
        "values/id-is-the-hypervisors",
        "vectors/bad-values-refused",
        "vectors/not-allowed-is-not-delivered",
        "vectors/all-leaves-out-what-is-below-31",
        "registration/state-handed-over",
        "registration/pending-interrupts-come",
        "registration/hypervisor-self-ipi",
        "registration/hypervisor-tpr",
        "registration/hypervisor-nmi",
        "registration/hypervisor-timer-one-shot",
        "registration/hypervisor-timer-periodic",
        "registration/hypervisor-device",
        "registration/other-vcpu-ends-by-query",
        "registration/other-vcpu-hypervisor-ipi",
        "registration/query-again",
        "registration/deregister-again",
    }
)

FAULTS = [
    pytest.param("busy", POINTS - WITHOUT_PROTOCOL - WITHOUT_INTERRUPT, marks=pytest.mark.slow),
    pytest.param("incomplete", POINTS - WITHOUT_PROTOCOL - WITHOUT_INTERRUPT, marks=pytest.mark.slow),
    pytest.param("wrong-result", REFUSALS),
    pytest.param("refused-register", TPR),
    pytest.param("lost-interrupt", INTERRUPTS, marks=pytest.mark.slow),
    pytest.param("delayed-interrupt", INTERRUPTS | LATE, marks=pytest.mark.slow),
    # A #HV without an event has no effect on an SVSM that reads its page: it has to accept it.
    pytest.param("doorbell-storm", frozenset[str]()),
    pytest.param("wrong-nae", HYPERVISOR_MSRS, marks=pytest.mark.slow),
]


def run_with(fault: str, tmp_path_factory: pytest.TempPathFactory, host: Host) -> ConformanceResult:
    # The delay is longer than the whole run. Instructions are counted, as in test_conformance.
    config = parse_config(f'[faults]\ninject = ["{fault}"]\ndelay_us = 600000000\n'.encode(), fault)
    out = tmp_path_factory.mktemp(fault) / "out"
    return run_conformance(config, host=host, out=out, timeout_s=TIMEOUT_S, icount=True)


@pytest.mark.parametrize(("fault", "noticed"), FAULTS)
def test_exactly_what_should_notice_a_fault_does(
    fault: str, noticed: frozenset[str], tmp_path_factory: pytest.TempPathFactory, snp_host: Host
) -> None:
    result = run_with(fault, tmp_path_factory, snp_host)
    assert result.tap.complete, result.tap.defects
    failed = {point.name for point in result.of(PointStatus.FAILED)}
    assert sorted(failed) == sorted(noticed)
