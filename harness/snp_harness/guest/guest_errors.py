# SPDX-License-Identifier: GPL-2.0-or-later
"""Errors of a guest that is held while its caller looks into it."""

from __future__ import annotations

from snp_harness.errors import EXIT_INCONCLUSIVE, HarnessError


class GuestError(HarnessError):
    """The guest did not do what was waited for. It is the cause, so the environment is not broken."""

    exit_status = EXIT_INCONCLUSIVE


class GuestTimeoutError(GuestError):
    """What was waited for did not happen in time; the message says how far the guest was."""


class GuestEndedError(GuestError):
    """The guest has ended: it was powered off, it ended itself, or QEMU died; the message says why."""


class GuestStuckError(GuestError):
    """The guest cannot go on: it is halted with interrupts off, or executes the same instructions without end."""
