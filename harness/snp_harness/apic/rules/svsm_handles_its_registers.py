# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule svsm-handles-its-registers: what the SVSM APIC protocol serves does not go to the hypervisor."""

from __future__ import annotations

from snp_harness.apic import ipi
from snp_harness.apic.access import Access, Path, Server
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult


class SvsmHandlesItsRegisters:
    """With Alternate Injection and the APIC protocol, registers that the SVSM serves are reached by its calls only.

    What the SVSM offers is a fact of each vCPU: where it answers that it does not, its registers are the hypervisor's.

    The interrupts that the SVSM holds are not in the hypervisor's APIC, which has a TPR, ISR and EOI of its own.
    An access by MSR outside x2APIC mode reaches neither, which other rules judge; by MMIO it reaches the hypervisor.
    """

    name = "svsm-handles-its-registers"
    specification = (
        "SVSM APIC protocol (COCONUT-SVSM kernel/src/cpu/apic.rs, kernel/src/protocols/apic.rs), APM 16.11 "
        "(x2APIC MSRs), APM 16.5 (ICR message types)."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check the accesses to these registers while Alternate Injection is active."""
        if not timeline.alternate_injection:
            return observation.not_applicable(self.name, injection.INACTIVE)
        if not timeline.apic_protocol:
            return observation.not_applicable(self.name, injection.NO_PROTOCOL)
        lacking = injection.without_protocol(timeline)
        served = 0
        not_offered = 0
        leaks: list[Access] = []
        undecided = 0
        activity = injection.Activity(timeline)
        for access in timeline.accesses:
            if not access.register.svsm or not activity.at(access.vcpu, access.time_ns):
                continue
            of_svsm, leaked = ipi.served_by_svsm(access), _leaked(access)
            served += access.path is Path.SVSM
            if access.vcpu in lacking and access.path is not Path.SVSM:
                not_offered += of_svsm is not False and leaked is not False
                continue
            if of_svsm and leaked:
                leaks.append(access)
            elif of_svsm is not False and leaked is not False:
                undecided += 1
        return observation.conclude(
            self.name,
            violated=f"{observation.accesses(len(leaks))} of the SVSM's registers reached the hypervisor",
            offences=leaks,
            doubts=(
                injection.calls_not_seen(timeline),
                observation.run_not_seen(timeline),
                observation.unobserved(undecided, f"who served {observation.accesses(undecided)} was not observed"),
            ),
            holds=_holds(served) + _lack(lacking, not_offered),
        )


def _leaked(access: Access) -> bool | None:
    """The access reached the hypervisor's APIC; None if that was not observed."""
    if access.path is Path.MMIO:
        return True
    if access.path is Path.SVSM or access.served_by in (Server.SVSM, Server.GUEST, Server.NOBODY):
        return False
    mode = observation.in_x2apic_mode(access)
    if mode is False:
        return False
    return True if mode and access.served_by is Server.HYPERVISOR else None


def _holds(served: int) -> str:
    by_calls = f"{observation.accesses(served)} by the APIC protocol, " if served else ""
    return f"{by_calls}none of the SVSM's registers reached the hypervisor"


def _lack(vcpus: frozenset[int], accesses: int) -> str:
    """Return whose lack it is that accesses of these vCPUs reached the hypervisor."""
    if not accesses:
        return ""
    named = ", ".join(map(str, sorted(vcpus)))
    return f"; {observation.accesses(accesses)} on vCPU {named}, where the SVSM does not offer the APIC protocol"
