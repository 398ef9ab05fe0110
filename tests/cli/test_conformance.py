# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness conformance` as a user has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.cli.main import main
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, EXIT_INCONCLUSIVE, EXIT_USAGE, EXIT_VIOLATED
from tests.schemas import check


def run(tmp_path: Path, *arguments: str) -> int:
    return main(["conformance", "--quiet", "--out", str(tmp_path / "out"), *arguments])


@pytest.mark.parametrize("arguments", [("--svsm-config", "nowhere"), ("--platform", "nowhere")])
def test_usage(tmp_path: Path, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, *arguments) == EXIT_USAGE
    assert capsys.readouterr().err.startswith("snp-harness: error: ")


def test_image_that_is_not_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("snp_harness.conformance.image.IMAGE", tmp_path / "guest.fd")
    assert run(tmp_path) == EXIT_ENVIRONMENT
    assert "build it: make -C guests/svsm_apic_conformance" in capsys.readouterr().err


@pytest.mark.emulated
def test_report_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--svsm-config", "no-svsm", "--skip", "apic-base/reset-valeu") == EXIT_HOLDS
    text, errors = capsys.readouterr()
    warning = "warning: --skip: no point is named 'apic-base/reset-valeu': did you mean apic-base/reset-value?"
    assert errors == f"snp-harness: {warning}\n"
    assert text.startswith("conforms: 21 passed, 0 failed, ")
    assert "(emulated SNP host, not hardware)" in text
    assert run(tmp_path, "--svsm-config", "no-svsm", "--json") == EXIT_HOLDS
    report = json.loads(capsys.readouterr().out)
    check("conformance", report)
    assert report["plan"] == len(report["points"])
    assert report["complete"]
    assert report["how"] == "emulated SNP host, not hardware"


@pytest.mark.emulated
def test_failed_point_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--svsm-config", "policy-x2apic-at-reset") == EXIT_VIOLATED
    text = capsys.readouterr().out
    assert "not ok 1 - apic-base/reset-value\n" in text
    assert "  got: 0xfee00d00\n" in text


@pytest.mark.emulated
def test_timeout_is_inconclusive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--timeout", "0.5") == EXIT_INCONCLUSIVE
    assert capsys.readouterr().out.startswith("inconclusive: ")


@pytest.mark.parametrize(
    "arguments",
    [("--seed", "1"), ("--fuzz", "1", "--skip", "a/1"), ("--fuzz", "1", "--known", "coconut-svsm"), ("--fuzz", "0")],
)
def test_usage_of_fuzz(tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = run(tmp_path, *arguments)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else -1
    assert status == EXIT_USAGE
    assert capsys.readouterr().err.startswith("snp-harness: error: ")


@pytest.mark.emulated
def test_fuzz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--fuzz", "1", "--seed", "7") == EXIT_HOLDS
    text = capsys.readouterr().out
    assert text.startswith("conforms: 2 passed, 0 failed, 0 skipped ")
    assert "\n  requests       survived calls=" in text
    assert "\n  the same again --fuzz 1 --seed 7\n" in text
