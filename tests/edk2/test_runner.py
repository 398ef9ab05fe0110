# SPDX-License-Identifier: GPL-2.0-or-later
"""A program of a build: its errors, and whose fault they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from snp_harness.edk2.runner import first_error, run_logged
from snp_harness.edk2.tools import ToolError
from tests.vm.processes import wait_for_end

#: Seconds that anything here may take on any machine.
MOST_S = 300


def test_a_full_disk_is_not_the_sources_fault(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="the disk is full"):
        run_logged(
            ("sh", "-c", "echo x.c:1:2: fatal error: error writing to y: No space left on device; exit 1"),
            log=tmp_path / "log",
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
        )


@pytest.mark.parametrize(
    "said",
    [
        "gcc: fatal error: Killed signal terminated program cc1",
        "make[1]: *** [GNUmakefile:9: /x/a.obj] Terminated",
        "make: *** [GNUmakefile:9: /x/a.obj] Error 137",
    ],
)
def test_a_killed_compiler_is_not_the_sources_fault(tmp_path: Path, said: str) -> None:
    with pytest.raises(ToolError, match="was killed"):
        run_logged(
            ("sh", "-c", 'echo "$0"; exit 1', said),
            log=tmp_path / "log",
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
        )


def test_a_build_that_hangs_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(ToolError, match=r"did not end within 2 s"):
        run_logged(
            ("sh", "-c", 'sleep 3600 & echo $! >"$0"; wait', str(pid)),
            log=tmp_path / "log",
            cwd=tmp_path,
            environment={"PATH": os.environ["PATH"]},
            timeout_s=2,
        )
    assert wait_for_end(int(pid.read_text()), MOST_S)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("noise\n/x/a.c:3:5: error: ‘y’ undeclared\nmake: *** [x] Error 1\n", "/x/a.c:3:5: error: ‘y’ undeclared"),
        ("/x/a.c:3:5: warning: z\nb.nasm:7: error: parser: instruction expected\n", "b.nasm:7: error: parser: instr"),
        (
            "/usr/bin/ld: a.o: undefined reference to `f'\ncollect2: error: ld returned 1\n",
            "undefined reference to `f'",
        ),
        (
            "build.py...\n : error 4000: Instance of library class [X] is not found\n\tin [a.inf]\n",
            "Instance of library",
        ),
        ("make[1]: *** [GNUmakefile:9: tbuild] Error 2\nlast\n", "make[1]: *** [GNUmakefile:9: tbuild] Error 2"),
        ("one\n\nlast words\n\n", "last words"),
        ("", "it printed nothing"),
    ],
)
def test_the_first_error_that_says_most(said: str, error: str) -> None:
    assert first_error(said).startswith(error)
