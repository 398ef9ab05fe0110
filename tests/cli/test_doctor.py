# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from snp_harness.check import Check, CheckStatus
from snp_harness.cli import doctor
from snp_harness.cli import main as cli
from snp_harness.cli.doctor import Section, render_json, render_text
from snp_harness.hosts.agent_process import ProcessHost
from snp_harness.hosts.local import LOCAL
from snp_harness.platforms import platform_names
from tests.schemas import check as check_schema


def test_missing_tools_are_named_by_their_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gcc").write_text("#!/bin/sh\n")
    (tmp_path / "gcc").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.build_tools_check()
    assert check.hint == "to rebuild: apt-get install binutils make"
    assert doctor.apt_check().status is CheckStatus.WARN
    assert doctor.ssh_check().status is CheckStatus.WARN


def test_renderings_hold_every_check() -> None:
    sections = [
        Section("this machine", (Check("QEMU", CheckStatus.MISSING, "not in PATH", "install it"),)),
        Section("platform tcg", (Check("QEMU", CheckStatus.OK, "7.2.22", "unused hint"),), "tcg"),
    ]
    assert render_text(sections, "tcg").splitlines() == [
        "this machine:",
        "  missing  QEMU: not in PATH",
        "           install it",
        "platform tcg:",
        "  ok       QEMU: 7.2.22",
        "summary:",
        "  tcg       can run (exit status)",
    ]
    first, second = json.loads(render_json(sections, "tcg"))["checks"]
    assert first == {
        "section": "this machine",
        "name": "QEMU",
        "status": "missing",
        "evidence": "not in PATH",
        "hint": "install it",
    }
    assert second["section"] == "platform tcg"


def test_examine_covers_this_machine_and_every_platform() -> None:
    sections = doctor.examine(None, LOCAL)
    assert [section.title for section in sections] == [
        "this machine",
        *(f"platform {name}" for name in platform_names()),
    ]
    assert sections[0].checks[0].status is CheckStatus.OK
    assert all(check.evidence for section in sections for check in section.checks)


def test_qemu_that_is_named_but_missing(tmp_path: Path) -> None:
    check = doctor.qemu_check(tmp_path / "qemu")
    assert check.status is CheckStatus.MISSING
    assert str(tmp_path / "qemu") in check.evidence
    assert check.hint


def test_every_check_that_is_not_met_says_what_to_do() -> None:
    for section in doctor.examine(None, LOCAL):
        for check in section.checks:
            assert check.hint or check.status is CheckStatus.OK, check


def test_another_host_is_examined_through_its_agent() -> None:
    host = ProcessHost()
    try:
        sections = doctor.examine(None, host)
    finally:
        host.close()
    assert sections[0].checks[-1].evidence.startswith("local: Linux ")
    assert [section.title for section in sections[1:]] == [f"platform {name} on local" for name in platform_names()]
    here = {section.title: section.checks for section in doctor.examine(None, LOCAL)}
    there = {section.title: section.checks for section in sections}
    for check, other in zip(here["platform snp"], there["platform snp on local"], strict=True):
        assert (check.name, check.status) == (other.name, other.status)
    report = json.loads(render_json(sections, "emulated"))
    check_schema("doctor", report)
    assert {entry["status"] for entry in report["checks"]} <= {"ok", "warn", "missing"}


def test_a_qemu_that_is_named_is_what_the_platforms_look_at(tmp_path: Path) -> None:
    sections = doctor.examine(tmp_path / "qemu", LOCAL)
    checks = [check for section in sections[1:] for check in section.checks if check.name == "QEMU"]
    assert len(checks) == len(platform_names())
    assert all(check.status is CheckStatus.MISSING and str(tmp_path / "qemu") in check.evidence for check in checks)


def test_the_json_is_as_documented() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "json.md").read_text(encoding="utf-8")
    section = page.partition("## Doctor")[2].partition("\n## ")[0]
    report = json.loads(render_json([Section("s", (Check("n", CheckStatus.OK, "e"),), "tcg")], "tcg"))
    fields = [*report, *(f"checks[].{name}" for name in report["checks"][0])]
    assert re.findall(r"^\| `([^`]+)`", section, re.MULTILINE) == fields


def test_the_status_is_about_one_platform(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--qemu", str(tmp_path / "qemu")]) == 128
    summary = capsys.readouterr().out.partition("summary:\n")[2].splitlines()
    assert len(summary) == len(platform_names())
    assert re.fullmatch(r"  emulated  cannot run: QEMU: .*/qemu.* \(exit status\)", summary[0])
    assert cli.main(["doctor", "--platform", "vmware"]) == 2
    assert "no platform is named 'vmware'" in capsys.readouterr().err


@pytest.mark.tcg
def test_a_platform_that_can_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--platform", "tcg", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    check_schema("doctor", report)
    assert (report["platform"], report["can_run"]["tcg"]) == ("tcg", True)
