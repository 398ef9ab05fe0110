# SPDX-License-Identifier: GPL-2.0-or-later
"""Exits of real firmware: counted by their records as by the hypervisor itself, and not more than before."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import counts
from snp_harness.capture.exit_profile import LOG_LEVEL
from snp_harness.capture.record import RECORD, HostRecord, RecordKind
from snp_harness.cli.main import main
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_VIOLATED
from snp_harness.hosts.host import Host
from snp_harness.vm import rundir
from tests.helpers.run_records import records_to_goal
from tests.platforms.boots import boot, toml

pytestmark = [pytest.mark.emulated, pytest.mark.usefixtures("own_exits")]

#: At the reset vector: #VC, for which there is no handler yet, so that the guest ends.
CPUID_AT_RESET = b"\x0f\xa2"
#: Port of the ACPI timer.
PM_TIMER = 0x608


def test_every_exit_has_a_record(trixie_path: Path, tmp_path: Path) -> None:
    """The hypervisor counts exits by code, too, and writes these counts at the end of a guest."""
    image = bytearray(trixie_path.read_bytes())
    image[-16:-14] = CPUID_AT_RESET
    firmware = tmp_path / "end.fd"
    firmware.write_bytes(image)
    result = boot(firmware, tmp_path / "out", toml(tmp_path, f"[log]\nlevel = {LOG_LEVEL}"))
    exits: Counter[int] = Counter()
    stats: dict[int, int] = {}
    for record in map(HostRecord._make, RECORD.iter_unpack((result.directory / rundir.HOST_LOG).read_bytes())):
        if record.kind == RecordKind.EXIT:
            exits[{0x400: 0xFE, 0x403: 0x81}.get(record.address, record.address)] += 1
        elif record.kind == RecordKind.STATS:
            stats[record.address] = record.value
    assert exits == stats
    assert len(stats) >= 3


def _records(firmware: Path, directory: Path, level: int) -> list[tuple[int, ...]]:
    """What is recorded at level 2 until the firmware reads the time, without numbers and times."""
    directory.mkdir()
    config = toml(directory, f"[svsm]\nalternate_injection = false\n[log]\nlevel = {level}")
    result = boot(firmware, directory / "out", config, icount=True)
    before = itertools.takewhile(lambda record: record.address != PM_TIMER, records_to_goal(result.directory))
    return [
        (record.kind, record.vmpl, record.rip, record.address, record.value, record.size, record.path, record.outcome)
        for record in before
        if record.kind not in (RecordKind.EXIT, RecordKind.START)
    ]


def test_reads_that_are_answered_at_once_change_no_record(trixie_path: Path, tmp_path: Path) -> None:
    """At level 3 each read of the GHCB MSR and of SEV_STATUS leaves the loop around VMRUN, to be recorded."""
    at_once, recorded = (_records(trixie_path, tmp_path / f"{level}", level) for level in (2, LOG_LEVEL))
    assert len(at_once) > 1000
    assert at_once == recorded


def test_the_command_prints_the_profile(trixie_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["run", "--quiet", "--firmware", str(trixie_path), "--profile", "--out", str(out)]
    assert main(arguments) == EXIT_VIOLATED
    lines = capsys.readouterr().out.splitlines()
    profile = json.loads((out / rundir.PROFILE).read_text())
    assert f"exits by kind: {profile['exits']}" in lines
    assert f"exits until end of SEC: {sum(profile['marks']['end of SEC'].values())}" in lines
    seen = {(row["vmpl"], row["kind"], row["register"], row["module"]) for row in profile["rows"]}
    assert seen >= {(2, "RDMSR", "C0010130", "SecMain"), (2, "NPF MMIO", "FEE00000", "SecMain")}
    assert sum(row["count"] for row in profile["rows"]) == profile["exits"]


@pytest.fixture
def private_directory() -> Iterator[Path]:
    """A directory whose runs no second reader of raw logs looks at: it would refuse one that was cut off."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_log_that_is_cut_off_has_no_profile(
    trixie_path: Path, private_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("snp_harness.platforms.host_witness.HOST_LOG_LIMIT", 64 * 1000)
    monkeypatch.setattr("snp_harness.cli.profile.HOST_LOG_LIMIT", 64 * 1000)
    out = private_directory / "out"
    arguments = ["run", "--quiet", "--json", "--firmware", str(trixie_path), "--profile", "--out", str(out)]
    assert main(arguments) == EXIT_ENVIRONMENT
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["verdict"]["status"] == "violated"
    assert "profile" not in report
    assert "host.log lacks records: the exits cannot be counted" in printed.err
    assert not (out / rundir.PROFILE).exists()


def _check(run: str, until: str, firmware: Path, host: Host) -> None:
    try:
        grown = counts.check(run, until, firmware, host)
    except counts.OtherVersionError as error:
        pytest.skip(str(error))
    assert not grown, "\n".join(grown)


@pytest.mark.parametrize("configuration", counts.CONFIGURATIONS)
def test_exits_of_stock_firmware_to_the_end_of_sec(configuration: str, trixie_path: Path, snp_host: Host) -> None:
    _check(configuration, "sec", trixie_path, snp_host)


@pytest.mark.slow
@pytest.mark.parametrize("run", counts.RUNS)
def test_exits_of_stock_firmware_to_bdsdxe(run: str, trixie_path: Path, snp_host: Host) -> None:
    _check(run, "bds", trixie_path, snp_host)
