# SPDX-License-Identifier: GPL-2.0-or-later
"""The first patches, which only enter x2APIC mode, without those for the SVSM APIC protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.access import Server
from snp_harness.apic.verdict import Status
from snp_harness.edk2.series import load_series
from snp_harness.firmware_run import RunSpec
from snp_harness.svsm.config_files import load_config
from tests.ovmf_patches.conftest import BASES, SERIES, Base
from tests.ovmf_patches.seen import told_without_timing
from tests.platforms.boots import boot, run

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.long, pytest.mark.emulated]
FIRST = ("backports/0001-", "0001-", "0002-", "0003-", "0004-")
#: The rules about the mode of the local APIC.
MODE = {
    *("x2apic-before-sec", "legal-transition", "no-xapic-after-x2apic", "no-access-outside-x2apic"),
    *("no-refused-access", "sec-apic-page-shared", "timer-reaches-hypervisor-in-x2apic"),
}


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest) -> Base:
    return BASES[request.param]()


@pytest.fixture(scope="module")
def alone(base: Base) -> Path:
    """The series to its fourth patch. Of the backports it needs the first only."""
    wanted = [patch for patch in load_series(SERIES) if patch.entry.path.startswith(FIRST)]
    assert len(wanted) == len(FIRST)
    return base.image(tuple(wanted))


@pytest.mark.parametrize("vcpus", [1, 4])
def test_sec_and_pei_are_in_x2apic_mode(alone: Path, vcpus: int, tmp_path: Path) -> None:
    """The hypervisor serves all registers: that is what the other patches change."""
    result = boot(alone, tmp_path / "out", until="dxe", vcpus=vcpus)
    registers = [access for access in result.timeline.accesses if not access.is_base]
    assert {access.vcpu for access in registers} == set(range(vcpus))
    assert {access.path for access in registers} == {AccessPath.MSR}
    assert {access.served_by for access in registers} == {Server.HYPERVISOR}
    status = {found.rule: found.status for found in result.verdict.results}
    assert {rule for rule in MODE if status[rule] is not Status.HOLDS} == set()
    assert status["svsm-handles-its-registers"] is Status.VIOLATED


@pytest.mark.parametrize("config", ["alternate-injection-off", "plain"])
def test_nothing_changes_without_alternate_injection(base: Base, alone: Path, config: str, tmp_path: Path) -> None:
    seen = []
    for number, firmware in enumerate((base.image(()), alone)):
        spec = RunSpec(firmware, svsm=load_config(config), until="dxe", icount=True, timeout_s=900)
        seen.append(told_without_timing(run(spec, "emulated", tmp_path / str(number)).timeline))
    assert seen[0] == seen[1]
