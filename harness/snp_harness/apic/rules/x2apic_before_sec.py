# SPDX-License-Identifier: GPL-2.0-or-later
"""Rule x2apic-before-sec: no local-APIC register access in SEC or earlier outside x2APIC mode."""

from __future__ import annotations

from snp_harness.apic.access import Path, Phase
from snp_harness.apic.rules import injection, observation
from snp_harness.apic.rules.observation import Doubt
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import RuleResult


class X2ApicBeforeSec:
    """Firmware is in x2APIC mode before SEC's first local-APIC register access, and does not use the xAPIC page.

    With Alternate Injection the SVSM serves a part of the x2APIC MSRs and nothing else (SVSM APIC protocol). APIC_BASE
    is the mode control, not an access. The rule is the same when Alternate Injection is not active: it then shows what
    would happen with it.
    """

    name = "x2apic-before-sec"
    specification = (
        "APM 16.9 (x2APIC mode), APM 16.11 (MSRs 800-8FF outside x2APIC mode raise #GP; in x2APIC mode the "
        "xAPIC page is gone), SVSM APIC protocol (COCONUT-SVSM kernel/src/cpu/apic.rs)."
    )

    def check(self, timeline: Timeline) -> RuleResult:
        """Check the register accesses of RESET and SEC."""
        registers = [access for access in timeline.accesses if not access.is_base]
        sec = [access for access in registers if access.phase in observation.SEC_OR_BEFORE]
        offences = [access for access in sec if observation.in_x2apic_mode(access) is False]
        unknown_mode = sum(observation.in_x2apic_mode(access) is None for access in sec)
        unplaced = sum(
            access.phase is Phase.UNKNOWN and observation.in_x2apic_mode(access) is not True for access in registers
        )
        outside = [access for access in offences if access.mode is None or access.mode.value != "x2APIC"]
        how = "before x2APIC mode" if outside else "by MMIO in x2APIC mode"
        if sec:
            holds = f"{observation.accesses(len(sec))} in SEC, all in x2APIC mode"
            if any(access.path is Path.UNKNOWN for access in sec):
                holds += " (MMIO or MSR: not observed)"
        else:
            holds = "no local-APIC access in SEC, and SEC was seen to its end"
        return observation.conclude(
            self.name,
            violated=f"{observation.accesses(len(offences))} in SEC {how}",
            offences=offences,
            doubts=(
                observation.sec_not_seen(timeline),
                injection.begin_not_seen(timeline),
                injection.ended_unasked(timeline),
                _doubt(unknown_mode, "in SEC in a mode that was not observed"),
                _doubt(
                    unplaced,
                    "outside x2APIC mode in a phase that was not observed"
                    + (": parts of the firmware's image could not be read" if timeline.defects else ""),
                ),
            ),
            holds=holds,
        )


def _doubt(count: int, what: str) -> Doubt | None:
    return Doubt(f"{observation.accesses(count)} {what}") if count else None
