# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule sec-apic-page-shared: SEC reaches the xAPIC page, if at all, through a shared mapping (C=0)."""

from __future__ import annotations

from snp_harness.apic.access import Path, Phase
from snp_harness.apic.apic_base import APIC_PAGE, APIC_PAGE_SIZE
from snp_harness.apic.rules import observation
from snp_harness.apic.timeline import Event, Timeline
from snp_harness.apic.verdict import RuleResult

#: Kinds of events that a private access to a page without private memory causes.
PRIVATE_ACCESS_KINDS = frozenset({"rmp-violation", "private-mmio", "private-mmio-end"})
#: The field "phase" of events that may be SEC's.
_NOT_LATER = frozenset({Phase.RESET.name, Phase.SEC.name, Phase.UNKNOWN.name})
#: Physical address bits below every C-bit in use (47 is the lowest): the C-bit in an event's address does not count.
_ADDRESS_MASK = (1 << 47) - 1


class SecApicPageShared:
    """No access of SEC to the xAPIC page FEE00000 goes through a private mapping (C=1).

    The hypervisor cannot emulate the page if it is encrypted. On SNP the access is a nested page fault that ends
    the guest (APM volume 2, section 15.36.10, RMP checks; edk2 maps the page in SecMapApicBaseUnencrypted).
    """

    name = "sec-apic-page-shared"
    specification = (
        "APM 15.36.10 (RMP checks), GHCB 4.1 (MMIO NAE events need a shared page); edk2 maps the page shared "
        "in SecMapApicBaseUnencrypted."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Look for events that name the page, until SEC's end; the accesses only show whether the page was used."""
        mmio = sum(
            access.path is Path.MMIO and not access.is_base and access.phase in observation.SEC_OR_BEFORE
            for access in timeline.accesses
        )
        end = _sec_end(timeline)
        events = [event for event in timeline.events if _names_apic_page(event) and _before(event, end)]
        return observation.conclude(
            self.name,
            violated=f"the APIC page was not shared in {observation.plural(len(events), 'access', 'accesses')} of SEC",
            events=events,
            doubts=(
                observation.blind(timeline, "page-state", "whether a page is mapped private or shared"),
                observation.sec_not_seen(timeline),
            ),
            holds=f"{observation.plural(mmio, 'MMIO access', 'MMIO accesses')} in SEC, all shared"
            if mmio
            else "no access by MMIO in SEC",
        )


def _names_apic_page(event: Event) -> bool:
    address = event.fields.get("gpa")
    if event.kind not in PRIVATE_ACCESS_KINDS or not isinstance(address, int):
        return False
    return APIC_PAGE <= address & _ADDRESS_MASK < APIC_PAGE + APIC_PAGE_SIZE


def _sec_end(timeline: Timeline) -> int | None:
    """Time of the first phase after SEC, None when it was not seen."""
    times = [
        mark.time_ns
        for mark in timeline.phases
        if mark.phase not in observation.SEC_OR_BEFORE and mark.phase is not Phase.UNKNOWN and mark.time_ns is not None
    ]
    return min(times, default=None)


def _before(event: Event, end: int | None) -> bool:
    """An event of SEC's own code, one without a time, or in a run without a later phase, counts as SEC's.

    One of unknown code counts as well if it is before DXE: it has the phase UNKNOWN.
    """
    if event.fields.get("phase") in _NOT_LATER:
        return True
    return event.time_ns is None or end is None or event.time_ns < end
