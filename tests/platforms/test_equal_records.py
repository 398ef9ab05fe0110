# SPDX-License-Identifier: GPL-2.0-or-later
"""The paths through exits (SNP_HARNESS_EXITS) leave the same records, but for what depends on time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from snp_harness.conformance.series import run_conformance
from snp_harness.firmware.image import FirmwareImage
from snp_harness.firmware_run import RunResult
from snp_harness.platforms import exit_path
from snp_harness.platforms.guest_launch import reference_file
from snp_harness.platforms.memory_map import memory_map
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm.config import SvsmConfig
from snp_harness.svsm.config_files import load_config, shipped_configs, with_igvm
from snp_harness.tools.kvm_host.pack import Image
from snp_harness.vm import rundir
from tests.helpers.equal_records import difference, read_log
from tests.helpers.in_place import new_qemu
from tests.platforms.boots import PATIENCE_S, boot

pytestmark = pytest.mark.emulated

#: Before it counts down to its prompt.
SHELL = "console:EFI Internal Shell"
#: A run on each of both paths: gets its configuration and directory.
OnBoth = Callable[[Callable[[Path], RunResult]], list[RunResult]]


def full(name: str) -> SvsmConfig:
    """A configuration, with a record of every #VC, port and MMIO access."""
    config = load_config(name)
    return structs.replace(config, log=structs.replace(config.log, level=2))


@pytest.fixture(params=[exit_path.SINGLE, pytest.param(exit_path.IN_PLACE, marks=pytest.mark.slow)])
def on_both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OnBoth:
    """A function that makes a run on the usual path and on another one, both with the same QEMU."""
    if request.param == exit_path.IN_PLACE:
        monkeypatch.setenv("SNP_HARNESS_QEMU", str(new_qemu()))

    def run(make: Callable[[Path], RunResult]) -> list[RunResult]:
        results = []
        for path in ("", request.param):
            monkeypatch.setenv(exit_path.VARIABLE, path)
            result = make(tmp_path / f"on-{path}")
            in_place = path == exit_path.IN_PLACE
            assert ("-plugin" in (result.directory / rundir.COMMAND_LINE).read_text(encoding="utf-8")) == in_place
            results.append(result)
        return results

    return run


def check_same(results: list[RunResult], least: int, *, ticks: bool = False) -> None:
    """Compare two runs' logs up to the runs' end. least: number of ordered records."""
    usual, other = (read_log(result.directory, ticks=ticks) for result in results)
    assert [result.error for result in results] == [None, None]
    assert difference(usual, other) == ""
    assert sum(map(len, usual.ordered.values())) >= least


@pytest.mark.parametrize("config", ["alternate-injection", "alternate-injection-off"])
def test_to_the_end_of_sec(config: str, on_both: OnBoth, trixie_path: Path) -> None:
    check_same(on_both(lambda out: boot(trixie_path, out, full(config), until="sec", icount=True)), 1000)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "vcpus"), [("alternate-injection-off", 1), ("alternate-injection-off-native-io", 4)]
)
def test_to_the_shell(config: str, vcpus: int, on_both: OnBoth, trixie_path: Path) -> None:
    """Of every phase: the last ticks of DXE poll devices."""
    results = on_both(lambda out: boot(trixie_path, out, full(config), until=SHELL, vcpus=vcpus, icount=True))
    check_same(results, 10000, ticks=True)


@pytest.mark.slow
@pytest.mark.parametrize("config", sorted(name for name in shipped_configs() if name.startswith("fault-")))
def test_with_faults(config: str, on_both: OnBoth, trixie_path: Path) -> None:
    check_same(on_both(lambda out: boot(trixie_path, out, full(config), until="sec", icount=True)), 500)


@pytest.mark.slow
def test_of_an_igvm_file(on_both: OnBoth, trixie_path: Path, tmp_path: Path) -> None:
    image = FirmwareImage.open(trixie_path)
    path = tmp_path / "reference.igvm"
    path.write_bytes(reference_file(RunSpec(image), image, memory_map(512 << 20, 40)))
    config = with_igvm(full("alternate-injection"), path)
    check_same(on_both(lambda out: boot(trixie_path, out, config, until="sec", icount=True)), 1000)


@pytest.mark.slow
def test_points_of_the_conformance_guest(on_both: OnBoth) -> None:
    """What it does depends on time everywhere: its results do not."""
    points = []

    def run(out: Path) -> RunResult:
        found = run_conformance(full("alternate-injection"), out=out, timeout_s=PATIENCE_S, icount=True)
        points.append([(point.name, point.status) for point in found.tap.points])
        return found.run

    on_both(run)
    assert points[0] == points[1]
    assert len(points[0]) > 200


@pytest.mark.slow
def test_accesses_of_linux(on_both: OnBoth, trixie_path: Path, kvm_host_image: Image) -> None:
    """Its timers decide how often it makes each, on which vCPU."""
    kernel = ("-kernel", str(kvm_host_image.kernel), "-append", "console=ttyS0 nokaslr panic=-1")
    config = "alternate-injection-off"
    results = on_both(lambda out: boot(trixie_path, out, config, vcpus=2, until="shell", extra_args=kernel))
    usual, other = (
        {
            (found.phase, found.operation, found.register, found.path, found.outcome)
            for found in result.timeline.accesses
        }
        for result in results
    )
    assert usual == other
    assert len(usual) > 30
