# SPDX-License-Identifier: GPL-2.0-or-later
"""Phases of firmware that pretends to be further than it is, and of firmware that does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Known
from snp_harness.apic.verdict import Status
from snp_harness.platforms import console_goal
from tests.platforms.boots import boot

pytestmark = pytest.mark.emulated

#: Real-mode code at FFFFFC00: writes the text behind it to COM1, then loops.
PRINTER = bytes.fromhex("be 11fc 2eac 3c00 7406 baf803 ee ebf4 ebfe")
#: The reset vector's jump there.
JUMP = bytes.fromhex("e9 0dfc")
#: What EDK II prints on the way to its shell.
BOOT = b"Loading PEIM at\r\nLoading driver at\r\nBdsDxe: starting Boot0001\r\nShell> \0"


def pretender(firmware: Path, tmp_path: Path) -> Path:
    """The image with a reset vector that only prints."""
    image = bytearray(firmware.read_bytes())
    code = PRINTER + BOOT
    image[-0x400 : -0x400 + len(code)] = code
    image[-16 : -16 + len(JUMP)] = JUMP
    path = tmp_path / "pretender.fd"
    path.write_bytes(image)
    return path


@pytest.mark.parametrize("until", ["sec", "shell"])
def test_a_console_alone_shows_no_phase(
    until: str, trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_goal, "BEHIND_S", 0.5)
    result = boot(pretender(trixie_path, tmp_path), tmp_path / "out", "plain", until=until, timeout_s=30.0)
    assert b"Shell> " in (result.directory / "serial.log").read_bytes()
    assert [mark.phase for mark in result.timeline.phases] == [Phase.RESET]
    assert result.verdict.status is Status.INCONCLUSIVE
    assert result.verdict.result("x2apic-before-sec").reason == (
        "SEC was not seen to its end, the furthest phase seen is RESET: "
        "the console shows the firmware's prompt, and the guest was not seen further than the reset vector"
    )


def test_each_phase_of_a_real_boot_is_proven_in_order(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", until="dxe")
    marks = result.timeline.phases
    assert [mark.phase for mark in marks][:4] == [Phase.RESET, Phase.SEC, Phase.PEI, Phase.DXE]
    assert {mark.known for mark in marks[:4]} == {Known.PROVEN}
    assert result.timeline.complete
    # Every access is of a module whose bytes were executed.
    assert None not in {access.module for access in result.timeline.accesses}
    assert Phase.UNKNOWN not in {access.phase for access in result.timeline.accesses}
