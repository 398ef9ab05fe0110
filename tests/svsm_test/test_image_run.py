# SPDX-License-Identifier: GPL-2.0-or-later
"""The reference SVSM's own tests under the emulated host: all pass, one fails, panics, or hangs; and COCONUT's."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from snp_harness.cli.main import main
from snp_harness.errors import EXIT_HOLDS, EXIT_USAGE, EXIT_VIOLATED
from tests.helpers.coconut import coconut_file
from tests.helpers.reference_svsm import UD2, patch_svsm
from tests.schemas import check

pytestmark = pytest.mark.emulated

TESTS = ("memory_map", "registry", "pvalidate", "rmpadjust", "rmp_batch", "vcpus", "launch_measurement")
RETURN_FALSE = b"\x31\xc0\xc3"
LOOP = b"\xeb\xfe"
#: Of COCONUT's tests, built with its test configuration.
COCONUT = "coconut-test.igvm"


def run(tmp_path: Path, *arguments: str) -> int:
    return main(["svsm-test", "--quiet", "--json", "--out", str(tmp_path / "out"), *arguments])


def results(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], dict[str, object]]:
    report = json.loads(capsys.readouterr().out)
    check("svsm-test", report)
    return {test["name"].removeprefix("selftest::"): test["status"] for test in report["tests"]}, report


@pytest.mark.parametrize("vcpus", ["1", "3"])
def test_all_pass(tmp_path: Path, vcpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--vcpus", vcpus) == EXIT_HOLDS
    tests, report = results(capsys)
    assert tests == dict.fromkeys(TESTS, "passed")
    assert report["complete"]
    assert report["status"] == 16
    tap = (tmp_path / "out" / "results.tap").read_text().splitlines()
    assert tap[:3] == ["TAP version 14", "1..7", "ok 1 - selftest::memory_map"]
    [suite] = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("7", "0", "0")


def test_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    patch_svsm(monkeypatch, "test_registry", RETURN_FALSE)
    assert run(tmp_path) == EXIT_VIOLATED
    tests, report = results(capsys)
    assert tests == dict.fromkeys(TESTS, "passed") | {"registry": "failed"}
    assert report["status"] == 17
    assert report["defects"] == ["the image did not say that all tests passed"]


def test_one_panics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    patch_svsm(monkeypatch, "test_rmpadjust", UD2)
    assert run(tmp_path) == EXIT_VIOLATED
    tests, report = results(capsys)
    assert tests == dict.fromkeys(TESTS[:3], "passed") | {"rmpadjust": "failed"}
    [failed] = [test for test in report["tests"] if test["status"] == "failed"]  # type: ignore[attr-defined]
    assert failed["reason"].startswith("exception 6, error code 0, at offset ")
    assert report["status"] is None
    assert "4 of 7 tests were reported, the last one is selftest::rmpadjust" in report["defects"]  # type: ignore[operator]


def test_one_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    patch_svsm(monkeypatch, "test_vcpus", LOOP)
    assert run(tmp_path, "--timeout", "2") == EXIT_VIOLATED
    tests, report = results(capsys)
    assert tests == dict.fromkeys(TESTS[:5], "passed") | {"vcpus": "failed"}
    [failed] = [test for test in report["tests"] if test["status"] == "failed"]  # type: ignore[attr-defined]
    assert failed["reason"] == "selftest::vcpus did not end in 2 s, last line: test selftest::vcpus ..."


@pytest.mark.parametrize("arguments", [("--vcpus", "9"), ("--platform", "tcg"), ("nowhere.igvm",)])
def test_usage(tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, *arguments) == EXIT_USAGE
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("vcpus", ["1", "2", "4"])
def test_coconut(tmp_path: Path, vcpus: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own tests, the one of its launch measurement among them, whose warning would say that the digest differs."""
    file = coconut_file(COCONUT)
    assert run(tmp_path, str(file), "--vcpus", vcpus) == EXIT_HOLDS
    tests, report = results(capsys)
    assert len(tests) > 100
    assert not [test for test in report["tests"] if test["warnings"]]  # type: ignore[attr-defined]
