# SPDX-License-Identifier: GPL-2.0-or-later
"""Many boots, from 1 to 16 vCPUs: each comes to the shell. One that hangs may come up once in many."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snp_harness.vm import rundir
from tests.platforms.boots import boot

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.long, pytest.mark.emulated]

BOOTS = 20
#: Seconds of a boot on a busy machine are about 30.
TIMEOUT_S = 300.0
#: The stock firmware does not come to the shell under Alternate Injection.
CONFIGURATIONS = {"stock": "alternate-injection-off", "fixed": "alternate-injection"}


@pytest.mark.parametrize("turn", range(BOOTS))
@pytest.mark.parametrize("vcpus", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("image", CONFIGURATIONS)
def test_no_boot_hangs(image: str, vcpus: int, turn: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    firmware: Path = request.getfixturevalue(image)
    out = tmp_path / "out"
    result = boot(firmware, out, CONFIGURATIONS[image], vcpus=vcpus, until="shell", timeout_s=TIMEOUT_S)
    assert result.timeline.complete, (turn, os.getloadavg(), result.timeline.gaps)
    assert "Shell> " in (out / rundir.SERIAL).read_text(errors="replace")
