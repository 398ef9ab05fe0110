# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness judge` as it is called."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.debian.firmware_names import cached_firmware
from tests.capture.kvm_lines import TRACES, Trace


def test_an_offence_is_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["judge", str(TRACES / "6.12.txt"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"]["status"] == "violated"
    assert "a recorded KVM trace" in report["verdict"]["observed"]


def test_modules_are_named_by_the_firmware(capsys: pytest.CaptureFixture[str]) -> None:
    if cached_firmware("debian:trixie") is None:
        pytest.skip("debian:trixie is not fetched: snp-harness fetch firmware trixie")
    assert cli.main(["judge", str(TRACES / "6.12.txt"), "--firmware", "debian:trixie"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("violated: 7 local-APIC accesses in SEC before x2APIC mode (a recorded KVM trace")
    assert "SecMain+" in printed


def test_nothing_recorded_is_inconclusive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = Trace()
    trace.msr("write", 0x1B, 0xFEE00D00)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(trace.lines).encode())))
    assert cli.main(["judge", "-"]) == 3
    assert capsys.readouterr().out.startswith("inconclusive: ")


@pytest.mark.parametrize(
    ("content", "error"), [(None, "cannot read"), (b"", "has no trace event"), (b"\xff" * 99, "has no trace event")]
)
def test_a_file_that_cannot_be_judged(
    content: bytes | None, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.txt"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["judge", str(path)]) == 2
    assert error in capsys.readouterr().err
