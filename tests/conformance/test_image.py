# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest

from snp_harness.conformance import image as conformance_image
from snp_harness.conformance.image import (
    MAGIC,
    PARAMETERS_OFFSET,
    SKIPPED_MAX,
    VERSION,
    Fuzz,
    RunMode,
    Ticks,
    Touch,
    read_image,
    with_mode,
)
from snp_harness.errors import BrokenEnvironmentError, UsageError
from snp_harness.firmware.image import FirmwareImage
from tests.guests.points import ROOT, all_points
from tests.helpers.c_headers import assert_same, constants, layout, members


def test_parameters_are_the_guests() -> None:
    header = "guests/svsm_apic_conformance/parameters.h"
    assert constants(header, "RUN_") == members(RunMode, "RUN_{}")
    assert constants(header, "TOUCH_") == members(Touch, "TOUCH_{}")
    numbers = {"PARAMETERS_MAGIC": int.from_bytes(MAGIC, "little"), "PARAMETERS_VERSION": VERSION}
    place = {"PAYLOAD_FLASH - IMAGE_BASE": PARAMETERS_OFFSET}
    assert_same([header, "guests/lib/layout.h"], numbers | place)


def test_parameters_are_where_the_guest_reads_them() -> None:
    """Every field has another number."""
    image = read_image()
    fuzz = {"mode": 2, "ticks": 0, "period_us": 0, "load": 0, "touch": 1, "seed": 3 << 40, "duration_ms": 5}
    ticks = {"mode": 1, "ticks": 2, "period_us": 3, "load": 1, "touch": 0, "seed": 0, "missed_allowed": 4}
    for mode, expected in ((Fuzz(3 << 40, 5, Touch.READ), fuzz), (Ticks(2, 3, True, 4), ticks)):
        patched = with_mode(image, mode)[PARAMETERS_OFFSET:]
        places = layout(["guests/svsm_apic_conformance/parameters.h"], "struct conformance_parameters", expected)
        read = {name: int.from_bytes(patched[at : at + size], "little") for name, (at, size) in places.items()}
        assert read == expected


def test_skipped_points_are_where_the_guest_reads_them() -> None:
    header = ["guests/svsm_apic_conformance/parameters.h"]
    assert constants(header[0], "SKIPPED_") == {"SKIPPED_MAX": SKIPPED_MAX}
    (at, size) = layout(header, "struct conformance_parameters", ["skipped"])["skipped"]
    patched = with_mode(read_image(), None, ["a/1", "b/2"])[PARAMETERS_OFFSET + at :][:size]
    assert patched == b"a/1\nb/2\n".ljust(SKIPPED_MAX, b"\0")
    with pytest.raises(UsageError, match="too many points"):
        with_mode(read_image(), None, ["a" * 60] * 50)


def test_image_is_a_firmware_with_sev_metadata(tmp_path: Path) -> None:
    path = tmp_path / "guest.fd"
    path.write_bytes(read_image())
    image = FirmwareImage.open(path)
    assert image.metadata is not None
    assert image.metadata.has_svsm_caa
    assert image.defects == ()


def test_only_the_parameters_change() -> None:
    image = read_image()
    assert with_mode(image, None) == image
    for mode in (Ticks(10_000, 1000, True, 5), Fuzz((1 << 64) - 1, 60_000, Touch.WRITE)):
        patched = with_mode(image, mode)
        changed = [at for at, (old, new) in enumerate(zip(image, patched, strict=True)) if old != new]
        assert changed
        assert min(changed) >= PARAMETERS_OFFSET + 12
        assert max(changed) < PARAMETERS_OFFSET + 48


@pytest.mark.parametrize("mode", [Ticks(1 << 32, 1), Ticks(-1, 1), Fuzz(1 << 64, 1), Fuzz(0, 1 << 32)])
def test_numbers_that_do_not_fit_are_a_usage_error(mode: Ticks | Fuzz) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        with_mode(read_image(), mode)


def test_missing_and_foreign_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "guest.fd"
    monkeypatch.setattr(conformance_image, "IMAGE", path)
    with pytest.raises(BrokenEnvironmentError, match="cannot read"):
        read_image()
    path.write_bytes(bytes(0x40000))
    with pytest.raises(BrokenEnvironmentError, match="not the conformance guest"):
        read_image()


def test_documentation_lists_every_point() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+/[a-z0-9-]+)` \|", text, re.MULTILINE)
    assert listed == all_points()
