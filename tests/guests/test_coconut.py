# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT-SVSM fails the points that are known, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.conformance.known import load_known
from snp_harness.conformance.series import run_conformance
from snp_harness.errors import EXIT_HOLDS
from snp_harness.hosts.host import Host
from tests.helpers.coconut import coconut_file

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

TIMEOUT_S = 300.0


@pytest.mark.parametrize("vcpus", [1, 2])
def test_coconut_fails_as_known(vcpus: int, tmp_path: Path, snp_host: Host) -> None:
    file = coconut_file("coconut-alt.igvm")
    known = load_known(Path("coconut-svsm"))
    out = tmp_path / "run"
    result = run_conformance(None, igvm=file, vcpus=vcpus, host=snp_host, out=out, timeout_s=TIMEOUT_S, known=known)
    assert (result.exit_status, result.unexpected) == (EXIT_HOLDS, ()), result.verdict
