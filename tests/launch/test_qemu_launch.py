# SPDX-License-Identifier: GPL-2.0-or-later
"""A launch with another program in place of QEMU: descriptors, tokens, the end, and the cleanup."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snp_harness.launch import qemu_launch
from snp_harness.launch.loop import Loop
from snp_harness.launch.qemu_launch import LaunchError, ProgramError, QemuLaunch
from snp_harness.launch.tokens import FILE, NUMBER, PATH, token
from tests.vm.processes import is_running


@pytest.fixture(autouse=True)
def descriptors(loop: Loop) -> Iterator[None]:
    """Check that a closed launch leaves no descriptor open."""

    def listed() -> set[str]:
        return {path.name for path in Path("/proc/self/fd").iterdir()}

    before = listed()
    yield
    assert listed() <= before


def shell(script: str, *arguments: str) -> list[str]:
    return ["/bin/sh", "-c", script, "sh", *arguments]


def run(launch: QemuLaunch, loop: Loop, cwd: Path | None = None) -> int:
    """Start it, and wait for its end."""
    ended: list[int] = []
    launch.start(sys.stderr.fileno(), loop, ended.append, cwd)
    assert loop.run_until(lambda: bool(ended), 60)
    return ended[0]


def test_what_it_inherits(tmp_path: Path, loop: Loop) -> None:
    script = """
import os, sys
os.write(int(sys.argv[1]), b"to the socket")
open(sys.argv[2], "w").write("to the pipe")
open(sys.argv[3], "r+b").write(b"shared")
open(sys.argv[5] + ".out", "w").write(open(sys.argv[4]).read())
sys.exit(7)
"""
    (tmp_path / "file").write_text("from the file")
    arguments = [token(*place) for place in ((NUMBER, "s"), (PATH, "p"), (PATH, "m"), (FILE, "file"), (PATH, "c"))]
    launch = QemuLaunch(
        tmp_path,
        [sys.executable, "-c", script, *arguments],
        consoles=["c"],
        sockets=["s"],
        pipes=["p"],
        memory={"m": 4096},
    )
    assert not launch.started
    assert run(launch, loop) == 7
    assert (launch.started, launch.status) == (True, 7)
    assert launch.sockets["s"].recv(100) == b"to the socket"
    assert launch.pipes["p"].read(100) == b"to the pipe"
    assert os.pread(launch.memory["m"], 6, 0) == b"shared"
    assert launch.consoles["c"].recv(100) == b"from the file"
    assert launch.command[-2] == str(tmp_path / "file")
    launch.close()
    launch.close()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_it_works(tmp_path: Path, loop: Loop) -> None:
    launch = QemuLaunch(tmp_path, shell("pwd -P >$1", token(PATH, "p")), pipes=["p"])
    assert run(launch, loop, tmp_path) == 0
    assert launch.pipes["p"].read(4096).decode() == f"{tmp_path.resolve()}\n"
    launch.close()


def test_ends_may_be_closed_before(tmp_path: Path, loop: Loop) -> None:
    launch = QemuLaunch(tmp_path, shell("exit 0"), consoles=["c"], sockets=["s"], pipes=["p"])
    assert run(launch, loop) == 0
    for end in (launch.consoles["c"], launch.sockets["s"], launch.pipes["p"]):
        end.close()
    launch.close()


def test_a_signal_ends_it(tmp_path: Path, loop: Loop) -> None:
    ended: list[int] = []
    launch = QemuLaunch(tmp_path, ["sleep", "600"])
    launch.start(sys.stderr.fileno(), loop, ended.append)
    assert launch.status is None
    launch.kill(signal.SIGTERM)
    assert loop.run_until(lambda: bool(ended), 60)
    launch.kill(signal.SIGTERM)
    assert ended == [-signal.SIGTERM]
    launch.close()


def test_closing_ends_it(tmp_path: Path, loop: Loop) -> None:
    launch = QemuLaunch(tmp_path, ["sleep", "600"])
    launch.start(sys.stderr.fileno(), loop, lambda _: None)
    pid = launch.pid
    launch.close()
    assert not is_running(pid)


@pytest.mark.parametrize("argument", [token(PATH, "p"), token(NUMBER, "s"), token(FILE, ".."), token(FILE, ".x")])
def test_a_token_of_nothing(argument: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is named"):
        QemuLaunch(tmp_path, ["sleep", argument], consoles=["c"], sockets=["t"], memory={"m": 4096})
    assert not list(tmp_path.iterdir())


def test_a_directory_that_takes_no_fifo(tmp_path: Path) -> None:
    for directory, path in ((tmp_path / "no", tmp_path / "no"), (Path("/proc/self"), Path("/proc/self/.c"))):
        with pytest.raises(LaunchError) as caught:
            QemuLaunch(directory, ["sleep"], consoles=["c"])
        assert caught.value.path == path
        assert str(caught.value).endswith(f": {caught.value.cause.strerror}")


def test_memory_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str, _size: int) -> int:
        raise OSError(27, "File too large")

    monkeypatch.setattr(qemu_launch, "shared_memory", refuse)
    with pytest.raises(LaunchError, match=r"^4 KiB of shared memory cannot be allocated: File too large$"):
        QemuLaunch(tmp_path, ["sleep"], pipes=["p"], memory={"m": 4096})


def test_a_program_that_is_not_there(tmp_path: Path, loop: Loop) -> None:
    launch = QemuLaunch(tmp_path, ["/no/program"], sockets=["s"])
    with pytest.raises(ProgramError, match=r"^/no/program cannot be started: No such file or directory$"):
        launch.start(sys.stderr.fileno(), loop, lambda _: None)
    assert not launch.started
    with pytest.raises(RuntimeError):
        assert launch.pid
    with pytest.raises(RuntimeError):
        launch.kill(signal.SIGTERM)
    launch.close()
