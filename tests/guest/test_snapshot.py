# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that goes on from a snapshot: what it has, what is judged, and what is refused."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import snp_harness
from snp_harness.apic.access import Access, Phase
from snp_harness.apic.event_kinds import RESTORED
from snp_harness.apic.verdict import Status
from snp_harness.errors import UsageError
from snp_harness.firmware_run import RunResult
from snp_harness.guest.guest import Guest, boot
from snp_harness.guest.guest_errors import GuestEndedError, GuestError
from snp_harness.platforms import emulated
from snp_harness.platforms.common import machine_arguments
from snp_harness.platforms.saved import SnapshotError
from snp_harness.platforms.trace_witness import TraceWitness
from snp_harness.recorded import load_report
from snp_harness.vm import rundir
from snp_harness.vm.qemu_errors import ConsoleTimeoutError, QemuDiedError, QemuError
from tests.vm.processes import children, fifo, line_of

ON_BOTH = pytest.mark.parametrize(
    "platform", [pytest.param("emulated", marks=pytest.mark.emulated), pytest.param("tcg", marks=pytest.mark.tcg)]
)
#: A disk that QEMU's migration refuses, though it is not written to.
NVME = ("-drive", "if=none,id=d,driver=null-co,read-only=on,size=1M", "-device", "nvme,drive=d,serial=x")
DISK = ("-drive", "if=none,id=d,driver=null-co,size=1M", "-device", "virtio-blk-pci,drive=d,disable-legacy=on")


def accesses(result: RunResult, number: int) -> list[Access]:
    """The first accesses, without what differs from boot to boot: times, and the values of running timers."""
    return [dataclasses.replace(access, time_ns=None, value=None) for access in result.timeline.accesses[:number]]


@pytest.mark.tcg
class TestGuest:
    def test_memory_registers_and_consoles_are_those_of_then(self, echo: Guest) -> None:
        echo.wait_for("ready")
        echo.console.send("one two")
        echo.console.expect("one")
        echo.memory.write(0x2000, b"then")
        # It is typed, and printed when the guest has read it.
        echo.wait_for(lambda guest: guest.console.text.endswith("two"))
        snapshot = echo.snapshot()
        assert not echo.paused
        echo.memory.write(0x2000, b"later")
        echo.console.send(" later")
        echo.console.expect("later")
        for _ in range(2):
            echo.restore(snapshot)
            assert not echo.paused
            assert echo.memory.read(0x2000, 5) == b"then\0"
            assert echo.registers()["cs_base"] == 0xF0000
            # What was printed and not matched then is there, and what was printed later is not.
            echo.console.expect("two")
            with pytest.raises(ConsoleTimeoutError):
                echo.console.expect("later", 0.1)
            echo.console.send("!")
            echo.console.expect("!")
            assert echo.console.text == "ready\r\none two!"
        result = echo.power_off()
        assert [one.directory.name for one in echo.boots] == ["out", "out-2", "out-3"]
        assert (result.directory / rundir.SERIAL).read_bytes() == b"ready\r\none two!"
        [event] = [event for event in result.timeline.events if event.kind == RESTORED]
        assert event.fields["snapshot"] == str(snapshot.path)
        assert event.text in load_report(result.directory).notes

    def test_it_is_private_and_removed_with_the_guest(self, tmp_path: Path, echo_firmware: Path) -> None:
        with boot(echo_firmware, platform="tcg", out=tmp_path / "out", timeout_s=60) as guest:
            guest.wait_for("ready")
            first, second = guest.snapshot(), guest.snapshot()
            assert [one.path.name for one in (first, second)] == ["out-snapshot1", "out-snapshot2"]
            assert stat.S_IMODE(first.path.stat().st_mode) == 0o700
            assert first.size == sum(path.stat().st_size for path in first.path.iterdir()) < 64 << 20
            first.remove()
            assert not first.path.exists()
            with pytest.raises(SnapshotError, match="cannot read"):
                guest.restore(first)
            # The guest goes on.
            guest.console.send("x")
            guest.wait_for("x")
        assert {path.name for path in tmp_path.iterdir()} == {"out", echo_firmware.name}

    def test_a_paused_guest_is_paused(self, echo: Guest) -> None:
        echo.wait_for("ready")
        echo.pause()
        snapshot = echo.snapshot()
        assert (snapshot.paused, echo.paused) == (True, True)
        with pytest.raises(GuestError, match="has not run since its last snapshot: use that one"):
            echo.snapshot()
        echo.resume()
        echo.restore(snapshot)
        assert echo.paused
        again = echo.snapshot()
        echo.restore(again)
        echo.resume()
        echo.console.send("x")
        echo.wait_for("x")

    def test_a_guest_that_has_ended(self, echo: Guest) -> None:
        echo.wait_for("ready")
        snapshot = echo.snapshot()
        echo.power_off()
        with pytest.raises(GuestEndedError):
            echo.snapshot()
        echo.restore(snapshot)
        os.kill(echo._keeper.session.running.machine.pid, signal.SIGKILL)
        with pytest.raises(QemuDiedError):
            echo.wait_ended()
        echo.restore(snapshot)
        echo.console.send("x")
        echo.wait_for("x")
        assert len(echo.boots) == 2

    @pytest.mark.parametrize("name", ["state", rundir.TRACE, rundir.SERIAL])
    def test_a_damaged_one_is_refused_and_the_guest_goes_on(self, name: str, echo: Guest) -> None:
        echo.wait_for("ready")
        snapshot = echo.snapshot()
        os.truncate(snapshot.path / name, (snapshot.path / name).stat().st_size - 1)
        with pytest.raises(SnapshotError, match=f"{name} is not what was saved") as caught:
            echo.restore(snapshot)
        assert "\n" not in str(caught.value)
        echo.console.send("x")
        echo.wait_for("x")

    def test_a_state_that_qemu_cannot_load(self, echo: Guest) -> None:
        echo.wait_for("ready")
        before = children()
        snapshot = echo.snapshot()
        os.truncate(snapshot.path / "state", 1 << 20)
        unchecked = dataclasses.replace(snapshot._saved, sums={})
        with pytest.raises(QemuError, match=r"QEMU cannot load the state: .*load of migration failed") as caught:
            echo.restore(dataclasses.replace(snapshot, _saved=unchecked))
        assert "\n" not in str(caught.value)
        assert len(children()) < len(before)
        echo.reset()
        echo.wait_for("ready")

    def test_that_of_another_guest_is_refused(self, echo: Guest, echo_firmware: Path, tmp_path: Path) -> None:
        echo.wait_for("ready")
        snapshot = echo.snapshot()
        with (
            boot(echo_firmware, platform="tcg", out=tmp_path / "other") as other,
            pytest.raises(UsageError, match="the snapshot is of another guest"),
        ):
            other.restore(snapshot)

    @pytest.mark.parametrize(
        ("device", "error", "why"),
        [(DISK, UsageError, "the guest can write to d: add readonly=on"), (NVME, QemuError, "non-migratable")],
    )
    def test_what_cannot_be_saved(
        self, device: tuple[str, ...], error: type[Exception], why: str, echo_firmware: Path, tmp_path: Path
    ) -> None:
        with boot(echo_firmware, platform="tcg", out=tmp_path / "out", timeout_s=60, extra_args=device) as guest:
            guest.wait_for("ready")
            with pytest.raises(error, match=why):
                guest.snapshot()
            guest.console.send("x")
            guest.wait_for("x")
            assert not list(tmp_path.glob("*snapshot*"))


@ON_BOTH
def test_before_the_first_access_in_sec(
    platform: str, snp_firmware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restored boots have the offences of one that nothing has disturbed, and their raw logs the same verdict."""

    def offences(result: RunResult) -> list[tuple[str, list[int]]]:
        return [
            (one.rule, [access.index for access in one.offences if access.phase <= Phase.SEC])
            for one in result.verdict.results
        ]

    out = tmp_path / "out"
    # QEMU starts stopped, as it always does on plain TCG, and nobody lets it go on.
    monkeypatch.setattr(emulated, "machine_arguments", lambda *given: [*machine_arguments(*given), "-S"])
    monkeypatch.setattr(TraceWitness, "start", TraceWitness._connect)
    with boot(snp_firmware, platform=platform, out=out, timeout_s=300, as_if_active=True) as guest:
        assert guest.paused
        assert len(guest.accesses) == 0
        snapshot = guest.snapshot()
        guest.resume()
        guest.wait_for(Phase.PEI)
        for _ in range(2):
            guest.restore(snapshot)
            guest.resume()
            guest.wait_for(Phase.PEI)
    undisturbed, *restored = guest.boots
    in_sec = len([access for access in undisturbed.timeline.accesses if access.phase <= Phase.SEC])
    assert in_sec == 22 - (platform == "tcg")
    for result in restored:
        assert accesses(result, in_sec) == accesses(undisturbed, in_sec)
        assert offences(result) == offences(undisturbed)
        assert (result.verdict.status, result.timeline.gaps) == (Status.VIOLATED, ())
    # As if the harness had been killed.
    again = tmp_path / "again"
    shutil.copytree(restored[0].directory, again)
    for name in (rundir.TIMELINE, rundir.VERDICT, rundir.ENVIRONMENT):
        (again / name).unlink()
    report = load_report(again)
    assert report.verdict.status is Status.VIOLATED
    assert report.timeline.accesses[:in_sec] == restored[0].timeline.accesses[:in_sec]
    assert any("restored from a snapshot" in note for note in report.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("platform", "config", "vcpus"),
    [
        pytest.param("emulated", "alternate-injection-off", 4, marks=pytest.mark.emulated),
        pytest.param("emulated", "two-witnesses", 1, marks=pytest.mark.emulated),
        pytest.param("emulated", "plain", 1, marks=pytest.mark.emulated),
        pytest.param("tcg", None, 1, marks=pytest.mark.tcg),
    ],
)
def test_in_dxe_and_at_the_shell(
    platform: str, config: str | None, vcpus: int, snp_firmware: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with boot(
        snp_firmware, platform=platform, config=config, out=out, timeout_s=300, vcpus=vcpus, as_if_active=True
    ) as guest:

        def answers(text: str) -> None:
            guest.console.sendline(f"echo {text}")
            guest.console.expect(f"{text}\r\n")
            guest.console.expect("Shell> ")

        guest.wait_for(Phase.DXE)
        in_dxe = guest.snapshot()
        before = list(guest.accesses)
        guest.console.expect("Shell> ")
        at_shell = guest.snapshot()
        answers("undisturbed")
        for _ in range(2):
            guest.restore(at_shell)
            assert guest.accesses.phase is Phase.BDS
            answers("restored")
        guest.restore(in_dxe)
        assert guest.accesses.phase is Phase.DXE
        guest.console.expect("Shell> ")
        answers("again")
    for result in guest.boots:
        assert result.timeline.complete, result.timeline.gaps
        assert accesses(result, len(before)) == [
            dataclasses.replace(access, time_ns=None, value=None) for access in before
        ]
        assert result.verdict.status is guest.boots[0].verdict.status


@pytest.mark.emulated
@pytest.mark.slow
def test_at_any_moment_of_a_boot(snp_firmware: Path, tmp_path: Path) -> None:
    """Wherever the guest is brought to leave, it notices nothing; a restored one is saved again."""
    moments = random.Random(13)
    with boot(
        snp_firmware, config="alternate-injection-off", out=tmp_path / "out", timeout_s=300, vcpus=2, as_if_active=True
    ) as guest:
        for number in range(20):
            time.sleep(moments.random() * 0.5)
            snapshot = guest.snapshot()
            if number % 2:
                guest.restore(snapshot)
            snapshot.remove()
        guest.console.expect("Shell> ")
        guest.console.sendline("echo hello")
        guest.console.expect("hello\r\n")
        result = guest.power_off()
    assert result.timeline.complete, result.timeline.gaps
    assert len(guest.boots) == 11


PROGRAM = r"""
import sys
from pathlib import Path
from snp_harness import boot

with boot(sys.argv[1], platform=sys.argv[2], out=Path(sys.argv[3])) as guest:
    Path(sys.argv[4]).write_text("ready\n")
    while True:
        guest.restore(guest.snapshot())
"""


def qemus_of(directory: Path) -> list[int]:
    """Processes whose arguments or memory name a directory below this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(directory).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@ON_BOTH
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("delay_s", [0.3, 1.0])
def test_a_harness_that_is_killed_leaves_no_qemu(
    platform: str, number: signal.Signals, delay_s: float, snp_firmware: Path, tmp_path: Path
) -> None:
    told, out = fifo(tmp_path / "told"), tmp_path / "runs" / "out"
    out.parent.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(snp_harness.__file__).parent.parent)}
    argv = [sys.executable, "-c", PROGRAM, str(snp_firmware), platform, str(out), str(told)]
    with subprocess.Popen(argv, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as process:
        assert line_of(told, 60) == "ready"
        assert qemus_of(out.parent)
        time.sleep(delay_s)
        process.send_signal(number)
        process.wait(60)
    patience = time.monotonic() + 30
    while qemus_of(out.parent) and time.monotonic() < patience:
        time.sleep(0.05)
    assert qemus_of(out.parent) == []
    left = [path.name for path in out.parent.iterdir() if "snapshot" in path.name]
    assert number == signal.SIGKILL or left == []
