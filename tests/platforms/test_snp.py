# SPDX-License-Identifier: GPL-2.0-or-later
"""The contract on SEV-SNP hardware, under COCONUT's SVSM and without one. Skipped where there is none (docs/snp.md).

None of these has run on hardware so far.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.conformance.series import run_conformance
from snp_harness.conformance.tap import PointStatus
from snp_harness.errors import LackingHostError
from snp_harness.hosts.host import Host
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from snp_harness.svsm.igvm import IgvmFile
from snp_harness.svsm.igvm_firmware import contained_firmware
from snp_harness.svsm.sections import SvsmKind, SvsmSection
from snp_harness.testing.boot import SnpBoot
from tests.apic.samples import SEVEN
from tests.platforms.sec import sec_accesses, told

pytestmark = pytest.mark.snp

BUILD = Path(__file__).parents[2] / "build" / "firmware"

Configured = Callable[[bool], SvsmConfig]


def built(name: str) -> Path:
    """A firmware of `make firmware`."""
    path = BUILD / name / "OVMF.fd"
    if not path.is_file():
        pytest.skip(f"{path} is not built: make firmware")
    return path


@pytest.fixture
def stock() -> Path:
    return built("stock")


@pytest.fixture
def fixed() -> Path:
    return built("fixed")


@pytest.fixture
def configured(snp_igvm: Path) -> Configured:
    """The configuration with that SVSM, and Alternate Injection on or off."""

    def make(alternate_injection: bool) -> SvsmConfig:
        section = SvsmSection(kind=SvsmKind.IGVM, igvm=str(snp_igvm), alternate_injection=alternate_injection)
        return SvsmConfig(svsm=section)

    return make


def check_what_cannot_be_seen(timeline: Timeline) -> None:
    """No register of an SNP guest can be read: nothing may look as if it had been."""
    assert {"pc", "module", "page-state", "svsm-calls"} <= timeline.not_observed
    assert all(access.pc is None and access.module is None for access in timeline.accesses)
    assert timeline.platform == "snp"


def test_stock_firmware_violates_the_contract(snp_boot: SnpBoot, configured: Configured, stock: Path) -> None:
    result = snp_boot(stock, platform="snp", config=configured(True))
    assert result.verdict.status is Status.VIOLATED
    rule = result.verdict.result("x2apic-before-sec")
    assert rule.status is Status.VIOLATED
    assert all(access.phase is Phase.SEC and access.path is AccessPath.MMIO for access in rule.offences)
    check_what_cannot_be_seen(result.timeline)


def test_fixed_firmware_keeps_the_contract(snp_boot: SnpBoot, configured: Configured, fixed: Path) -> None:
    result = snp_boot(fixed, platform="snp", config=configured(True))
    assert result.verdict.status is Status.HOLDS
    assert result.timeline.alternate_injection
    check_what_cannot_be_seen(result.timeline)


@pytest.mark.parametrize("name", ["stock", "fixed"])
def test_without_alternate_injection_both_boot(snp_boot: SnpBoot, configured: Configured, name: str) -> None:
    result = snp_boot(built(name), platform="snp", config=configured(False), until="shell")
    assert result.timeline.reached >= Phase.BDS
    assert not result.timeline.alternate_injection
    check_what_cannot_be_seen(result.timeline)


def test_stock_firmware_without_an_svsm_makes_the_seven_accesses(snp_boot: SnpBoot, stock: Path) -> None:
    result = snp_boot(stock, platform="snp", config=load_config("no-svsm"))
    assert told(sec_accesses(result.timeline)) == SEVEN
    check_what_cannot_be_seen(result.timeline)


def test_the_svsm_conforms(snp_igvm: Path, configured: Configured, tmp_path: Path, snp_host: Host) -> None:
    """With an IGVM file that holds the conformance guest instead of OVMF."""
    from snp_harness.conformance.image import read_image

    if contained_firmware(IgvmFile.open(snp_igvm)) != read_image():
        pytest.skip(f"{snp_igvm} does not hold the conformance guest: docs/conformance.md says how one is built")
    try:
        result = run_conformance(configured(True), platform="snp", out=tmp_path / "out", host=snp_host)
    except LackingHostError as error:
        pytest.skip(str(error))
    assert result.of(PointStatus.FAILED) == ()
    assert result.tap.complete
