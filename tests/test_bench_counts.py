# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make check-counts` calls a regression."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import counts
from bench.counts import BDS, SEC, OtherVersionError, changes, expected, more_pages
from bench.exit_pages import ExitPages
from bench.exit_pages import count as count_pages
from snp_harness.capture.exit_profile import CONSOLE_MARK
from snp_harness.debian.firmware_names import cached_firmware


@pytest.mark.parametrize(
    ("mark", "before", "now", "found"),
    [
        (SEC, 100, 100, []),
        (SEC, 100, 101, [(True, "1 more exits, 101 and not 100")]),
        (SEC, 100, 99, [(False, "1 fewer exits, 99 and not 100")]),
        (BDS, 100, 120, [(False, "20 more exits, 120 and not 100")]),
        (BDS, 100, 121, [(True, "21 more exits, 121 and not 100")]),
        (BDS, 10000, 10100, [(False, "100 more exits, 10100 and not 10000")]),
        (BDS, 10000, 10101, [(True, "101 more exits, 10101 and not 10000")]),
    ],
)
def test_growth(mark: str, before: int, now: int, found: list[tuple[bool, str]]) -> None:
    told = [(regression, f"{mark}: NPF: {text}") for regression, text in found]
    assert [*changes({mark: {"NPF": before, "HLT": 1}}, {mark: {"NPF": now, "HLT": 1}})] == told


@pytest.mark.parametrize(
    ("code", "data", "found"),
    [
        (4.0, 10.0, []),
        (4.07, 10.19, []),
        (4.09, 10.0, ["an exit touches 4.09 pages of code, and not 4.00"]),
        (3.0, 10.21, ["an exit touches 10.21 pages of data, and not 10.00"]),
    ],
)
def test_more_pages(code: float, data: float, found: list[str]) -> None:
    assert [*more_pages({"code": 4.0, "data": 10.0}, ExitPages(code, data))] == found


@pytest.mark.emulated
def test_pages_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SNP_HARNESS_QEMU", raising=False)  # the plugin that counts is built for the installed one
    firmware = cached_firmware(counts.FIRMWARE)
    if firmware is None:
        pytest.skip(f"{counts.FIRMWARE} is not fetched: run `make images`")
    counted = count_pages("alternate-injection-off", firmware.path)
    # At least the loop around VMRUN, and its stack, hardware and VMCB. Few exits, of RMP batches, touch hundreds.
    assert 1 <= counted.code < 20
    assert 3 <= counted.data < 40


def test_a_new_kind_and_one_that_is_gone() -> None:
    assert [*changes({SEC: {"HLT": 3}}, {SEC: {"PAUSE": 2}})] == [
        (False, f"{SEC}: HLT: 3 fewer exits, 0 and not 3"),
        (True, f"{SEC}: PAUSE: 2 more exits, 2 and not 0"),
    ]


def test_a_mark_that_was_not_reached() -> None:
    assert [*changes({SEC: {"HLT": 3}}, {})] == [(True, f"{SEC}: not reached")]


def test_another_firmware_or_qemu_is_not_compared(tmp_path: Path) -> None:
    firmware = tmp_path / "OVMF.fd"
    firmware.write_bytes(b"firmware")
    recorded = {
        "firmware_sha256": counts.digest(firmware),
        "qemu": "7.2.22",
        "runs": {"c": {SEC: {"HLT": 1}, CONSOLE_MARK: {"HLT": 2}}},
    }
    assert expected(recorded, "c", "sec", firmware, "7.2.22") == {SEC: {"HLT": 1}}
    assert expected(recorded, "c", "bds", firmware, "7.2.22") == {SEC: {"HLT": 1}, CONSOLE_MARK: {"HLT": 2}}
    with pytest.raises(OtherVersionError, match=r"of QEMU 7\.2\.22, not of 7\.2\.23"):
        expected(recorded, "c", "sec", firmware, "7.2.23")
    firmware.write_bytes(b"another one")
    with pytest.raises(OtherVersionError, match=r"is another firmware .*--update"):
        expected(recorded, "c", "sec", firmware, "7.2.22")
