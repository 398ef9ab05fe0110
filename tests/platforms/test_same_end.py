# SPDX-License-Identifier: GPL-2.0-or-later
"""The same run has the same timeline and verdict on an idle machine and beside programs that use all of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.firmware_run import RunResult
from snp_harness.platforms.platform import RunSpec
from tests.platforms.boots import PATIENCE_S, boot, run

#: Differ without `icount`: times, and so the sum of the log.
_MEASURED = re.compile(r'"(?:time_ns|called_ns)": ?\d+|"sha256":"[0-9a-f]{64}"')


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Programs that use a processor each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def text(timeline: Timeline) -> str:
    return _MEASURED.sub("", timeline.to_jsonl())


def verdict(result: RunResult) -> str:
    return _MEASURED.sub("", json.dumps(result.verdict.to_json()))


@pytest.mark.emulated
def test_sec_is_the_same_beside_a_load(trixie_path: Path, tmp_path: Path) -> None:
    quiet = boot(trixie_path, tmp_path / "quiet")
    with load(2 * (os.cpu_count() or 1)):
        busy = boot(trixie_path, tmp_path / "busy")
    assert text(quiet.timeline) == text(busy.timeline)
    assert verdict(quiet) == verdict(busy)
    assert quiet.verdict.status is Status.VIOLATED


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "until"),
    [
        ("alternate-injection-off-native-io", "console:EFI Internal Shell"),
        ("plain", "dxe"),
    ],
)
def test_with_counted_instructions_all_of_a_boot_is_the_same(
    config: str, until: str, trixie_path: Path, tmp_path: Path
) -> None:
    """To the byte: times, the number of the log's records and their sum."""
    seen = set()
    for number in range(2):
        with load(4 * number):
            result = boot(trixie_path, tmp_path / str(number), config, until=until, icount=True)
        assert result.timeline.complete
        seen.add((result.timeline.to_jsonl(), json.dumps(result.verdict.to_json())))
    assert len(seen) == 1


@pytest.mark.tcg
@pytest.mark.slow
@pytest.mark.parametrize("until", ["sec", "dxe"])
def test_qemus_trace_ends_at_the_same_place(until: str, trixie_path: Path, tmp_path: Path) -> None:
    """Its times are the host's clock's."""
    seen = set()
    for number in range(2):
        spec = RunSpec(trixie_path, until=until, icount=True, timeout_s=PATIENCE_S)
        with load(4 * number):
            result = run(spec, "tcg", tmp_path / str(number))
        seen.add(text(result.timeline))
    assert len(seen) == 1


@pytest.mark.emulated
@pytest.mark.slow
def test_a_run_that_fails_fast_ends_at_its_first_offence(trixie_path: Path, tmp_path: Path) -> None:
    seen = []
    for number in range(2):
        with load(4 * number):
            result = boot(trixie_path, tmp_path / str(number), fail_fast=True)
        assert [len(found.offences) for found in result.verdict.results if found.rule == "x2apic-before-sec"] == [1]
        seen.append(result.timeline.accesses[-1].index)
    assert len(set(seen)) == 1
