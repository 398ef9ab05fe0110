# SPDX-License-Identifier: GPL-2.0-or-later
"""Kinds of a timeline's events that more than their witness knows, and what kinds have in common (docs/json.md)."""

from __future__ import annotations

#: What was launched, where that differs from what the user named.
GUEST_IMAGE = "guest-image"
#: The launch of an SNP guest; the field "digest" has the launch digest, hexadecimal.
LAUNCH = "launch"
#: The guest ended the run by isa-debug-exit; the field "status" has the lower seven bits of what it wrote, which are
#: in QEMU's exit status.
GUEST_EXIT = "guest-exit"
#: The guest reset the machine, or powered it off.
GUEST_RESET, GUEST_POWER_OFF = "guest-reset", "guest-power-off"
#: The SVSM ended the run itself: by isa-debug-exit (with "status"), or by a request to be ended or a triple fault.
SVSM_EXIT = "svsm-exit"
SVSM_TERMINATION = "svsm-termination"
#: An error that the SVSM has printed, and gone on after.
SVSM_ERROR = "svsm-error"
#: A stage of the SVSM's start, its panic, and what it did in the whole run.
SVSM_STAGE = "svsm-stage"
SVSM_PANIC = "svsm-panic"
SVSM_ACTIVITY = "svsm-activity"
#: The guest cannot go on, which ends the run.
GUEST_STUCK = "guest-stuck"
#: A call of the SVSM that has no answer at the end of the run.
UNANSWERED_CALL = "unanswered-svsm-call"
#: Two ways of observing the run that agreed.
AGREEMENT = "agreement"
#: The run goes on from a snapshot of an earlier one.
RESTORED = "restored"
#: The number of accesses that were not kept.
CONDENSED = "condensed"
#: Those that end a run; a run continues after all others.
END_KINDS = frozenset(
    {
        GUEST_EXIT,
        GUEST_POWER_OFF,
        GUEST_RESET,
        GUEST_STUCK,
        SVSM_EXIT,
        SVSM_TERMINATION,
        "guest-shutdown",
        "guest-termination",
        "private-mmio-end",
        "host-end",
    }
)
#: Those that the rules use (docs/contract.md): without one of them a rule may be wrong.
RULE_KINDS = frozenset(
    {
        "rmp-violation",
        "private-mmio",
        "private-mmio-end",
        "apic-protocol-query",
        "apic-protocol-call",
        "doorbell",
        "interrupt",
        "alternate-injection",
    }
)
#: Those that only an SVSM causes.
SVSM_KINDS = frozenset(
    {
        SVSM_EXIT,
        SVSM_TERMINATION,
        SVSM_ERROR,
        SVSM_STAGE,
        SVSM_PANIC,
        SVSM_ACTIVITY,
        "apic-protocol-query",
        "apic-protocol-call",
    }
)
