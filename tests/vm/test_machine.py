# SPDX-License-Identifier: GPL-2.0-or-later
"""Real QEMU processes, with no guest in them: start, monitor, consoles, death and clean-up."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from snp_harness.launch.tokens import PATH, token
from snp_harness.vm import rundir
from snp_harness.vm.machine import Machine
from snp_harness.vm.machine_base import Devices
from snp_harness.vm.qemu_binary import QemuBinary
from snp_harness.vm.qemu_errors import QemuDiedError, QemuError, QemuLaunchError, QemuMissingError, QmpCommandError
from snp_harness.vm.rundir import RunDirectory
from tests.vm.processes import is_running
from tests.vm.qemus import DISPLAY, IDLE

pytestmark = pytest.mark.tcg


def machine(
    tmp_path: Path,
    arguments: Sequence[str] = IDLE,
    *,
    devices: Devices | None = None,
) -> Machine:
    directory = RunDirectory.create(tmp_path / "out", "test")
    return Machine(QemuBinary.locate(), arguments, directory, devices or Devices())


def test_qmp(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        assert running.qmp.version >= (7, 2, 0)
        assert running.qmp.execute("query-name") == {}
        with pytest.raises(QmpCommandError, match="no-such-command"):
            running.qmp.execute("no-such-command")
        assert is_running(running.pid)
        assert not running.ended
    assert running.exit_status == 0
    assert not is_running(running.pid)


def test_several_commands_at_once(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        # More than QEMU queues.
        names: list[dict[str, object]] = [{"name": f"{letter}*", "enable": True} for letter in "abcdefghijkl"]
        running.qmp.execute_all([("trace-event-set-state", arguments) for arguments in names])
        states = running.qmp.execute("trace-event-get-state", name="apic*")
        assert {state["state"] for state in states} == {"enabled"}  # type: ignore[attr-defined]
        with pytest.raises(QmpCommandError, match="no-such-command"):
            running.qmp.execute_all([("query-name", {}), ("no-such-command", {})])
        assert running.qmp.execute("query-name") == {}


def test_stop_without_a_monitor(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        pid = running.pid
    assert not is_running(pid)
    # QEMU ends by itself on SIGTERM; before it has a handler, the signal ends it.
    assert running.exit_status in (0, -signal.SIGTERM)


def test_refused_arguments(tmp_path: Path) -> None:
    with machine(tmp_path, ["-machine", "no-such-machine"]) as running, pytest.raises(QemuLaunchError) as caught:
        running.qmp.execute("query-status")
    # 7.2 does not repeat the name.
    assert "qemu-system-x86_64: unsupported machine type" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 128
    assert caught.value.status == 1
    assert "-machine no-such-machine" in caught.value.details()


def test_death_in_the_middle(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        running.qmp.execute("query-status")
        os.kill(running.pid, signal.SIGKILL)
        assert running.loop.run_until(lambda: running.ended, 60)
        with pytest.raises(QemuDiedError, match=r"signal 9 \(SIGKILL\)") as caught:
            running.raise_if_failed()
        assert caught.value.exit_status == 128
        with pytest.raises(QemuError):
            running.qmp.execute("query-status")


def test_the_guest_s_power_off_is_no_death(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        running.qmp.execute("quit")
        assert running.loop.run_until(lambda: running.ended, 60)
        running.raise_if_failed()


def test_isa_debug_exit_is_no_death(tmp_path: Path) -> None:
    rom = tmp_path / "rom"
    # The reset vector: MOV AL, 5; OUT F4, AL; JMP to itself.
    rom.write_bytes(b"\x90" * 0xFFF0 + b"\xb0\x05\xe6\xf4\xeb\xfe" + b"\x90" * 10)
    # A warning of QEMU's is not the reason of its end.
    arguments = [*DISPLAY, "-cpu", "qemu64,+vmx", "-bios", str(rom), "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
    with machine(tmp_path, arguments) as running:
        assert running.loop.run_until(lambda: running.ended, 60)
        assert (running.exit_status, running.debug_exit) == (11, 5)
        running.raise_if_failed()
    assert "warning" in (tmp_path / "out" / rundir.STDERR).read_text()


def test_a_warning_is_not_why_qemu_died() -> None:
    warning = "qemu-system-x86_64: warning: TCG doesn't support requested feature\n"
    assert QemuDiedError(["qemu"], 1, "qemu: cannot allocate\n" + warning).message.endswith(": qemu: cannot allocate")
    killed = QemuDiedError(["qemu"], -signal.SIGKILL, warning).message
    assert killed.endswith(
        "signal 9 (SIGKILL): another process ended it, or the kernel because memory ran out (see dmesg)"
    )


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (-signal.SIGTERM, "qemu-system-x86_64: terminating on signal 15 from pid 7 (kill)", "terminating on signal 15"),
        (-signal.SIGUSR1, "", "signal 10 (SIGUSR1), without a message"),
        (-signal.SIGSEGV, "2026-01-02T03:04:05.678901Z qemu-system-x86_64: warning: x", ": a defect of QEMU"),
        (-signal.SIGBUS, "", "/dev/shm"),
        (-signal.SIGABRT, "qemu: fatal: Trying to execute code outside RAM\n\nRAX=0000\nXMM15=0", "outside RAM"),
        (-signal.SIGABRT, "**\nERROR:../hw/a.c:7:f: assertion failed: (x)\nBail out! ERROR:../hw/a.c", "failed: (x)"),
        (-signal.SIGABRT, "q: ../util/x.c:3: f: Assertion `a' failed.\nAborted", "Assertion `a' failed."),
        (-signal.SIGTRAP, "\n(process:7): GLib-ERROR **: 01:02:03.4: failed to allocate 9 bytes\n", "allocate 9 bytes"),
        (1, "2026-01-02T03:04:05.678901Z qemu-system-x86_64: no room", ": qemu-system-x86_64: no room"),
        (1, "qemu-system-x86_64: info: x\nqemu-system-x86_64: warning: y", "status 1, without a message"),
    ],
)
def test_why_qemu_ended(status: int, stderr: str, reason: str) -> None:
    assert reason in QemuDiedError(["qemu"], status, stderr).message


def test_an_error_inside_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), machine(tmp_path) as running:
        raise ZeroDivisionError
    assert not is_running(running.pid)


def test_a_stopped_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snp_harness.vm.machine_base.STOP_TIMEOUT_S", 0.3)
    with machine(tmp_path) as running:
        running.qmp.execute("query-status")
        os.kill(running.pid, signal.SIGSTOP)
    assert running.exit_status == -signal.SIGKILL


def test_a_file_that_cannot_be_executed(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out", "test")
    broken = tmp_path / "qemu"
    broken.write_bytes(b"nonsense")
    broken.chmod(0o755)
    with (
        pytest.raises(QemuMissingError, match="Exec format"),
        Machine(QemuBinary.locate(broken), IDLE, directory, Devices()),
    ):
        pass


def test_command_line_can_be_run_by_hand(tmp_path: Path) -> None:
    ring = token(PATH, "ring")
    arguments = [*IDLE, "-object", f"memory-backend-file,id=ring,share=on,mem-path={ring},size=1M"]
    devices = Devices(
        consoles={"serial": rundir.SERIAL}, memory={"ring": 1 << 20}, stand_ins={ring: "ring.bin"}, channels=["bell"]
    )
    with machine(tmp_path, arguments, devices=devices) as running:
        assert running.qmp.execute("query-memdev") != []
        directory = running.directory
    [by_hand] = [
        line for line in directory.file(rundir.COMMAND_LINE).read_text().splitlines() if line[:1] not in ("#", "")
    ]
    words = shlex.split(by_hand)
    prefix = QemuBinary.locate().prefix
    assert tuple(words[: len(prefix)]) == prefix
    assert "file,id=serial,path=serial.log" in words
    assert any("mem-path=ring.bin" in word for word in words)
    assert "fd=" not in by_hand
    assert "/proc/self" not in by_hand


def test_memory_is_shared_with_qemu(tmp_path: Path) -> None:
    backend = f"memory-backend-file,id=ram,share=on,mem-path={token(PATH, 'ring')},size=1M"
    arguments = ["-machine", "none,memory-backend=ram", "-object", backend, "-m", "1M", "-nodefaults", *DISPLAY]
    dump = tmp_path / "dump"
    with machine(tmp_path, arguments, devices=Devices(memory={"ring": 1 << 20})) as running:
        os.pwrite(running.memory("ring"), b"SNPLOG", 0x1000)
        running.qmp.execute("pmemsave", val=0x1000, size=6, filename=str(dump))
    assert dump.read_bytes() == b"SNPLOG"


def test_what_qemu_writes_to_a_pipe(tmp_path: Path) -> None:
    arguments = [*IDLE, "-D", token(PATH, "log"), "-d", "nochain,unimp"]
    with machine(tmp_path, arguments, devices=Devices(pipes=["log"])) as running:
        fd = running.take_pipe("log")
        running.qmp.execute("query-status")
    with os.fdopen(fd, "rb") as pipe:
        assert pipe.read() == b""
