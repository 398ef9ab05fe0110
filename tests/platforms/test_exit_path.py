# SPDX-License-Identifier: GPL-2.0-or-later
"""SNP_HARNESS_EXITS, and `exits.shortcuts`: the same records with fewer exits."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from snp_harness.apic.difference import difference
from snp_harness.apic.verdict import Status
from snp_harness.capture.record import RECORD, HostRecord, RecordKind
from snp_harness.errors import UsageError
from snp_harness.platforms import exit_path
from snp_harness.platforms.platform import RunSpec
from snp_harness.svsm.config_files import load_config
from snp_harness.vm import rundir
from tests.capture.host_records import FIRMWARE
from tests.platforms.boots import boot

pytestmark = pytest.mark.usefixtures("own_exits")

#: Reads of QEMU's ACPI timer differ with time.
ACPI_TIMER = 0x608


def test_the_variable_changes_what_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config("alternate-injection")
    spec = RunSpec(FIRMWARE, svsm=config)  # type: ignore[arg-type]
    assert exit_path.chosen(spec) is spec
    monkeypatch.setenv(exit_path.VARIABLE, "single")
    single = exit_path.chosen(spec)
    assert (single.svsm.svsm.rmp_batches, single.svsm.exits.shortcuts) == (False, False)
    assert structs.replace(single.svsm, svsm=config.svsm, exits=config.exits) == config
    monkeypatch.setenv(exit_path.VARIABLE, "in-place")
    assert exit_path.chosen(spec).svsm.exits == structs.replace(config.exits, in_place=True)
    monkeypatch.setenv(exit_path.VARIABLE, "singel")
    with pytest.raises(UsageError, match="SNP_HARNESS_EXITS is 'singel': it can be single or in-place"):
        exit_path.chosen(spec)


def records(firmware: Path, out: Path, *, shortcuts: bool) -> list[HostRecord]:
    """The records of a boot to SEC's end, with every #VC, port and MMIO access, without times."""
    config = load_config("alternate-injection-off")
    exits = structs.replace(config.exits, shortcuts=shortcuts)
    config = structs.replace(config, exits=exits, log=structs.replace(config.log, level=2))
    result = boot(firmware, out, config, until="sec", icount=True)
    assert result.error is None
    found = map(HostRecord._make, RECORD.iter_unpack((out / rundir.HOST_LOG).read_bytes()))
    return [
        record._replace(seq=0, time_ns=0, check=0)
        for record in found
        if record.kind != RecordKind.START and not (record.kind == RecordKind.IO and record.address == ACPI_TIMER)
    ]


@pytest.mark.emulated
def test_shortcuts_leave_the_same_records(trixie_path: Path, tmp_path: Path) -> None:
    """Until SEC's end; where the run is cut off after it, is chance."""
    fast = records(trixie_path, tmp_path / "fast", shortcuts=True)
    slow = records(trixie_path, tmp_path / "slow", shortcuts=False)
    shortest = min(len(slow), len(fast))
    assert shortest > 1000
    assert fast[:shortest] == slow[:shortest]


@pytest.mark.emulated
def test_the_fast_configuration_has_the_same_accesses(trixie_path: Path, tmp_path: Path) -> None:
    slow, fast = (
        boot(trixie_path, tmp_path / name, name, until="sec", icount=True)
        for name in ("alternate-injection", "alternate-injection-native-io")
    )
    assert slow.verdict.status is fast.verdict.status is Status.VIOLATED
    assert not difference(slow.timeline, fast.timeline).marks
    assert len(fast.timeline.accesses) > 6
