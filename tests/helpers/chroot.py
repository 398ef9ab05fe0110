# SPDX-License-Identifier: GPL-2.0-or-later
"""A Debian of its own in a directory, made with mmdebstrap, in which commands run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from snp_harness.debian.packages import Mirror

#: Downloads and unpacks some hundred packages, on a machine that may do something else.
STEP_S = 1500
#: /proc and /dev of its own, which end with the command: nothing stays mounted.
_ENTER = 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" env -i "${@:2}" bash -ec "$1"'
_ENVIRONMENT = ("HOME=/root", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")


def require(*programs: str) -> None:
    """Skip the test unless the programs are there and this is root."""
    if os.geteuid() != 0:
        pytest.skip("only root can change its root directory")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program}: run .ci/install-packages chroot")


def call(argv: list[str], *, directory: Path | None = None, given: bytes | None = None) -> str:
    """Run a command and return what it printed; a failure shows the end of it."""
    done = subprocess.run(
        argv, cwd=directory, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=STEP_S, check=False
    )
    printed = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}:\n" + "\n".join(printed.splitlines()[-60:])
    return printed


def debootstrap(suite: str, archive: Path) -> None:
    """Make a minimal Debian as an archive of tar."""
    # An index that has expired is still signed.
    argv = ["mmdebstrap", "--variant=minbase", '--aptopt=Acquire::Check-Valid-Until "false"']
    call([*argv, suite, str(archive), Mirror.configured().url])


def unpack(archive: Path, root: Path) -> None:
    """Make a directory of it, with this machine's name servers. It has devices: do not copy it file by file."""
    root.mkdir()
    call(["tar", "--extract", f"--file={archive}", f"--directory={root}"])
    shutil.copy("/etc/resolv.conf", root / "etc")


def enter(root: Path, script: str) -> str:
    """Run a script of bash in it."""
    return call(["unshare", "--mount", "--pid", "--fork", "bash", "-ec", _ENTER, str(root), script, *_ENVIRONMENT])
