# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells of a matrix, from what the command line names."""

from __future__ import annotations

from pathlib import Path

import pytest

import snp_harness.firmware.find
from snp_harness.errors import FirmwareError, HarnessError, UsageError
from snp_harness.matrix.plan import Planned, plan
from snp_harness.svsm.config_files import shipped_configs
from tests.firmware.builder import image as firmware_image


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "OVMF.fd"
    path.write_bytes(firmware_image())
    return str(path)


def planned(
    *firmwares: str, configs: tuple[str, ...] = (), platforms: tuple[str, ...] = ("emulated",)
) -> list[Planned]:
    return plan(firmwares, configs, platforms, [1], lambda _: None)


def names(cells: list[Planned]) -> list[str]:
    return [cell.place.name for cell in cells]


def test_all_configurations_of_all_firmwares(image: str) -> None:
    cells = planned(f"stock={image}", image)
    assert [cell.place.configuration for cell in cells[::2]] == list(shipped_configs())
    assert {cell.place.firmware for cell in cells} == {"stock", "OVMF"}
    assert {cell.place.configuration for cell in cells if cell.refuses} == {"no-feature-bit-9"}


def test_chosen_ones(image: str, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[svsm]\nalternate_injection = false\n")
    found = names(planned(image, configs=("timer-*", "plain", str(own), "plain")))
    assert found == [f"OVMF/{name}/emulated/1" for name in ("timer-hv-timer", "timer-svsm", "plain", "own")]


def test_a_platform_that_has_no_configuration_has_one_cell(image: str) -> None:
    assert names(planned(image, platforms=("tcg", "tcg"))) == ["OVMF/alternate-injection/tcg/1"]
    assert names(planned(image, configs=("plain",), platforms=("tcg",))) == ["OVMF/plain/tcg/1"]


@pytest.mark.parametrize(
    ("firmwares", "configs", "platforms", "said"),
    [
        (["{}", "{}"], (), ("emulated",), "two firmwares are named OVMF: name them, as in before=PATH after=PATH"),
        (["a={}"], ("plan",), ("emulated",), "did you mean plain?"),
        (["a={}"], ("fault_*",), ("emulated",), "no configuration is named as in 'fault_*'"),
        (["a={}"], ("/nonexistent/x.toml",), ("emulated",), "cannot read /nonexistent/x.toml"),
        (["a={}"], (), ("emulted",), "did you mean emulated?"),
        (["a="], (), ("emulated",), "has no name for the table"),
        (["/tmp/.fd"], (), ("emulated",), "has no name for the table"),
    ],
)
def test_mistakes(
    image: str, firmwares: list[str], configs: tuple[str, ...], platforms: tuple[str, ...], said: str
) -> None:
    with pytest.raises(HarnessError) as error:
        planned(*(text.format(image) for text in firmwares), configs=configs, platforms=platforms)
    assert isinstance(error.value, UsageError)
    assert said in str(error.value)


def test_a_file_that_is_no_firmware_is_an_error_before_the_first_run(tmp_path: Path, image: str) -> None:
    (tmp_path / "other.fd").write_bytes(b"\x7fELF")
    with pytest.raises(FirmwareError, match="ELF"):
        planned(image, str(tmp_path / "other.fd"))


def test_a_name_of_debian(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snp_harness.firmware.find, "_named", lambda *_: Path(image))
    assert names(planned("debian:sid/amdsev", configs=("plain",))) == ["debian-sid-amdsev/plain/emulated/1"]
