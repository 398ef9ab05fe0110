# SPDX-License-Identifier: GPL-2.0-or-later
"""A recorded run is judged again as it was judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.apic.source_place import Frame, SourcePlace
from snp_harness.apic.verdict import Status
from snp_harness.errors import UsageError
from snp_harness.recorded import load_report, load_timeline, rerun
from snp_harness.vm import rundir
from tests.apic import samples
from tests.platforms.kept import RUN

ENVIRONMENT = {
    "qemu": "QEMU 10.0",
    "firmware": "OVMF.fd",
    "configuration": "plain",
    "seconds": 1.5,
    "as_if_active": False,
    "error": "QEMU died",
    "argv": ["/usr/bin/snp-harness", "run", "--firmware", "OVMF.fd"],
    "variables": {"SNP_HARNESS_QEMU": "/opt/qemu"},
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of stock firmware without Alternate Injection."""
    timeline = samples.timeline(samples.stock_sec(), alternate_injection=False, apic_protocol=False)
    (tmp_path / rundir.TIMELINE).write_text(timeline.to_jsonl(), encoding="utf-8")
    (tmp_path / rundir.ENVIRONMENT).write_text(json.dumps(ENVIRONMENT))
    return tmp_path


@pytest.mark.parametrize("name", ["", rundir.TIMELINE])
def test_how_it_was_made(run: Path, name: str) -> None:
    report = load_report(run / name)
    info = report.run
    assert report.verdict.observed.startswith("emulated SNP host, not hardware")
    assert (info.firmware, info.configuration, info.qemu) == ("OVMF.fd", "plain", "QEMU 10.0")
    assert (info.elapsed_s, info.error, info.directory) == (1.5, "QEMU died", run)
    assert info.rerun == ("env", "SNP_HARNESS_QEMU=/opt/qemu", "snp-harness", "run", "--firmware", "OVMF.fd")


@pytest.mark.parametrize(
    ("assumed", "status"), [(True, Status.VIOLATED), (False, Status.NOT_APPLICABLE), ("yes", Status.NOT_APPLICABLE)]
)
def test_it_is_judged_as_the_run_was(assumed: object, status: Status, run: Path) -> None:
    (run / rundir.ENVIRONMENT).write_text(json.dumps({**ENVIRONMENT, "as_if_active": assumed}))
    assert load_report(run).verdict.status is status


def test_a_run_that_another_program_made_has_no_command(run: Path) -> None:
    for argv in (["/usr/bin/pytest", "run"], ["snp-harness"], ["snp-harness", "conformance"], "run", [1, 2], None):
        (run / rundir.ENVIRONMENT).write_text(json.dumps({**ENVIRONMENT, "argv": argv}))
        assert load_report(run).run.rerun == ()
    (run / rundir.ENVIRONMENT).write_text(json.dumps({"qemu": 1, "seconds": True, "error": ["x"]}))
    info = load_report(run).run
    assert (info.qemu, info.elapsed_s, info.error, info.firmware) == (None, None, None, None)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"[" * 100_000])
def test_a_description_that_is_damaged(content: bytes, run: Path) -> None:
    (run / rundir.ENVIRONMENT).write_bytes(content)
    with pytest.raises(UsageError, match=r"environment\.json does not describe a run"):
        load_report(run)


@pytest.mark.parametrize("platform", ["emulated", "tcg", "a platform of tomorrow"])
def test_a_timeline_alone(platform: str, tmp_path: Path) -> None:
    """Nothing says how it was judged: as the platform does by default."""
    path = tmp_path / "pasted.jsonl"
    path.write_text(samples.timeline(samples.stock_sec(), platform=platform, alternate_injection=False).to_jsonl())
    verdict = load_report(path).verdict
    assert verdict.status is (Status.VIOLATED if platform == "tcg" else Status.NOT_APPLICABLE)
    assert verdict.platform == platform


def test_a_run_whose_harness_was_killed(tmp_path: Path) -> None:
    (tmp_path / rundir.RUN).write_text(json.dumps({**RUN, "as_if_active": True}))
    (tmp_path / rundir.HOST_LOG).write_bytes(b"")
    report = load_report(tmp_path)
    assert report.verdict.status is Status.INCONCLUSIVE
    assert (report.run.firmware, report.run.qemu) == ("OVMF.fd", None)
    assert report.timeline.gaps[0].startswith("the harness was stopped")
    assert load_timeline(tmp_path) == report.timeline


def test_the_command_that_repeats_it() -> None:
    assert rerun(("run", "--icount"), {}) == ("snp-harness", "run", "--icount")
    assert rerun(("run",), {"A": "1", "B": "2"}) == ("env", "A=1", "B=2", "snp-harness", "run")


def test_the_source_lines_of_a_run(run: Path) -> None:
    place = SourcePlace("SecMain", 0x4CD9, (Frame("ReadLocalApicReg", "UefiCpuPkg/Lib.c", 288),))
    assert load_report(run).sources == ()
    (run / rundir.SOURCES).write_text(json.dumps({"sources": [place.to_json()]}))
    assert load_report(run).sources == (place,)
    for content in ("", "[]", '{"sources": 1}', '{"sources": [1]}', '{"sources": [{}]}', '{"sources": {"a": 1}}'):
        (run / rundir.SOURCES).write_text(content)
        with pytest.raises(UsageError, match=r"sources\.json has no source lines"):
            load_report(run)
