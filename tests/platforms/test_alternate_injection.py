# SPDX-License-Identifier: GPL-2.0-or-later
"""Stock OVMF under Alternate Injection, and in every configuration that comes with the harness."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.access import Phase, Server
from snp_harness.apic.apic_base import ApicMode
from snp_harness.apic.rules.legal_transition import STATE_DIAGRAM
from snp_harness.apic.verdict import Status
from snp_harness.cli import main as cli
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, EXIT_USAGE, EXIT_VIOLATED, UsageError
from snp_harness.firmware_run import RunResult
from snp_harness.report.model import Report
from snp_harness.report.terminal import render
from snp_harness.svsm.config_files import load_config, shipped_configs
from snp_harness.vm import rundir
from tests.apic.samples import SEVEN
from tests.platforms.boots import boot, check_seven, toml
from tests.platforms.sec import sec_accesses, told

pytestmark = pytest.mark.emulated

#: The SVSM stops, and no firmware runs.
STOPPED = "no-feature-bit-9"
#: The hypervisor's APIC is in x2APIC mode without a write by the firmware.
POLICIES = ("policy-x2apic-at-reset", "policy-x2apic-on-altinj")
REASON = "Alternate injection required but not available"


def status(result: RunResult, rule: str) -> Status:
    return result.verdict.result(rule).status


def test_stock_ovmf_is_violated_and_explained(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", until="pei")
    assert result.exit_status == EXIT_VIOLATED
    check_seven(result.timeline, 2)
    assert status(result, "x2apic-before-sec") is Status.VIOLATED
    timer = result.verdict.result("timer-reaches-hypervisor-in-x2apic")
    assert timer.status is Status.VIOLATED
    assert {access.path for access in timer.offences} == {AccessPath.MMIO}
    # CpuMpPei reads the APIC's ID through the page: of the hypervisor's APIC, where the SVSM has one.
    leaks = result.verdict.result("svsm-handles-its-registers").offences
    assert "APIC ID" in {access.register.name for access in leaks}
    assert status(result, "legal-transition") is Status.HOLDS
    assert result.verdict.result("apic-protocol-used-only-when-offered").reason == "the APIC protocol was not called"
    begins = [event for event in result.timeline.events if event.kind == "alternate-injection"]
    assert [(event.fields["active"], event.fields["by_policy"]) for event in begins] == [(1, 0)]


def test_without_alternate_injection_the_contract_does_not_apply_to_stock_ovmf(
    trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["run", "--quiet", "--firmware", str(trixie_path), "--svsm-config", "alternate-injection-off"]
    assert cli.main([*run, "--out", str(out)]) == EXIT_HOLDS
    assert capsys.readouterr().out.startswith(
        "does not apply: Alternate Injection is not active; with it: 7 local-APIC accesses in SEC before x2APIC mode ("
    )
    assert cli.main([*run, "--out", str(out), "--as-if-active"]) == EXIT_VIOLATED
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("violated: 7 local-APIC accesses in SEC before x2APIC mode (")
    assert first.endswith(", judged as if Alternate Injection were active)")


def test_stock_ovmf_judged_as_if_it_were_active(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", "alternate-injection-off")
    assert status(result, "x2apic-before-sec") is Status.VIOLATED
    unregistered = result.verdict.result("no-unregistered-vector")
    assert (unregistered.status, unregistered.reason) == (Status.NOT_APPLICABLE, "Alternate Injection is not active")
    assert not [event for event in result.timeline.events if event.kind == "alternate-injection"]


@pytest.mark.parametrize("config", POLICIES)
def test_a_refused_proposal_hides_the_offence_and_breaks_the_apm(
    config: str, trixie_path: Path, tmp_path: Path
) -> None:
    result = boot(trixie_path, tmp_path / "out", config)
    assert result.timeline.complete
    accesses = sec_accesses(result.timeline)
    assert told(accesses) == SEVEN
    assert {(access.path, access.mode) for access in accesses} == {(AccessPath.MSR, ApicMode.X2APIC)}
    for rule in ("x2apic-before-sec", "no-refused-access", "timer-reaches-hypervisor-in-x2apic"):
        assert status(result, rule) is Status.HOLDS, rule
    # Not the firmware's offence, and not its merit either.
    transition = result.verdict.result("legal-transition")
    assert transition.status is result.verdict.status is Status.NOT_APPLICABLE
    assert result.exit_status == EXIT_HOLDS
    text = render(Report(result.verdict, result.timeline))
    assert STATE_DIAGRAM in text.splitlines()[0]
    assert f"the hypervisor set x2APIC mode, which can hide a fault of the firmware; {STATE_DIAGRAM}" in text


def test_a_hypervisor_without_alternate_injection_is_no_fault_of_the_firmware(
    trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = ["run", "--quiet", "--firmware", str(trixie_path), "--svsm-config", STOPPED, "--out", str(out)]
    assert cli.main(run) == EXIT_ENVIRONMENT
    captured = capsys.readouterr()
    assert captured.out.startswith("inconclusive: SEC was not seen to its end, the furthest phase seen is RESET: ")
    assert f": {REASON} (" in captured.out.splitlines()[0]
    assert captured.err == (
        f"snp-harness: error: {REASON}: the hypervisor has to offer feature bit 9 "
        '("alternate-injection" in hypervisor.features), or svsm.alternate_injection has to be false: '
        f"see {out}\n"
    )
    assert REASON.lower() in (out / rundir.SVSM).read_text().lower()


def test_the_older_feature_bit(trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", "feature-bit-7")
    check_seven(result.timeline, 2)
    assert result.timeline.complete
    # An older SVSM on a hypervisor that has the newer bit only finds nothing.
    older = toml(tmp_path, "[svsm]\nfeature_bit = 7\n")
    stopped = boot(trixie_path, tmp_path / "stopped", older)
    assert stopped.error is not None
    assert stopped.error.message == REASON
    assert 'feature bit 7 ("tio" in hypervisor.features)' in stopped.error.hint
    assert stopped.exit_status == EXIT_ENVIRONMENT


@pytest.mark.parametrize("config", sorted(shipped_configs().keys() - {STOPPED}))
def test_each_configuration_boots_to_the_verdict_for_sec(config: str, trixie_path: Path, tmp_path: Path) -> None:
    result = boot(trixie_path, tmp_path / "out", config)
    assert result.timeline.complete, result.timeline.gaps
    assert result.exit_status == (EXIT_HOLDS if config in POLICIES else EXIT_VIOLATED)
    assert result.timeline.reached > Phase.SEC
    loaded = load_config(config)
    assert result.timeline.faults == loaded.injected_faults
    assert all(name in result.verdict.observed for name in loaded.injected_faults)
    hidden = config in POLICIES
    assert status(result, "x2apic-before-sec") is (Status.HOLDS if hidden else Status.VIOLATED)
    assert len(sec_accesses(result.timeline)) == len(SEVEN)
    assert {access.served_by for access in sec_accesses(result.timeline)} == {Server.HYPERVISOR}


def test_an_igvm_file_that_is_not_there(trixie_path: Path, tmp_path: Path) -> None:
    config = toml(tmp_path, '[svsm]\nkind = "igvm"\nigvm = "coconut.igvm"\n')
    with pytest.raises(UsageError, match=r"cannot read .*coconut\.igvm") as caught:
        boot(trixie_path, tmp_path / "out", config)
    assert caught.value.exit_status == EXIT_USAGE
    assert not (tmp_path / "out" / rundir.COMMAND_LINE).exists()
