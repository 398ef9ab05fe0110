# SPDX-License-Identifier: GPL-2.0-or-later
"""The version and the git commit that this copy of the harness was built from.

A wheel and an sdist contain them in a file that hatch_build.py writes. A checkout, which is also what an editable
installation runs, reports its present commit. Standard library only: hatchling runs this file to get the version.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

#: The release that the next tag (v0.1.1) names: the versions before it are 0.1.1.devN, with N commits in the history.
#: The commit after a tag raises it.
NEXT_RELEASE = "0.1.1"
#: The file that a wheel and an sdist have beside this one.
BUILD_FILE = "build.json"
#: `git archive` replaces this by the commit (.gitattributes).
_ARCHIVED_COMMIT = "$Format:%H$"
_GIT_TIMEOUT_S = 10
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
#: What `git describe --long --always --dirty` prints, with a tag before the commit or without.
_DESCRIPTION = re.compile(
    r"(?:v(?P<tag>\d+(?:\.\d+)*)-(?P<since>\d+)-g)?(?P<commit>[0-9a-f]{40,64})(?P<modified>-dirty)?"
)
#: Digits of the commit in a version.
_SHORT = 10


class Build(NamedTuple):
    """Where this copy comes from. version: as in PEP 440, with the commit as its local part unless it is a release.

    commit: the full hash, or None where it is not known. modified: a tracked file differed from the commit.
    """

    version: str
    commit: str | None = None
    modified: bool = False

    def to_json(self) -> str:
        """The content of BUILD_FILE."""
        return json.dumps(self._asdict()) + "\n"


@functools.cache
def build() -> Build:
    """The build of this package. In a checkout it runs git twice, some milliseconds: not for the command's start."""
    package = Path(__file__).parent
    return _read(package / BUILD_FILE) or _from_git(package.parents[1]) or _from_archive(_ARCHIVED_COMMIT)


def _read(path: Path) -> Build | None:
    try:
        return Build(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _from_git(root: Path) -> Build | None:
    """The build of the checkout whose top is `root`; None where there is none, or git does not work."""
    if not (root / ".git").exists():
        return None
    try:
        found = _DESCRIPTION.fullmatch(
            _git(root, "describe", "--tags", "--long", "--always", "--abbrev=64", "--dirty", "--match=v[0-9]*")
        )
        count = _git(root, "rev-list", "--count", "HEAD")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    if found is None:
        return None
    commit, modified = found["commit"], found["modified"] is not None
    if found["tag"] is not None and found["since"] == "0" and not modified:
        return Build(found["tag"], commit)
    local = f"g{commit[:_SHORT]}{'.modified' if modified else ''}"
    return Build(f"{NEXT_RELEASE}.dev{count}+{local}", commit, modified)


def _git(root: Path, *arguments: str) -> str:
    """What a git command prints about the repository at `root`, which it does not write to."""
    # A hook of another repository sets GIT_DIR. Another owner's repository is trusted like the code in it, which runs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(root), "-c", "safe.directory=*", "-c", "core.fsmonitor=false", *arguments],
        env=environment | {"GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=_GIT_TIMEOUT_S,
        check=True,
    )
    return done.stdout.strip()


def _from_archive(commit: str) -> Build:
    """The build of a tree without git: of `git archive`, or, where `commit` is not one, of unknown origin."""
    if not _COMMIT.fullmatch(commit):
        return Build(f"{NEXT_RELEASE}.dev0")
    return Build(f"{NEXT_RELEASE}.dev0+g{commit[:_SHORT]}", commit)
