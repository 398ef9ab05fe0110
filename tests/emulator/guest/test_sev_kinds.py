# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with SEV or SEV-ES, without SNP: SEV_STATUS, CPUID 8000001F, and what becomes #VC."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.emulator.guest.build import End, Mode
from tests.emulator.guest.run import GuestRun, Setting

pytestmark = pytest.mark.emulated

NO_TRAP = (1 << 64) - 1
GP = 13


@pytest.mark.parametrize(
    ("kind", "trap", "status", "eax"), [("sev", NO_TRAP, 1, 2), ("", GP, None, 0)], ids=["sev", "plain"]
)
def test_what_a_guest_without_vc_reads(
    guest_run: Callable[..., GuestRun], kind: str, trap: int, status: int | None, eax: int
) -> None:
    lines = guest_run(Setting(Mode.PLAIN, kind=kind), End.SEV_STATUS).lines
    numbers = {name: int(text, 16) for name, text in lines.items()}
    assert numbers["trap"] == trap
    assert numbers.get("status") == status
    assert numbers["write"] == numbers["ghcb"] == GP
    assert numbers["eax"] == eax
    assert numbers["ebx"] & 0x3F == (51 if kind else 0)


def test_an_sev_es_guest_makes_no_request_of_snp(guest_run: Callable[..., GuestRun]) -> None:
    """It raises #VC and uses the GHCB's MSR protocol, but KVM ends it at a page state change."""
    ended = guest_run(Setting(Mode.VMPL0, kind="sev-es")).ended
    assert "which KVM accepts of SEV-SNP guests only" in ended
