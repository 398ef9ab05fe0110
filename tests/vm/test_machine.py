# SPDX-License-Identifier: GPL-2.0-or-later
"""Real QEMU processes, with no guest in them: start, monitor, consoles, death and clean-up."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.vm import rundir
from harness.vm.errors import QemuDiedError, QemuError, QemuLaunchError, QemuMissingError, QmpCommandError
from harness.vm.machine import Machine, descriptor_path, memory_file
from harness.vm.qemu import QemuBinary
from harness.vm.rundir import RunDirectory
from tests.vm.processes import is_running

pytestmark = pytest.mark.tcg

#: A machine that is up in a few milliseconds and runs nothing.
IDLE = ("-machine", "none", "-nodefaults", "-display", "none")


def machine(
    tmp_path: Path,
    arguments: Sequence[str] = IDLE,
    *,
    consoles: dict[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Machine:
    directory = RunDirectory.create(tmp_path / "out", "test")
    return Machine(QemuBinary.locate(), arguments, directory, consoles=consoles or {}, pass_fds=pass_fds)


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
        assert running.loop.run_until(lambda: running.ended, 5)
        with pytest.raises(QemuDiedError, match=r"signal 9 \(SIGKILL\)") as caught:
            running.raise_if_failed()
        assert caught.value.exit_status == 128
        with pytest.raises(QemuError):
            running.qmp.execute("query-status")


def test_the_guest_s_power_off_is_no_death(tmp_path: Path) -> None:
    with machine(tmp_path) as running:
        running.qmp.execute("quit")
        assert running.loop.run_until(lambda: running.ended, 5)
        running.raise_if_failed()


def test_an_error_inside_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), machine(tmp_path) as running:
        raise ZeroDivisionError
    assert not is_running(running.pid)


def test_a_stopped_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.vm.machine.STOP_TIMEOUT_S", 0.3)
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
        Machine(QemuBinary.locate(broken), IDLE, directory, consoles={}),
    ):
        pass


def test_command_line_can_be_run_by_hand(tmp_path: Path) -> None:
    ring = memory_file("test", 1 << 20)
    directory = RunDirectory.create(tmp_path / "out", "test")
    arguments = [*IDLE, "-object", f"memory-backend-file,id=ring,share=on,mem-path={descriptor_path(ring)},size=1M"]
    with Machine(
        QemuBinary.locate(),
        arguments,
        directory,
        consoles={"serial": rundir.SERIAL},
        pass_fds=[ring],
        stand_ins={descriptor_path(ring): "ring.bin"},
    ) as running:
        assert running.qmp.execute("query-memdev") != []
    os.close(ring)
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


def test_memory_file_is_shared_with_qemu(tmp_path: Path) -> None:
    ring = memory_file("test", 1 << 20)
    backend = f"memory-backend-file,id=ram,share=on,mem-path={descriptor_path(ring)},size=1M"
    arguments = [
        "-machine",
        "none,memory-backend=ram",
        "-object",
        backend,
        "-m",
        "1M",
        "-nodefaults",
        "-display",
        "none",
    ]
    os.pwrite(ring, b"SNPLOG", 0x1000)
    dump = tmp_path / "dump"
    with machine(tmp_path, arguments, pass_fds=[ring]) as running:
        running.qmp.execute("pmemsave", val=0x1000, size=6, filename=str(dump))
    os.close(ring)
    assert dump.read_bytes() == b"SNPLOG"
