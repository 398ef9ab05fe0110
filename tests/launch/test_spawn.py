# SPDX-License-Identifier: GPL-2.0-or-later
"""A spawned process ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from snp_harness.launch.spawn import spawn
from tests.vm.processes import is_running, wait_for_end

PARENT = """
import sys
from snp_harness.launch.spawn import spawn
with open(sys.argv[1], "wb") as stderr:
    child = spawn(["sleep", "600"], stderr=stderr)
print(child.pid, flush=True)
sys.stdin.read()
"""
CHILD = """
import os, sys
files = [f"{fd}:{os.readlink(f'/proc/self/fd/{fd}')}" for fd in (0, 1) if os.path.exists(f"/proc/self/fd/{fd}")]
print(os.getpgrp(), os.getsid(0), ",".join(files), file=sys.stderr)
"""


def test_the_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path / "stderr"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    with parent.stdin, parent.stdout:
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait(60)
    assert wait_for_end(child, 60)


def test_a_process_group_of_its_own_and_nothing_inherited(tmp_path: Path) -> None:
    """A session of its own would be a group of the scheduler, too: eight guests would leave nothing to the harness."""
    with (tmp_path / "stderr").open("wb") as stderr:
        child = spawn([sys.executable, "-S", "-c", CHILD], stderr=stderr)
    assert child.wait(60) == 0
    group, session, files = (tmp_path / "stderr").read_text().split()
    assert int(group) == child.pid
    assert int(session) == os.getsid(0)
    assert files == "0:/dev/null,1:/dev/null"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("wb") as stderr, pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "nothing")], stderr=stderr)
