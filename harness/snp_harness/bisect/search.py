# SPDX-License-Identifier: GPL-2.0-or-later
"""`git bisect` in a worktree of its own: git keeps the history, the answers, their log and the skipped commits.

The worktree is one of the harness's repository, which borrows the objects of the user's: the user's repository is only
read. Nothing is checked out, `git bisect` names the commit to test in BISECT_HEAD (git-bisect(1), --no-checkout).
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from snp_harness.debian.cache import remove, writing
from snp_harness.edk2.git import GitError, GitResult, Store, git
from snp_harness.edk2.source import Repository
from snp_harness.errors import UsageError

#: `git bisect log` of the search, from which it is continued.
GIT_LOG = "git-bisect.log"
WORKTREE = "worktree"
#: Debian 12's version, with which this module is tested.
MINIMUM = (2, 39)
#: An incomplete line does not match.
_ANSWER = re.compile(r"^git bisect (\S+) [0-9a-f]{40}$", re.MULTILINE)
_SKIP = "skip"


#: git's terms for the commits before and after the change: for a commit that broke the contract;
BREAK = ("good", "bad")
#: and for a commit that fixed it.
FIX = ("violated", "holds")


class Search:
    """A search between two commits. worktree: where `git bisect` works on it."""

    def __init__(self, directory: Path, terms: tuple[str, str]) -> None:
        self.worktree = directory / WORKTREE
        self._log = directory / GIT_LOG
        self._old, self._new = terms

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, store: Store, directory: Path, ends: tuple[str, str], terms: tuple[str, str], *, retry_skipped: bool
    ) -> Iterator[Search]:
        """Start a search, or continue that of the log in a directory; its worktree exists until the context ends.

        ends: the older and the newer commit. retry_skipped: test skipped commits again.
        """
        search = cls(directory, terms)

        def close() -> None:
            search._save()
            remove(search.worktree)
            store.git("worktree", "prune", "--expire=now")

        # The worktree of a harness that was killed.
        close()
        try:
            store.git("worktree", "add", "--detach", "--no-checkout", search.worktree, ends[1])
            search._replay(ends, retry_skipped=retry_skipped)
            yield search
        finally:
            close()

    def bad(self) -> str:
        """Return the earliest commit known to be after the change."""
        return self._git("rev-parse", f"refs/bisect/{self._new}").line

    def good(self) -> set[str]:
        """Return the commits known to be before the change."""
        return self._named(self._old)

    def skipped(self) -> set[str]:
        """Return the commits without an answer."""
        return self._named(_SKIP)

    def answers(self) -> int:
        """Return how many answers git has, without those of the two ends."""
        return len(_ANSWER.findall(self._git("bisect", "log").line))

    def suspects(self) -> tuple[str, ...]:
        """Return the commits that may have made the change, oldest first; the last one is `bad`."""
        order = ("--reverse", "--topo-order")
        return tuple(self._git("rev-list", *order, self.bad(), "--not", *sorted(self.good())).line.split())

    def finished(self) -> bool:
        """Whether no commit is left to test."""
        return set(self.suspects()) <= {self.bad(), *self.skipped()}

    def _replay(self, ends: tuple[str, str], *, retry_skipped: bool) -> None:
        """Start `git bisect` with the answers of the log."""
        options = () if (self._old, self._new) == BREAK else (f"--term-old={self._old}", f"--term-new={self._new}")
        words = ("--no-checkout", *options, *reversed(ends))
        kept = {self._old, self._new} | (set() if retry_skipped else {_SKIP})
        answers = [match[0] for match in _ANSWER.finditer(self._read()) if match[1] in kept]
        self._write("\n".join(["git bisect start " + " ".join(f"'{word}'" for word in words), *answers, ""]))
        # Its status is not 0 if only skipped commits are left.
        replayed = self._ask("bisect", "replay", self._log)
        if self._ask("rev-parse", "--verify", "--quiet", f"refs/bisect/{self._new}").status:
            raise GitError(f"git bisect cannot be started: {replayed.said}", f"remove {self._log}")

    def _named(self, term: str) -> set[str]:
        return set(self._git("for-each-ref", "--format=%(objectname)", f"refs/bisect/{term}-*").line.split())

    def _save(self) -> None:
        """Copy git's log out of the worktree, unless it lacks answers because the search ended in the replay."""
        if self.worktree.is_dir():
            text = self._ask("bisect", "log").stdout.decode(errors="replace")
            if len(_ANSWER.findall(text)) >= len(_ANSWER.findall(self._read())):
                self._write(text)

    def _read(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""

    def _write(self, text: str) -> None:
        temporary = self._log.with_suffix(".new")
        with writing(self._log.parent):
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._log)

    def _git(self, *arguments: str | Path) -> GitResult:
        result = self._ask(*arguments)
        if result.status:
            raise GitError(f"git {arguments[0]} failed in {self.worktree}: {result.said}", f"remove {self._log}")
        return result

    def _ask(self, *arguments: str | Path) -> GitResult:
        return git(*arguments, directory=self.worktree)


def bisect_head(worktree: Path) -> str:
    """Return the commit that `git bisect` wants to be tested in a worktree. Raises GitError."""
    found = git("rev-parse", "--verify", "BISECT_HEAD", directory=worktree)
    if found.status:
        raise GitError(f"{worktree} has no BISECT_HEAD: {found.said}", "run it with `git bisect run`")
    return found.line


def check_git() -> None:
    """Raise GitError if git is missing or too old."""
    said = git("--version", directory=Path("/")).line
    found = re.match(r"git version (\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise GitError(f"{said!a} ({shutil.which('git')}) is too old", f"install git {wanted} or newer")


def order_ends(repository: Repository, good: str, bad: str) -> tuple[str, str]:
    """Return the older and the newer of two commits. Raises UsageError if neither is an ancestor of the other.

    Without a line of history between them there is nothing to search.
    """
    if good == bad:
        raise UsageError(f"--good and --bad are the same commit, {good[:12]}", "name two")
    base = repository.merge_base(good, bad)
    if base == good:
        return good, bad
    if base == bad:
        return bad, good
    where = "they are not related" if base is None else f"they part at {base[:12]}"
    raise UsageError(
        f"neither of --good {good[:12]} and --bad {bad[:12]} is an ancestor of the other: {where}",
        "name two commits of one line of history",
    )
