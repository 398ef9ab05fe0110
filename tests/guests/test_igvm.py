# SPDX-License-Identifier: GPL-2.0-or-later
"""The SVSM of an IGVM file, such as COCONUT's, fails the points that are known, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.conformance.image import read_image
from snp_harness.conformance.known import load_known
from snp_harness.conformance.series import run_conformance
from snp_harness.errors import EXIT_HOLDS
from snp_harness.hosts.host import Host
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_firmware import contained_firmware

pytestmark = [pytest.mark.emulated, pytest.mark.slow]

TIMEOUT_S = 300.0


@pytest.mark.parametrize("vcpus", [1, 2])
def test_coconut_fails_as_known(snp_igvm: Path, vcpus: int, tmp_path: Path, snp_host: Host) -> None:
    firmware = contained_firmware(IgvmFile.open(snp_igvm))
    if firmware is None or len(firmware) != len(read_image()):
        pytest.skip(f"{snp_igvm} does not hold the conformance guest: docs/conformance.md says how one is built")
    known = load_known(Path("coconut-svsm"))
    out = tmp_path / "run"
    result = run_conformance(None, igvm=snp_igvm, vcpus=vcpus, host=snp_host, out=out, timeout_s=TIMEOUT_S, known=known)
    assert (result.exit_status, result.unexpected) == (EXIT_HOLDS, ()), result.verdict
