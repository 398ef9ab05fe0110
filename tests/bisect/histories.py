# SPDX-License-Identifier: GPL-2.0-or-later
"""Small histories in real repositories, and a step that answers from a table."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from snp_harness.edk2.source import Repository
from tests.edk2.trees import write_tree

COUNT = 20
#: Prints and ends as bisect-step does. The table: a commit and "good", "bad", "skip" or "broken" in each line.
_STEP = r"""#!/bin/sh
for word; do
    case $word in
    --commit=*) commit=${word#*=} ;;
    --worktree=*) commit=$(git -C "${word#*=}" rev-parse BISECT_HEAD) ;;
    --find-fix) fix=yes ;;
    esac
done
here=$(dirname "$0")
echo "$commit" >> "$here/asked"
while read -r name answer; do
    test "$name" = "$commit" && break
done < "$here/answers"
if test "$answer" = broken; then
    echo '{"error": "QEMU is gone", "hint": "install it", "exit_status": 130}'
    exit 130
fi
printf '{"commit": "%s", "subject": "subject", "judgement": "%s", "reason": "reason"}\n' "$commit" "$answer"
case $answer$fix in
good | badyes) exit 0 ;;
bad | goodyes) exit 1 ;;
skip*) exit 125 ;;
esac
"""


class History:
    """A repository of empty commits. commits: the main line, oldest first."""

    def __init__(self, directory: Path) -> None:
        self.directory = write_tree(directory, {"OvmfPkg/OvmfPkg.dec": b""})
        self("init", "-q")
        self.tree = self("hash-object", "-t", "tree", "-w", os.devnull)
        self.commits = [self.commit("first")]
        for number in range(1, COUNT + 1):
            self.commits.append(self.commit(f"change {number}", self.commits[-1]))
        self("update-ref", "HEAD", self.commits[-1])

    def __call__(self, *arguments: str) -> str:
        names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(
            ["git", *arguments], cwd=self.directory, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, message: str, *parents: str) -> str:
        """A new commit; no branch has it."""
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        return self("commit-tree", self.tree, *arguments, "-m", message)

    @property
    def repository(self) -> Repository:
        """The repository as the harness opens it."""
        return Repository(self.directory)

    def state(self) -> str:
        """What a bisection must not change."""
        files = sorted(str(path.relative_to(self.directory)) for path in self.directory.rglob("*"))
        return "\n".join([self("for-each-ref"), self("worktree", "list"), self("status"), *files])


class Oracle:
    """A step that answers from a table. command: its words."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        script = directory / 'a step\'s "script"'
        script.write_text(_STEP)
        script.chmod(0o755)
        self.command = [str(script)]

    def answer(self, answers: Mapping[str, str]) -> None:
        """Set its answers from now on."""
        text = "".join(f"{commit} {answer}\n" for commit, answer in answers.items())
        (self._directory / "answers").write_text(text)

    @property
    def asked(self) -> list[str]:
        """The commits that it judged, in order."""
        path = self._directory / "asked"
        return path.read_text().split() if path.is_file() else []
