# SPDX-License-Identifier: GPL-2.0-or-later
"""What is kept of a guest that was saved: its log is read again, and nothing that was changed is used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from snp_harness.apic.access import Phase
from snp_harness.apic.event_kinds import RESTORED
from snp_harness.apic.timeline import Known
from snp_harness.capture.collect import Collector
from snp_harness.capture.console_text import ConsoleMark
from snp_harness.capture.trace_timeline import TraceTimeline
from snp_harness.errors import UnsupportedError, UsageError
from snp_harness.platforms.kvm import KvmGuest
from snp_harness.platforms.saved import ContinuedLog, Saved, SnapshotError, check_disks


def saved(path: Path, marks: tuple[ConsoleMark, ...] = (), **files: bytes) -> Saved:
    sums = {}
    for name, data in files.items():
        (path / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()

    def resume(*_: object) -> None:
        raise AssertionError("it was started")

    return Saved(path, 0, sums, marks, (), 0.0, resume)  # type: ignore[arg-type]


def test_phases_of_the_console_begin_where_they_did(tmp_path: Path) -> None:
    before, after = Collector(), Collector()
    before.enter(Phase.DXE, 1, "seen")
    before.position = 4
    before.enter(Phase.BDS, None, "console: BdsDxe", Known.CONSOLE)
    assert before.console_marks == [ConsoleMark(4, Phase.BDS, "console: BdsDxe")]
    seen = []
    for part in saved(tmp_path, tuple(before.console_marks), log=b"abcdef").replay("log", after):
        seen.append((part, after.phase))
        if part == b"abcd":
            after.enter(Phase.DXE, 1, "seen")
    assert seen == [(b"abcd", Phase.RESET), (b"ef", Phase.BDS)]
    assert after.phases == before.phases
    # For a snapshot of what was restored.
    after.position = 6
    assert after.console_marks[0].phase is Phase.BDS
    assert [event.kind for event in after.events] == [RESTORED]


def test_the_log_before_comes_once_and_then_the_ring(tmp_path: Path) -> None:
    class Ring:
        exits, lost, halted = 3, 4, 5

        def read(self) -> Iterator[bytes]:
            yield b"new"

        def arm(self) -> None: ...

        def close(self) -> None: ...

    log = ContinuedLog(saved(tmp_path, log=b"old").replay("log", Collector()), Ring())
    assert [list(log.read()), list(log.read())] == [[b"old", b"new"], [b"new"]]
    assert (log.exits, log.lost, log.halted) == (3, 4, 5)


@pytest.mark.parametrize("damage", [b"", b"stat", b"statf"])
def test_a_changed_file_is_refused(damage: bytes, tmp_path: Path) -> None:
    one = saved(tmp_path, state=b"state", log=b"log")
    one.check()
    (tmp_path / "state").write_bytes(damage)
    with pytest.raises(SnapshotError, match="state is not what was saved: take the snapshot again"):
        one.start(None, None, None)  # type: ignore[arg-type]


def test_a_removed_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    one = saved(tmp_path / "one", state=b"state")
    one.remove()
    one.remove()
    assert not (tmp_path / "one").exists()
    with pytest.raises(SnapshotError, match=r"cannot read .*state: No such file"):
        one.check()


def test_a_disk_that_can_be_written_to() -> None:
    def machine(*disks: dict[str, object]) -> SimpleNamespace:
        return SimpleNamespace(qmp=SimpleNamespace(execute=lambda _: list(disks)))

    flash, empty = {"device": "pflash0", "inserted": {"ro": True}}, {"device": "cd0"}
    check_disks(machine(flash, empty))  # type: ignore[arg-type]
    for disk, name in (({"device": "d0"}, "d0"), ({"device": "", "qdev": "/machine/d"}, "/machine/d")):
        with pytest.raises(UsageError, match=f"no content of disks, and the guest can write to {name}: add readonly"):
            check_disks(machine(flash, disk | {"inserted": {"ro": False}}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("platform", "ram", "why"),
    [
        ("snp", 0, "the guest's memory is encrypted"),
        ("kvm", 1, "KVM's trace events begin with a new guest"),
        ("nested", 1, "KVM's trace events begin with a new guest"),
    ],
)
def test_guests_that_cannot_be_saved(platform: str, ram: int, why: str, tmp_path: Path) -> None:
    guest = KvmGuest.__new__(KvmGuest)
    guest.platform, guest._ram = platform, ram
    with pytest.raises(UnsupportedError, match=f"the platform {platform} cannot take a snapshot: {why}"):
        guest.save(tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_the_time_without_a_machine_is_left_out() -> None:
    collector = Collector()
    timeline = TraceTimeline(1, collector)
    timeline.feed(b"1@1.000000:cpu_set_apic_base 0x00000000fee00900\n")
    timeline.skip(5 * 10**9)
    timeline.feed(b"2@6.500000:cpu_set_apic_base 0x00000000fee00900\n")
    assert [access.time_ns for access in collector.accesses] == [0, 500_000_000]
