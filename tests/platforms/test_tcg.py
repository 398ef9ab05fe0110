# SPDX-License-Identifier: GPL-2.0-or-later
"""Real boots on plain TCG: what is seen, and how runs end that go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.apic.access import Path as AccessPath
from snp_harness.apic.access import Phase
from snp_harness.apic.timeline import Timeline
from snp_harness.apic.verdict import Status
from snp_harness.capture import trace_timeline
from snp_harness.data import json_head
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_VIOLATED
from snp_harness.firmware_run import RunSpec
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import QemuLaunchError
from tests.apic.samples import SEVEN
from tests.platforms.boots import PATIENCE_S, run
from tests.platforms.sec import sec_accesses, told
from tests.vm.processes import children

pytestmark = pytest.mark.tcg


def check_seven(timeline: Timeline) -> None:
    accesses = sec_accesses(timeline)
    assert told(accesses) == SEVEN
    assert {(a.path, a.vcpu, a.size, a.pc, a.vmpl) for a in accesses} == {(AccessPath.MMIO, 0, 4, None, None)}


@pytest.mark.parametrize("firmware", ["bookworm_path", "trixie_path", "amdsev_path"])
def test_the_seven_accesses_of_sec(firmware: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    result = run(RunSpec(request.getfixturevalue(firmware)), "tcg", tmp_path / "out")
    check_seven(result.timeline)
    assert result.timeline.complete
    # On a busy machine the end comes late.
    assert result.timeline.reached >= Phase.PEI
    assert result.verdict.status is Status.VIOLATED
    assert result.exit_status == EXIT_VIOLATED
    assert len(result.verdict.result("x2apic-before-sec").offences) == 7


def test_to_dxe_and_what_is_left_behind(trixie_path: Path, tmp_path: Path) -> None:
    seen: list[Phase] = []
    spec = RunSpec(trixie_path, until="dxe", timeout_s=PATIENCE_S)
    result = run(spec, "tcg", tmp_path / "out", lambda phase, _accesses, _exits: seen.append(phase))
    assert [mark.phase for mark in result.timeline.phases] == [Phase.SEC, Phase.PEI, Phase.DXE, Phase.BDS]
    assert seen == sorted(seen)
    assert seen
    files = {path.name for path in result.directory.iterdir()}
    assert files >= {rundir.COMMAND_LINE, rundir.SERIAL, rundir.STDERR, rundir.TIMELINE, rundir.VERDICT, rundir.TRACE}
    text = (result.directory / rundir.TIMELINE).read_text()
    assert Timeline.from_jsonl(text) == result.timeline
    verdict = json.loads((result.directory / rundir.VERDICT).read_text())
    assert verdict == json_head("verdict") | result.verdict.to_json()
    environment = json.loads((result.directory / rundir.ENVIRONMENT).read_text())
    assert environment["platform"] == "tcg"
    assert "qemu-system" in environment["qemu"]


def test_four_vcpus(trixie_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine vCPUs that wait for one another fill the log, which then does not show who made an access.
    monkeypatch.setattr(trace_timeline, "REGION_LINES", 10**7)
    result = run(RunSpec(trixie_path, vcpus=4, until="pei", timeout_s=PATIENCE_S), "tcg", tmp_path / "out")
    check_seven(result.timeline)
    aps = {access.vcpu for access in result.timeline.accesses if access.vcpu}
    assert aps == {1, 2, 3}


def test_a_firmware_that_hangs_in_sec(trixie_path: Path, tmp_path: Path) -> None:
    image = bytearray(trixie_path.read_bytes())
    # The reset vector's first jump: a jump to itself.
    image[-16:-14] = b"\xeb\xfe"
    hanging = tmp_path / "hang.fd"
    hanging.write_bytes(image)
    result = run(RunSpec(hanging, timeout_s=1.5), "tcg", tmp_path / "out")
    assert result.verdict.status is Status.INCONCLUSIVE
    assert result.exit_status == 3
    [gap] = result.timeline.gaps
    assert gap == ("the end of SEC was not reached in 1.5 s: the guest is in the reset vector, nothing on the console")


def test_an_argument_that_qemu_refuses(trixie_path: Path, tmp_path: Path) -> None:
    with pytest.raises(QemuLaunchError, match="no-such-device") as caught:
        run(RunSpec(trixie_path, extra_args=("-device", "no-such-device")), "tcg", tmp_path / "out")
    assert caught.value.exit_status >= EXIT_ENVIRONMENT


def test_an_interrupt_keeps_what_was_seen(trixie_path: Path, tmp_path: Path) -> None:
    def interrupt(phase: Phase, _accesses: int, _exits: int | None) -> None:
        if phase >= Phase.PEI:
            raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        run(RunSpec(trixie_path, until="shell"), "tcg", tmp_path / "out", interrupt)
    timeline = Timeline.from_jsonl((tmp_path / "out" / rundir.TIMELINE).read_text())
    check_seven(timeline)
    assert timeline.gaps == ("the run was interrupted",)
    assert set(children()) <= set(before)
