# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of the SVSM and of the hypervisor that stock firmware meets in SEC: it asks to be ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from tests.platforms.boots import boot, toml

pytestmark = pytest.mark.emulated

#: RAX of the core protocol's PVALIDATE.
PVALIDATE = "call = 1"


@pytest.mark.parametrize(
    "faults",
    [
        'inject = ["skipped-svsm"]',
        'inject = ["wrong-calling-area"]\ncalling_area = 0x80F008',
        f'inject = ["pending-call"]\n{PVALIDATE}',
        f'inject = ["answered-call"]\nresult = 0x80001001\n{PVALIDATE}',
    ],
)
def test_stock_firmware_ends_itself(faults: str, trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", toml(tmp_path, f"[faults]\n{faults}\n"))
    assert result.timeline.reached <= Phase.SEC
    [end] = [event for event in result.timeline.events if event.kind == "guest-termination"]
    assert "reason set 0, reason 0" in end.text


def test_the_first_calls_pass(trixie_path: Path, tmp_path: Path) -> None:
    config = toml(tmp_path, '[faults]\ninject = ["skipped-svsm"]\nafter = 6\n')
    result = boot(trixie_path, tmp_path / "out", config, until="dxe")
    assert result.timeline.reached is Phase.PEI
    assert [event.kind for event in result.timeline.events if event.kind == "guest-termination"]
