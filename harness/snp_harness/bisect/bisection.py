# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness bisect`: finds the commit that broke, or mended, the contract.

Both ends are asked first, as an end that is not what it was taken for makes every later answer worthless. A step that
gives no answer is left out; a broken environment ends the search, and the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snp_harness.apic.rules.observation import plural
from snp_harness.bisect.log import BisectLog
from snp_harness.bisect.search import Git, Search, commits_between
from snp_harness.bisect.step import Judgement, Step
from snp_harness.errors import UsageError

#: Asks commits, at the same time if there are several; raises HarnessError if the environment is broken.
Ask = Callable[[Sequence[str]], Sequence[Step]]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found. suspects: the commit, or several where the others gave no answer, the last one certain to differ.

    before: the latest asked commit that is as the good end. steps: answers used, without the two ends'.
    mended: the ends are the other way round, so the commit is the one that made it hold.
    """

    suspects: tuple[str, ...]
    first: Step
    before: Step
    steps: int
    mended: bool


def bisect(git: Git, good: str, bad: str, ask: Ask, log: BisectLog, jobs: int, say: Callable[[str], None]) -> Found:
    """Find the first commit after good that is as bad is; raises UsageError if the ends are alike.

    check_ends(git, good, bad) has passed.
    """
    history = commits_between(git, good, bad)
    answers = _Answers(ask, log, say)
    steps = plural((len(history) - 1).bit_length(), "step")
    say(f"{plural(len(history), 'commit')}, about {steps} and the two ends")
    ends = answers.get((good, bad)) if jobs > 1 else [*answers.get((good,)), *answers.get((bad,))]
    for step, name in zip(ends, ("good", "bad"), strict=True):
        if step.judgement is Judgement.SKIP:
            raise UsageError(f"the {name} end {step.commit[:12]} gives no answer: {step.reason}", "give another")
    if ends[0].judgement is ends[1].judgement:
        raise UsageError(f"both ends are {ends[0].judgement}: {ends[0].reason}", "give ends that differ")
    mended = ends[0].judgement is Judgement.BAD
    different = ends[1].judgement
    search = Search(git, bad, {good})
    count = 0
    while commits := search.next(jobs):
        for step in answers.get(commits):
            count += 1
            skip = step.judgement is Judgement.SKIP
            search.learn(step.commit, None if skip else step.judgement is different)
    before = _before(git, search, log)
    return Found(search.suspects(), log.steps[search.bad], before, count, mended)


def _before(git: Git, search: Search, log: BisectLog) -> Step:
    """The good commit that is nearest to the first bad one."""
    (nearest, *_) = git("rev-list", "--no-walk", "--date-order", *sorted(search.good)).split()
    parents = git("rev-list", "--parents", "--max-count=1", search.bad).split()[1:]
    tested = [parent for parent in parents if parent in search.good]
    return log.steps[tested[0] if tested else nearest]


class _Answers:
    """The steps: from the log if they are in it, else taken."""

    def __init__(self, ask: Ask, log: BisectLog, say: Callable[[str], None]) -> None:
        self._ask = ask
        self._log = log
        self._say = say

    def get(self, commits: Sequence[str]) -> list[Step]:
        missing = [commit for commit in commits if commit not in self._log.steps]
        for commit in commits:
            if commit not in missing:
                self._say(f"from the log: {self._log.steps[commit].line()}")
        for step in self._ask(missing) if missing else ():
            self._log.add(step)
            self._say(step.line())
        return [self._log.steps[commit] for commit in commits]
