# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest

from snp_harness.conformance import image as conformance_image
from snp_harness.conformance.image import (
    MAGIC,
    PARAMETERS_OFFSET,
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
from tests.guests.points import ROOT, SOURCES, all_points


def number(path: Path, name: str) -> int:
    match = re.search(rf"\b{name}\s*=?\s+(0x[0-9A-Fa-f]+|\d+)", path.read_text(encoding="utf-8"))
    assert match is not None, name
    return int(match.group(1), 0)


def test_parameters_are_the_guests() -> None:
    header = SOURCES / "parameters.h"
    assert number(header, "PARAMETERS_MAGIC").to_bytes(8, "little") == MAGIC
    assert number(header, "PARAMETERS_VERSION") == VERSION
    assert {mode: number(header, f"RUN_{mode.name}") for mode in RunMode} == {mode: mode.value for mode in RunMode}
    assert {touch: number(header, f"TOUCH_{touch.name}") for touch in Touch} == {touch: touch.value for touch in Touch}
    layout = ROOT / "guests" / "lib" / "layout.h"
    assert number(layout, "PAYLOAD_FLASH") - number(layout, "IMAGE_BASE") == PARAMETERS_OFFSET


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
    with pytest.raises(UsageError, match="cannot take"):
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
