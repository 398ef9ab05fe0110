# SPDX-License-Identifier: GPL-2.0-or-later
"""The second reader of raw logs: it agrees with a real run, and notices whatever is done to the log of one."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.apic.access import Server
from snp_harness.capture.record import RecordKind
from tests.capture.host_records import GUEST, Run
from tests.emulator.guest.build import DIRECTORY, Mode
from tests.emulator.guest.run import Setting, run_guest
from tests.helpers.guest_image import compile_guest
from tests.helpers.raw_log import cut_off, damage, disagreements, is_finished, records
from tests.hostile.image import SOURCE
from tests.hostile.run import ALTERNATE, Options, run_hostile

pytestmark = pytest.mark.emulated

SIZE = 64


@pytest.fixture(scope="module")
def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with many kinds of records, to its own end."""
    parent = tmp_path_factory.mktemp("raw")
    guest = compile_guest(parent, DIRECTORY, "guest.fd")
    return run_guest(parent / "run", guest, Setting(Mode.ALTERNATE, vcpus=4, level=2)).result.directory


def with_log(source: Path, target: Path, raw: bytes) -> Path:
    """A copy of a run with another log."""
    target.mkdir()
    for name in ("timeline.jsonl", "verdict.json"):
        shutil.copy(source / name, target / name)
    (target / "host.log").write_bytes(raw)
    return target


def noticed(copy: Path) -> list[str]:
    """What the reader finds in a copy, which is then not a run any more: conftest.py rereads all runs."""
    found = disagreements(copy)
    (copy / "host.log").unlink()
    return found


def split(raw: bytes) -> list[bytes]:
    return [raw[start : start + SIZE] for start in range(0, len(raw), SIZE)]


def test_it_agrees_with_the_run(run_directory: Path) -> None:
    assert is_finished(run_directory)
    assert disagreements(run_directory) == []


def test_one_record_of_each_kind_is_missed(run_directory: Path, tmp_path: Path) -> None:
    """Whichever is removed."""
    raw = (run_directory / "host.log").read_bytes()
    parts = split(raw)
    kinds: dict[int, list[int]] = {}
    for position, record in enumerate(records(raw)):
        kinds.setdefault(record.kind, []).append(position)
    assert len(kinds) >= 15, Counter(record.kind for record in records(raw))
    choose = random.Random(1)
    for kind, positions in kinds.items():
        position = choose.choice(positions)
        without = b"".join(parts[:position] + parts[position + 1 :])
        found = noticed(with_log(run_directory, tmp_path / str(kind), without))
        assert found, f"record {position} of kind {kind}"


CHANGES: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "doubled": lambda parts, at: [*parts[:at], parts[at], *parts[at:]],
    "exchanged": lambda parts, at: [*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]],
    "moved": lambda parts, at: [*parts[:at], *parts[at + 1 :], parts[at]],
    "cut": lambda parts, at: [*parts[:at], parts[at][:32], *parts[at + 1 :]],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_record_in_another_place_is_noticed(run_directory: Path, tmp_path: Path, change: str) -> None:
    parts = split((run_directory / "host.log").read_bytes())
    at = random.Random(2).randrange(len(parts) - 1)
    raw = b"".join(CHANGES[change](parts, at))
    assert noticed(with_log(run_directory, tmp_path / "run", raw))


def test_each_flipped_bit_is_noticed(run_directory: Path) -> None:
    raw = bytearray((run_directory / "host.log").read_bytes()[: 32 * SIZE])
    choose = random.Random(3)
    for _ in range(200):
        position, bit = choose.randrange(len(raw)), 1 << choose.randrange(8)
        raw[position] ^= bit
        assert damage(bytes(raw)), (position, bit)
        raw[position] ^= bit
    assert not damage(bytes(raw))


def test_both_readers_find_the_same_accesses_cut_off(tmp_path: Path) -> None:
    """Wherever the log of a real run ends between an access and its answer, or behind it."""
    firmware = compile_guest(tmp_path, SOURCE, "hostile.fd")
    options = Options(seed=1, sequences=60)
    hostile = run_hostile(tmp_path / "run", firmware, "sequences", ALTERNATE, options=options)
    raw = (hostile.result.directory / "host.log").read_bytes()
    log = list(records(raw))
    begun = [at for at, record in enumerate(log) if record.kind == RecordKind.ACCESS and record.vmpl == GUEST]
    servers = Counter[Server]()
    for at in random.Random(4).sample(begun, min(len(begun), 200)):
        for end in range(at + 1, at + 12):
            run = Run()
            run.host.take(raw[at * SIZE : end * SIZE])
            seen = run.timeline().accesses[0]
            cut = log[at].seq in cut_off(log[at:end], GUEST)
            assert cut == (seen.served_by is Server.NOT_OBSERVED), (at, end, seen)
            servers[seen.served_by] += 1
    assert min(servers[Server.NOT_OBSERVED], servers[Server.HYPERVISOR], servers[Server.SVSM]) > 20, servers


def changed(source: Path, target: Path, change: Callable[[dict[str, object]], None]) -> Path:
    """A copy of a run whose timeline has been changed, line by line."""
    with_log(source, target, (source / "host.log").read_bytes())
    lines = []
    for line in (source / "timeline.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        change(entry)
        if entry:
            lines.append(json.dumps(entry))
    (target / "timeline.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


@pytest.mark.parametrize("field", ["value", "pc", "mode", "path", "outcome", "vcpu", "operation"])
def test_a_changed_access_is_noticed(run_directory: Path, tmp_path: Path, field: str) -> None:
    def change(entry: dict[str, object]) -> None:
        access = entry.get("access")
        if isinstance(access, dict) and access["index"] == 5:
            access[field] = "0x77"

    assert "access 5" in noticed(changed(run_directory, tmp_path / "run", change))[0]


def test_an_access_that_the_timeline_does_not_have_is_noticed(run_directory: Path, tmp_path: Path) -> None:
    def change(entry: dict[str, object]) -> None:
        access = entry.get("access")
        if isinstance(access, dict) and access["index"] == 5:
            entry.clear()

    assert "in the timeline" in noticed(changed(run_directory, tmp_path / "run", change))[0]


def test_a_verdict_without_an_offence_is_noticed(run_directory: Path, tmp_path: Path) -> None:
    copy = with_log(run_directory, tmp_path / "run", (run_directory / "host.log").read_bytes())
    verdict = json.loads((copy / "verdict.json").read_text(encoding="utf-8"))
    (rule,) = (rule for rule in verdict["rules"] if rule["rule"] == "no-refused-access")
    assert rule["status"] == "violated"
    rule.update(status="holds", offences=[])
    (copy / "verdict.json").write_text(json.dumps(verdict), encoding="utf-8")
    assert any("no-refused-access" in line for line in noticed(copy))
