# SPDX-License-Identifier: GPL-2.0-or-later
"""The search, on histories of a real git, with answers that are made up."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snp_harness.bisect.bisection import Ask, Found, bisect
from snp_harness.bisect.log import LOG, BisectLog
from snp_harness.bisect.search import Search, check_ends
from snp_harness.bisect.step import Judgement, Step
from snp_harness.errors import BrokenEnvironmentError, UsageError

COUNT = 20


class History:
    """A repository of empty commits. commits: the main line, oldest first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self("init", "-q")
        self.tree = self("hash-object", "-t", "tree", "-w", os.devnull)
        self.commits = [self.commit("first")]
        for number in range(1, COUNT + 1):
            self.commits.append(self.commit(f"change {number}", self.commits[-1]))

    def __call__(self, *arguments: str) -> str:
        names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull}
        done = subprocess.run(
            ["git", *arguments], cwd=self.directory, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, message: str, *parents: str) -> str:
        arguments = [argument for parent in parents for argument in ("-p", parent)]
        return self("commit-tree", self.tree, *arguments, "-m", message)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(tmp_path_factory.mktemp("history") / "repository")


def step(commit: str, judgement: Judgement) -> Step:
    return Step(commit, "subject", judgement, "reason", 1.0, 0.5, "complete")


class Oracle:
    """Answers by the number of the culprit. skipped: numbers without an answer. asked: what it was asked."""

    def __init__(self, history: History, culprit: int, skipped: Sequence[int] = (), *, mended: bool = False) -> None:
        self.numbers = {commit: number for number, commit in enumerate(history.commits)}
        self.culprit = culprit
        self.skipped = skipped
        self.names = [Judgement.GOOD, Judgement.BAD][:: -1 if mended else 1]
        self.asked: list[list[int]] = []

    def __call__(self, commits: Sequence[str]) -> list[Step]:
        numbers = [self.numbers[commit] for commit in commits]
        self.asked.append(numbers)
        return [
            step(commit, Judgement.SKIP if number in self.skipped else self.names[number >= self.culprit])
            for commit, number in zip(commits, numbers, strict=True)
        ]


def search(history: History, ask: Ask, directory: Path, jobs: int = 1) -> Found:
    with BisectLog(directory, {"question": 1}) as log:
        return bisect(history, history.commits[0], history.commits[-1], ask, log, jobs, lambda _text: None)


@pytest.mark.parametrize("culprit", range(1, COUNT + 1))
def test_each_commit_is_found_in_log2_steps(history: History, tmp_path: Path, culprit: int) -> None:
    oracle = Oracle(history, culprit)
    found = search(history, oracle, tmp_path)
    assert found.suspects == (history.commits[culprit],)
    assert found.steps <= math.ceil(math.log2(COUNT))
    assert (found.before.commit, found.mended) == (history.commits[culprit - 1], False)
    assert oracle.asked[:2] == [[0], [COUNT]]


@pytest.mark.parametrize("jobs", [2, 3, 7])
def test_steps_at_the_same_time_are_all_of_use(history: History, tmp_path: Path, jobs: int) -> None:
    rounds = []
    for culprit in range(1, COUNT + 1):
        oracle = Oracle(history, culprit)
        assert search(history, oracle, tmp_path / str(culprit), jobs).suspects == (history.commits[culprit],)
        assert all(len(commits) <= max(jobs, 2) and len(set(commits)) == len(commits) for commits in oracle.asked)
        rounds.append(len(oracle.asked) - 1)
    assert max(rounds) <= math.ceil(math.log(COUNT, 2) / math.floor(math.log2(jobs + 1))) + 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(culprit=st.integers(1, COUNT), skipped=st.sets(st.integers(1, COUNT - 1), max_size=12), jobs=st.integers(1, 3))
def test_what_gives_no_answer_is_never_blamed_alone(
    history: History, tmp_path_factory: pytest.TempPathFactory, culprit: int, skipped: set[int], jobs: int
) -> None:
    found = search(history, Oracle(history, culprit, sorted(skipped)), tmp_path_factory.mktemp("log"), jobs)
    suspects = {history.commits.index(commit) for commit in found.suspects}
    assert culprit in suspects
    assert suspects - skipped == {max(suspects)}
    first = culprit
    while first in skipped:
        first += 1
    before = culprit - 1
    while before in skipped:
        before -= 1
    assert suspects == set(range(before + 1, first + 1))
    assert sorted(found.suspects, key=history.commits.index) == list(found.suspects)


def test_the_commit_that_mended_it(history: History, tmp_path: Path) -> None:
    found = search(history, Oracle(history, 7, mended=True), tmp_path)
    assert (found.suspects, found.mended) == ((history.commits[7],), True)


def test_a_merge_is_bisected_as_git_does(history: History, tmp_path: Path) -> None:
    side = [history.commit("side 0", history.commits[5])]
    for number in range(1, 4):
        side.append(history.commit(f"side {number}", side[-1]))
    merge = history.commit("merge", history.commits[10], side[-1])
    bad = {side[2], side[3], merge}

    def ask(commits: Sequence[str]) -> list[Step]:
        return [step(commit, Judgement.BAD if commit in bad else Judgement.GOOD) for commit in commits]

    with BisectLog(tmp_path, {}) as log:
        found = bisect(history, history.commits[3], merge, ask, log, 1, lambda _text: None)
    assert (found.suspects, found.before.commit) == ((side[2],), side[1])


@pytest.mark.parametrize(
    ("culprit", "skipped", "message"),
    [
        (COUNT + 1, (), "both ends are good"),
        (0, (), "both ends are bad"),
        (3, (0,), "the good end"),
        (3, (COUNT,), "the bad"),
    ],
)
def test_ends_that_are_not_what_they_were_taken_for(
    history: History, tmp_path: Path, culprit: int, skipped: Sequence[int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        search(history, Oracle(history, culprit, skipped), tmp_path)


def test_ends_that_do_not_follow_each_other(history: History) -> None:
    """The commits between would be judged all the same, and one of them blamed."""
    good, bad = history.commits[9], history.commits[12]
    check_ends(history, good, bad)
    with pytest.raises(UsageError, match="are the same commit"):
        check_ends(history, good, good)
    with pytest.raises(UsageError, match=f"comes before --good {bad[:12]}: exchange them"):
        check_ends(history, bad, good)
    side = history.commit("mended beside it", good)
    with pytest.raises(UsageError, match=f"does not come after --good {side[:12]}: they part at {good[:12]}"):
        check_ends(history, side, bad)
    with pytest.raises(UsageError, match="if they are related at all"):
        check_ends(history, history.commit("another first one"), bad)
    merge = history.commit("merge", bad, side)
    check_ends(history, side, merge)


def test_it_goes_on_where_a_broken_environment_ended_it(history: History, tmp_path: Path) -> None:
    oracle = Oracle(history, 13)
    calls = 0

    def breaks(commits: Sequence[str]) -> Sequence[Step]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise BrokenEnvironmentError("QEMU is gone")
        return oracle(commits)

    with pytest.raises(BrokenEnvironmentError):
        search(history, breaks, tmp_path)
    asked = list(oracle.asked)
    assert len(asked) == 3
    assert search(history, oracle, tmp_path).suspects == (history.commits[13],)
    assert all(commits not in asked for commits in oracle.asked[3:])


def test_a_torn_line_of_the_log_is_asked_again(history: History, tmp_path: Path) -> None:
    search(history, Oracle(history, 5), tmp_path)
    log = tmp_path / LOG
    log.write_bytes(log.read_bytes()[:-20])
    oracle = Oracle(history, 5)
    assert search(history, oracle, tmp_path).suspects == (history.commits[5],)
    assert len(oracle.asked) == 1
    assert log.read_bytes().endswith(b"\n")


def test_a_log_of_another_question_is_refused(history: History, tmp_path: Path) -> None:
    search(history, Oracle(history, 5), tmp_path)
    with pytest.raises(UsageError, match="of another bisection"), BisectLog(tmp_path, {"question": 2}):
        pass
    (tmp_path / LOG).write_text("something else\n")
    with pytest.raises(UsageError, match="is no log"), BisectLog(tmp_path, {"question": 1}):
        pass


def test_a_directory_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "file"
    theirs.write_text("theirs")
    with pytest.raises(UsageError, match="holds other files"), BisectLog(tmp_path, {}):
        pass
    with pytest.raises(UsageError, match="is no directory"), BisectLog(theirs, {}):
        pass
    assert list(tmp_path.iterdir()) == [theirs]


def test_two_bisections_do_not_share_a_log(tmp_path: Path) -> None:
    with BisectLog(tmp_path, {}), pytest.raises(UsageError, match="another bisection works"), BisectLog(tmp_path, {}):
        pass


def test_answers_about_what_no_longer_matters_are_let_go(history: History) -> None:
    search = Search(history, history.commits[10], {history.commits[0]})
    search.learn(history.commits[4], True)
    search.learn(history.commits[7], False)
    search.learn(history.commits[6], True)
    assert (search.bad, search.good) == (history.commits[4], {history.commits[0]})
