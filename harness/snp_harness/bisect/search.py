# SPDX-License-Identifier: GPL-2.0-or-later
"""`git bisect` in a worktree of its own: the history, the answers, their log and skipped commits are git's.

The worktree is one of the harness's repository, which borrows the objects of the user's: the user's repository is only
read. Nothing is checked out, `git bisect` names the commit to test in BISECT_HEAD (git-bisect(1), --no-checkout).
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from snp_harness.debian.cache import remove, writing
from snp_harness.edk2.git import GitError, GitResult, Store, git
from snp_harness.edk2.source import Repository
from snp_harness.errors import UsageError

#: `git bisect log` of the search, from which it is continued.
GIT_LOG = "git-bisect.log"
WORKTREE = "worktree"
#: Debian 12's; what this module asks of git is tested with it.
MINIMUM = (2, 39)
_ANSWER = re.compile(r"git bisect (\S+) ([0-9a-f]{40})")
_SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Terms:
    """What git calls the commits before and after the change that is searched for."""

    old: str
    new: str


#: The search for the commit that broke the contract, in git's own terms.
BREAK = Terms("good", "bad")
#: The search for the commit that fixed it.
FIX = Terms("violated", "holds")


class Search:
    """A search between two commits; a context manager, whose worktree is removed when it ends, however it ends.

    directory: has the log, by which the search continues an earlier one, and the worktree. retry_skipped: test the
    commits again that the earlier one skipped.
    """

    def __init__(
        self, store: Store, directory: Path, old: str, new: str, terms: Terms, *, retry_skipped: bool = False
    ) -> None:
        self.worktree = directory / WORKTREE
        self._store = store
        self._log = directory / GIT_LOG
        self._ends = (old, new)
        self._terms = terms
        self._retry_skipped = retry_skipped

    def __enter__(self) -> Search:
        # A harness that was killed has left its worktree.
        self._save()
        self._remove()
        self._store.git("worktree", "add", "--force", "--detach", "--no-checkout", self.worktree, self._ends[1])
        try:
            self._replay()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._save()
        self._remove()

    def bad(self) -> str:
        """The earliest commit known to be after the change."""
        return self._git("rev-parse", f"refs/bisect/{self._terms.new}").line

    def good(self) -> set[str]:
        """The commits known to be before the change."""
        return self._named(self._terms.old)

    def skipped(self) -> set[str]:
        """The commits without an answer."""
        return self._named(_SKIP)

    def answers(self) -> int:
        """How many answers git has, without the two ends'."""
        return len(_ANSWER.findall(self._git("bisect", "log").line))

    def suspects(self) -> tuple[str, ...]:
        """The commits that may have made the change, oldest first; the last one is `bad`."""
        return tuple(
            self._git("rev-list", "--reverse", "--topo-order", self.bad(), "--not", *sorted(self.good())).line.split()
        )

    def finished(self) -> bool:
        """Whether no commit is left to test."""
        return set(self.suspects()) <= {self.bad(), *self.skipped()}

    def _replay(self) -> None:
        """Start `git bisect` with the answers of the log."""
        old, new = self._ends
        options = ["--no-checkout"]
        if self._terms != BREAK:
            options += [f"--term-old={self._terms.old}", f"--term-new={self._terms.new}"]
        lines = ["git bisect start " + " ".join(f"'{word}'" for word in (*options, new, old))]
        # A line that is cut off, and one of other terms, is not an answer.
        kept = {self._terms.old, self._terms.new} | (set() if self._retry_skipped else {_SKIP})
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
        lines += [line for line in text.splitlines() if (match := _ANSWER.fullmatch(line)) and match[1] in kept]
        self._write("\n".join(lines) + "\n")
        # Its status is not 0 where only skipped commits are left.
        replayed = self._ask("bisect", "replay", self._log)
        if self._ask("rev-parse", "--verify", "--quiet", f"refs/bisect/{self._terms.new}").status:
            raise GitError(f"git bisect cannot be started: {replayed.said}", f"remove {self._log}")

    def _named(self, term: str) -> set[str]:
        return set(self._git("for-each-ref", "--format=%(objectname)", f"refs/bisect/{term}-*").line.split())

    def _save(self) -> None:
        """Keep git's log where it outlives the worktree."""
        if self.worktree.is_dir():
            log = self._ask("bisect", "log")
            if log.status == 0:
                self._write(log.stdout.decode(errors="replace"))

    def _write(self, text: str) -> None:
        temporary = self._log.with_suffix(".new")
        with writing(self._log.parent):
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._log)

    def _remove(self) -> None:
        remove(self.worktree)
        self._store.git("worktree", "prune", "--expire=now")

    def _git(self, *arguments: str | Path) -> GitResult:
        result = self._ask(*arguments)
        if result.status:
            raise GitError(f"git {arguments[0]} failed in {self.worktree}: {result.said}", f"remove {self._log}")
        return result

    def _ask(self, *arguments: str | Path) -> GitResult:
        return git(*arguments, directory=self.worktree)


def bisect_head(worktree: Path) -> str:
    """The commit that `git bisect` wants to be tested in a worktree; raises GitError."""
    found = git("rev-parse", "--verify", "BISECT_HEAD", directory=worktree)
    if found.status:
        raise GitError(f"{worktree} has no BISECT_HEAD: {found.said}", "run it with `git bisect run`")
    return found.line


def check_git() -> None:
    """Raises GitError if git is missing or too old."""
    said = git("--version", directory=Path("/")).line
    found = re.match(r"git version (\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < MINIMUM:
        wanted = ".".join(map(str, MINIMUM))
        raise GitError(f"{said!a} ({shutil.which('git')}) is too old", f"install git {wanted} or newer")


def order_ends(repository: Repository, good: str, bad: str) -> tuple[str, str]:
    """The older and the newer of two commits; raises UsageError if neither is an ancestor of the other.

    The commits between would not tell one from the other.
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
