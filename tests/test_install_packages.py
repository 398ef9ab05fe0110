# SPDX-License-Identifier: GPL-2.0-or-later
"""What installs packages, with an apt-get that only says what it was asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "install-packages"
#: Fails once with what the first file says, then says that it was done.
APT_GET = """#!/bin/sh
echo "$*" >> {0}/asked
case "$*" in *update*) if [ -s {0}/first ]; then cat {0}/first >&2; mv {0}/first {0}/told; exit 100; fi;; esac
"""


def run(directory: Path, first: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """The script where nothing is installed but what it is made of. first: what the first update fails with."""
    for name in ("bash", "cat", "env", "mv", "sh", "sort"):
        found = shutil.which(name)
        assert found is not None
        (directory / name).symlink_to(found)
    for name, text in (("id", "#!/bin/sh\necho 0\n"), ("sleep", "#!/bin/sh\n"), ("apt-get", APT_GET.format(directory))):
        (directory / name).write_text(text)
        (directory / name).chmod(0o755)
    (directory / "first").write_text(first)
    done = subprocess.run(
        [directory / "bash", SCRIPT], env={"PATH": str(directory)}, capture_output=True, text=True, timeout=300
    )
    return done, (directory / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("first", "updates", "warned"),
    [
        ("", 1, False),
        ("E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)\n", 2, False),
        ("E: Release file for http://deb.debian.org/debian/dists/bookworm/InRelease is expired\n", 2, False),
        ("E: Failed to fetch http://deb.debian.org/\n", 1, True),
    ],
    ids=["done", "lock", "expired", "failed"],
)
def test_what_apt_get_is_asked_for(tmp_path: Path, first: str, updates: int, warned: bool) -> None:
    done, asked = run(tmp_path, first)
    assert done.returncode == 0, done.stderr
    assert [" update" in line for line in asked] == [True] * updates + [False]
    assert ("Check-Valid-Until=false" in asked[updates - 1]) == ("expired" in first)
    assert ("warning: the lists of packages were not brought up to date" in done.stderr) == warned
    assert asked[-1].endswith("binutils gcc make python3 python3-venv qemu-system-x86")
