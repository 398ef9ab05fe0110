# SPDX-License-Identifier: GPL-2.0-or-later
"""Which commits to ask next, and when the answer is known. The history is git's: `git rev-list --bisect-all` weighs it.

The repository is only read: no checkout, no refs, nothing of `git bisect`'s own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from snp_harness.errors import UsageError

#: Runs git in the repository, and returns what it says.
Git = Callable[..., str]


@dataclass(slots=True)
class Search:
    """The state of a bisection: what is known of the history between good and bad.

    bad: the earliest commit known to be bad. good: commits known to be good. skipped: those that gave no answer.
    """

    git: Git
    bad: str
    good: set[str]
    skipped: set[str] = field(default_factory=set)

    def candidates(self) -> tuple[str, ...]:
        """The commits that may be asked, the one that halves the rest best first; without `bad` itself."""
        return _weighed(self.git, self.bad, self.good)

    def next(self, count: int = 1) -> tuple[str, ...]:
        """Up to count commits to ask at the same time; none when no answer can change anything.

        The second and third are what would be asked after each answer to the first, and so on: so each answer is used.
        """
        chosen: list[str] = []
        states = [(self.bad, frozenset(self.good))]
        while states and len(chosen) < count:
            bad, good = states.pop(0)
            found = next((commit for commit in _weighed(self.git, bad, good) if commit not in self.skipped), None)
            if found is not None:
                if found not in chosen:
                    chosen.append(found)
                states += [(found, good), (bad, good | {found})]
        return tuple(chosen)

    def learn(self, commit: str, bad: bool | None) -> None:
        """Take an answer in, None if there is none; one about a commit that no longer matters is let go."""
        if bad is None:
            self.skipped.add(commit)
        elif commit in self.candidates():
            if bad:
                self.bad = commit
            else:
                self.good.add(commit)

    def suspects(self) -> tuple[str, ...]:
        """When nothing more can be asked: the first bad commit, or all that it may be where commits were skipped.

        Oldest first.
        """
        left = {commit for commit in self.candidates() if commit in self.skipped}
        ordered = self.git("rev-list", "--reverse", "--topo-order", self.bad, "--not", *sorted(self.good)).split()
        return (*(commit for commit in ordered if commit in left), self.bad)


def check_ends(git: Git, good: str, bad: str) -> None:
    """Raises UsageError if bad does not come after good: the commits between would not tell one from the other."""
    if good == bad:
        raise UsageError(f"--good and --bad are the same commit, {good[:12]}", "give two")
    if _comes_after(git, good, bad):
        return
    if _comes_after(git, bad, good):
        raise UsageError(f"--bad {bad[:12]} comes before --good {good[:12]}", "exchange them")
    sides = git("rev-list", "--boundary", "--date-order", f"{good}...{bad}").splitlines()
    parted = next((f" at {line[1:13]}" for line in sides if line.startswith("-")), ", if they are related at all")
    raise UsageError(
        f"--bad {bad[:12]} does not come after --good {good[:12]}: they part{parted}", "give two ends of one line"
    )


def _comes_after(git: Git, one: str, other: str) -> bool:
    return other in git("rev-list", "--ancestry-path", other, "--not", one).split()


def _weighed(git: Git, bad: str, good: Collection[str]) -> tuple[str, ...]:
    lines = git("rev-list", "--bisect-all", bad, "--not", *sorted(good)).splitlines()
    commits = (line.split()[0] for line in lines if line.strip())
    return tuple(commit for commit in commits if commit != bad)


def commits_between(git: Git, good: str, bad: str) -> Sequence[str]:
    """The commits that can have made the difference, oldest first."""
    return git("rev-list", "--reverse", "--topo-order", bad, "--not", good).split()
