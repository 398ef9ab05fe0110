# SPDX-License-Identifier: GPL-2.0-or-later
"""OVMF as a guest with SEV or SEV-ES, without SNP."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.capture.record import RecordKind
from snp_harness.errors import UsageError
from snp_harness.firmware_run import RunSpec, run
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import parse_config
from snp_harness.vm.rundir import HOST_LOG
from tests.helpers.raw_log import records

pytestmark = pytest.mark.emulated

TIMEOUT_S = 300.0


def _config(kind: str) -> SvsmConfig:
    text = f"[svsm]\npresent = false\nalternate_injection = false\n[guest]\nsev = '{kind}'\n[log]\nlevel = 2"
    return parse_config(text.encode(), kind)


@pytest.mark.parametrize("kind", ["sev", "sev-es"])
def test_ovmf_boots_as_such_a_guest(kind: str, trixie_path: Path, tmp_path: Path) -> None:
    spec = RunSpec(trixie_path, svsm=_config(kind), until="dxe", timeout_s=TIMEOUT_S)
    result = run(spec, "emulated", tmp_path / "run")
    assert result.error is None
    assert result.timeline.reached >= Phase.DXE
    kinds = {record.kind for record in records((result.directory / HOST_LOG).read_bytes())}
    assert (RecordKind.NAE in kinds) == (RecordKind.VC in kinds) == (kind == "sev-es")
    assert not kinds & {RecordKind.RMP_CHANGE, RecordKind.RMP_VIOLATION}


def test_sev_es_has_one_vcpu(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one vCPU"):
        run(RunSpec(trixie_path, svsm=_config("sev-es"), vcpus=2), "emulated", tmp_path / "run")
