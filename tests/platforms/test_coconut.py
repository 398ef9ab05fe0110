# SPDX-License-Identifier: GPL-2.0-or-later
"""COCONUT-SVSM at VMPL0 of the emulated host: firmware below it is judged as below the reference SVSM."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.cli.main import main
from snp_harness.errors import EXIT_HOLDS, EXIT_VIOLATED
from tests.helpers.coconut import MEMORY_MIB, coconut_file
from tests.platforms.boots import boot, check_places, check_seven

pytestmark = [pytest.mark.emulated, pytest.mark.slow]


def run(tmp_path: Path, file: str, firmware: Path, *arguments: str) -> tuple[int, Timeline]:
    options = ["--igvm", str(coconut_file(file)), "--firmware", str(firmware), "--memory", str(MEMORY_MIB), "--quiet"]
    status = main(["run", *options, "--out", str(tmp_path / "out"), *arguments])
    return status, Timeline.from_jsonl((tmp_path / "out" / "timeline.jsonl").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vcpus", ["1", "2", "4"])
def test_stock_firmware_reaches_its_shell(trixie_path: Path, tmp_path: Path, vcpus: str) -> None:
    status, timeline = run(tmp_path, "coconut.igvm", trixie_path, "--until", "shell", "--vcpus", vcpus)
    assert status == EXIT_HOLDS
    assert timeline.complete
    assert timeline.reached >= Phase.BDS
    assert not timeline.alternate_injection
    stages = [event.fields["stage"] for event in timeline.events if event.kind == "svsm-stage"]
    assert stages[-2:] == ["kernel entered", "guest started"]


@pytest.mark.parametrize("vcpus", ["1", "2", "4"])
def test_the_offences_of_sec_are_those_under_the_reference_svsm(trixie_path: Path, tmp_path: Path, vcpus: str) -> None:
    status, timeline = run(tmp_path, "coconut-alt.igvm", trixie_path, "--vcpus", vcpus)
    assert status == EXIT_VIOLATED
    found = check_seven(timeline, 2)
    check_places(found, trixie_path)
    reference = boot(trixie_path, tmp_path / "reference")
    assert reference.verdict.status is Status.VIOLATED
    assert [access.pc for access in check_seven(reference.timeline, 2)] == [access.pc for access in found]
