# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness rules`, and the rules that --rule chooses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.apic.access import Outcome, Phase
from snp_harness.apic.contract import RULES
from snp_harness.cli import main as cli
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import MachineBase
from tests.apic import samples
from tests.schemas import check


def test_every_rule_is_listed_and_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["rules", "list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed[::2]] == [rule.name for rule in RULES]
    assert "(required)" in listed[0]
    assert all(line.startswith("    ") and line.endswith(".") for line in listed[1::2])
    assert cli.main(["rules", "explain", "x2apic-before-sec", "no-refused-access"]) == 0
    explained = capsys.readouterr().out
    assert "Firmware is in x2APIC mode before SEC's first local-APIC register access" in explained
    assert "\n\nno-refused-access\n\n" in explained
    assert cli.main(["rules", "explain", "x2apic-before-sex"]) == 2
    assert "did you mean x2apic-before-sec?" in capsys.readouterr().err


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """SEC is right, and a refused access follows."""
    refused = samples.x2apic(samples.READ, 0x80F, outcome=Outcome.GP, phase=Phase.PEI)
    timeline = samples.timeline([*samples.fixed_sec(), refused])
    (tmp_path / rundir.TIMELINE).write_text(timeline.to_jsonl())
    return tmp_path


def test_the_rules_that_decide(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(run)]) == 1
    capsys.readouterr()
    assert cli.main(["report", str(run), "--rule", "x2apic-before-sec, legal-transition", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    check("report", report)
    assert [rule["rule"] for rule in report["verdict"]["rules"]] == ["x2apic-before-sec", "legal-transition"]
    assert report["verdict"]["chosen"] == ["x2apic-before-sec", "legal-transition"]
    assert "judged by x2apic-before-sec, legal-transition alone" in report["summary"]
    assert cli.main(["report", str(run), "--rule", "no-refused-access"]) == 1


def test_a_run_is_judged_again_by_its_rules(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / rundir.ENVIRONMENT).write_text(json.dumps({"rules": ["x2apic-before-sec"]}))
    assert cli.main(["report", str(run)]) == 0
    assert "judged by x2apic-before-sec alone" in capsys.readouterr().out
    (run / rundir.ENVIRONMENT).write_text(json.dumps({"rules": ["a rule of tomorrow"]}))
    assert cli.main(["report", str(run)]) == 2


def test_a_chosen_rule_that_cannot_be_observed_is_inconclusive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    timeline = samples.timeline(samples.fixed_sec(), not_observed=frozenset({"page-state"}))
    (tmp_path / rundir.TIMELINE).write_text(timeline.to_jsonl())
    assert cli.main(["report", str(tmp_path)]) == 0
    rule = "sec-apic-page-shared"
    assert f"{rule} not observed" in " ".join(capsys.readouterr().out.split())
    for chosen in ("sec-apic-page-shared", "sec-apic-page-shared,x2apic-before-sec"):
        assert cli.main(["report", str(tmp_path), "--rule", chosen]) == 3
    # It decides the verdict, and each form shows it as that.
    for form, words in (
        ("text", f"{rule} inconclusive"),
        ("junit", 'errors="2" skipped="0"'),
        ("html", '<span class="status inconclusive">inconclusive</span>'),
    ):
        capsys.readouterr()
        assert cli.main(["report", str(tmp_path), "--format", form, "--rule", rule]) == 3
        printed = " ".join(capsys.readouterr().out.split())
        assert words in printed
        assert "not observed</span>" not in printed
        assert f"{rule} not observed" not in printed


@pytest.mark.parametrize("command", [["run"], ["report", "x"], ["judge", "x"]])
def test_a_rule_that_there_is_not(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command, "--rule", "no-refused-acess"]) == 2
    assert "did you mean no-refused-access?" in capsys.readouterr().err


@pytest.mark.emulated
def test_a_run_ends_at_the_first_offence(
    snp_firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Alternate Injection it would go on to the shell."""
    arguments = ["--until", "shell", "--svsm-config", "alternate-injection-off", "--as-if-active", "--fail-fast"]
    out = tmp_path / "out"
    # The answer does not wait for QEMU's monitor: the log is not compared with the hypervisor's account of it.
    connected: list[MachineBase] = []
    monkeypatch.setattr(MachineBase, "qmp", property(connected.append))
    assert cli.main(["run", str(snp_firmware), *arguments, "--quiet", "--json", "--out", str(out)]) == 1
    assert not connected
    report = json.loads(capsys.readouterr().out)
    assert report["observation"]["gaps"] == ["a rule is broken, and the run was to end there"]
    assert report["observation"]["reached"] in ("SEC", "PEI", "DXE")
    assert report["verdict"]["rules"][0]["offence_count"] > 0


@pytest.mark.emulated
def test_a_run_whose_rule_holds_goes_on(snp_firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--fail-fast", "--rule", "legal-transition", "--quiet", "--json"]
    assert cli.main(["run", str(snp_firmware), *arguments, "--out", str(tmp_path / "out")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["observation"]["complete"], report["observation"]["reached"]) == (True, "PEI")
