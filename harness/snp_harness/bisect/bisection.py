# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness bisect`: finds the commit that broke the contract, or the one that fixed it.

Both ends are judged first: if one is not as assumed, no later answer is valid. Between them
`git bisect run` searches. A step without an answer is skipped; a broken environment ends the search without blaming a
commit, and the same command continues it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snp_harness.apic.rules.observation import plural
from snp_harness.bisect.log import BisectLog
from snp_harness.bisect.processes import StepFailedError, run_steps
from snp_harness.bisect.search import BREAK, FIX, Search
from snp_harness.bisect.step import Judgement, Step
from snp_harness.edk2.source import Repository
from snp_harness.errors import UsageError


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a bisection.

    suspects: the commit, or several if the others gave no answer, oldest first; the last one certainly differs.
    first: its answer. before: the answer of the latest commit that is judged as the older end. steps: how many commits
    were tested, without the two ends. skipped: the commits without an answer. fix: the commit is the first one
    for which the contract holds.
    """

    suspects: tuple[str, ...]
    first: Step
    before: Step
    steps: int
    skipped: tuple[Step, ...]
    fix: bool


@dataclass(frozen=True, slots=True)
class Bisection:
    """A search in a user's repository. step: the command that judges a commit, as a list of words; it gets --commit=C,
    or --worktree=W for the commit that BISECT_HEAD of a worktree names. log: open. say: called with lines for the user.
    """

    repository: Repository
    step: Sequence[str]
    log: BisectLog
    say: Callable[[str], None]

    def run(self, old: str, new: str, *, retry_skipped: bool = False) -> Found:
        """Find the first commit after old that is judged as new is. old is an ancestor of new.

        Raises UsageError if the ends have the same answer or one has none, StepFailedError in a broken environment.
        """
        count = len(self.repository.git("rev-list", new, "--not", old).split())
        steps = plural((count - 1).bit_length(), "step")
        self.say(f"{plural(count, 'commit')}, about {steps} and the two ends")
        first, last = self._judge_end(old), self._judge_end(new)
        if first.judgement is last.judgement:
            raise UsageError(f"both ends are {first.judgement}: {first.reason}", "name ends that differ")
        fix = first.judgement is Judgement.BAD
        if fix:
            self.say(f"{old[:12]} is bad and {new[:12]} good: searching for the commit that fixed it")
        store, state, terms = self.repository.store, self.log.directory, FIX if fix else BREAK
        with Search.open(store, state, (old, new), terms, retry_skipped=retry_skipped) as search:
            if search.answers():
                self.say(f"continuing after {plural(search.answers(), 'step')}")
            if not search.finished():
                argv = ["git", "bisect", "run", *self.step, f"--worktree={search.worktree}"]
                last_line = run_steps([*argv, *(["--find-fix"] if fix else [])], search.worktree, self._answer)
                if not search.finished():
                    raise StepFailedError(f"git bisect run ended without a result: {last_line}")
            return self._found(search, fix)

    def _judge_end(self, commit: str) -> Step:
        step = self.log.steps.get(commit)
        if step is None or step.judgement is Judgement.SKIP:
            self.log.steps.pop(commit, None)
            last_line = run_steps([*self.step, f"--commit={commit}"], self.log.directory, self._answer)
            step = self.log.steps.get(commit)
            if step is None:
                raise StepFailedError(f"the step of {commit[:12]} ended without an answer: {last_line}")
        if step.judgement is Judgement.SKIP:
            raise UsageError(f"the end {commit[:12]} has no answer: {step.reason}", "name another commit")
        return step

    def _answer(self, step: Step) -> None:
        self.log.add(step)
        self.say(step.line())

    def _found(self, search: Search, fix: bool) -> Found:
        new, good = search.bad(), search.good()
        edge = self.repository.git("rev-list", "--boundary", "--topo-order", new, "--not", *sorted(good)).splitlines()
        (nearest, *_) = self.repository.git("rev-list", "--no-walk", "--date-order", *sorted(good)).split()
        before = next((line[1:] for line in edge if line[1:] in good), nearest)
        judgements = (Judgement.GOOD, Judgement.BAD) if fix else (Judgement.BAD, Judgement.GOOD)
        return Found(
            search.suspects(),
            self._step(new, judgements[0]),
            self._step(before, judgements[1]),
            search.answers(),
            tuple(self._step(commit, Judgement.SKIP) for commit in sorted(search.skipped())),
            fix,
        )

    def _step(self, commit: str, judgement: Judgement) -> Step:
        """Return the step of a commit with an answer in git; the user may have given it by `git bisect` itself."""
        step = self.log.steps.get(commit)
        if step is not None and step.judgement is judgement:
            return step
        return Step(commit, self.repository.subject(commit), judgement, "not recorded here")
