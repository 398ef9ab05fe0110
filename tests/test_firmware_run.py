# SPDX-License-Identifier: GPL-2.0-or-later
"""A boot is prepared once, whichever way it is asked for, and run in the directory that it is given."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import snp_harness.platforms
from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.capture.collect import Collector
from snp_harness.errors import FirmwareError, UsageError
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware_run import RunSpec, prepare, run
from snp_harness.platforms.platform import RunOutcome
from snp_harness.platforms.running import Running
from snp_harness.platforms.session import Ending
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config
from snp_harness.vm import rundir
from snp_harness.vm.machine_base import MachineBase
from snp_harness.vm.rundir import RunDirectory
from tests.apic import samples
from tests.firmware import builder


class Recorder:
    """A platform that only notes what it is to run. Its module is this object."""

    name = "recorder"
    observed_on = "nothing that runs"
    configurable = True
    alternate_injection = True

    def __init__(self) -> None:
        self.PLATFORM = self
        self.images: list[FirmwareImage] = []

    def start(self, spec: RunSpec, directory: RunDirectory, _stack: contextlib.ExitStack) -> Running:
        self.images.append(spec.image)
        with pytest.raises(UsageError, match="another run is writing"):
            RunDirectory.create(directory.path, self.name)
        return Nothing()


class Nothing(Running):
    """A guest that has ended, without a machine."""

    platform = Recorder.name

    def __init__(self) -> None:
        silent: Any = SimpleNamespace(watch=lambda *_: None)
        self.machine = cast("MachineBase", SimpleNamespace(console=lambda _: silent))
        self.collector = Collector()

    def step(self) -> float:
        return 0.0

    def ended(self) -> Ending:
        return Ending("nothing ran")

    def timeline(self, ending: Ending) -> Timeline:
        return samples.timeline(platform=self.platform, complete=False, gaps=(ending.gap,), reached=Phase.SEC)

    def finish(self, ending: Ending) -> RunOutcome:
        return RunOutcome(self.timeline(ending))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setitem(snp_harness.platforms._MODULES, made.name, made.name)
    monkeypatch.setattr(snp_harness.platforms, "import_module", lambda _: made)
    return made


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that are opened."""
    paths: list[Path] = []
    real = FirmwareImage.open.__func__  # type: ignore[attr-defined]

    def count(cls: type[FirmwareImage], path: Path, vars_path: Path | None = None) -> FirmwareImage:
        paths.append(path)
        image: FirmwareImage = real(cls, path, vars_path)
        return image

    monkeypatch.setattr(FirmwareImage, "open", classmethod(count))
    return paths


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    path = tmp_path / "firmware.fd"
    path.write_bytes(builder.image())
    return path


def test_the_image_is_opened_once(recorder: Recorder, opened: list[Path], firmware: Path, tmp_path: Path) -> None:
    for given in (firmware, str(firmware)):
        boot = prepare(given, "recorder", "alternate-injection")
        with RunDirectory.create(tmp_path / "out", "recorder") as directory:
            boot.run(directory)
    run(RunSpec(firmware), "recorder", tmp_path / "out")
    assert opened == [firmware] * 3
    prepare(recorder.images[0], "recorder", "alternate-injection")
    assert opened == [firmware] * 3


@pytest.mark.usefixtures("recorder")
def test_a_configuration_is_a_name_a_path_or_a_value(firmware: Path, tmp_path: Path) -> None:
    named = load_config("no-svsm")
    (tmp_path / "own.toml").write_text("[svsm]\nvmpl = 3\n")
    for given, expected in (
        ("no-svsm", named),
        (named, named),
        (tmp_path / "own.toml", load_config(tmp_path / "own.toml")),
    ):
        assert prepare(firmware, "recorder", given).spec.svsm == expected


@pytest.mark.usefixtures("recorder")
def test_a_run_that_cannot_be_is_refused_before_there_is_a_directory(firmware: Path, tmp_path: Path) -> None:
    for refused, error in (
        (lambda: prepare(firmware, "nowhere", SvsmConfig()), UsageError),
        (lambda: prepare(firmware, "recorder", "nowhere"), UsageError),
        (lambda: prepare(tmp_path / "none.fd", "recorder", SvsmConfig()), FirmwareError),
        (lambda: prepare(firmware, "recorder", SvsmConfig(), vcpus=0), UsageError),
        (lambda: run(RunSpec(tmp_path / "none.fd"), "recorder", tmp_path / "out"), FirmwareError),
        (lambda: run(RunSpec(firmware), "nowhere", tmp_path / "out"), UsageError),
    ):
        with pytest.raises(error):
            refused()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("platform", ["tcg", "kvm", "nested"])
def test_a_platform_without_an_svsm_refuses_an_igvm_file(platform: str, tmp_path: Path) -> None:
    """It would run the firmware of the file alone, and the report would name the file."""
    with pytest.raises(UsageError, match=f"^the platform {platform} launches no IGVM file"):
        prepare(None, platform, None, igvm=tmp_path / "svsm.igvm")


@pytest.mark.usefixtures("recorder")
def test_the_directory_is_locked_until_its_owner_releases_it(firmware: Path, tmp_path: Path) -> None:
    boot = prepare(firmware, "recorder", SvsmConfig())
    with RunDirectory.create(tmp_path / "out", "recorder") as directory:
        result = boot.run(directory)
        with pytest.raises(UsageError, match="another run is writing"):
            RunDirectory.create(result.directory, "recorder")
    assert result.directory == directory.path
    assert {rundir.TIMELINE, rundir.VERDICT, rundir.ENVIRONMENT} <= {path.name for path in directory.path.iterdir()}
    run(RunSpec(firmware), "recorder", tmp_path / "out")


def test_symbols_that_are_not_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none is not a directory: name one that has the modules' debug files"):
        RunSpec(tmp_path / "F.fd", symbols=(tmp_path / "none",))
