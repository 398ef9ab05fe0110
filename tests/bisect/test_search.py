# SPDX-License-Identifier: GPL-2.0-or-later
"""The search, by git's own bisection in real repositories, with answers from a table."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snp_harness.bisect.bisection import Bisection, Found
from snp_harness.bisect.log import LOG, OWNER, BisectLog
from snp_harness.bisect.processes import StepFailedError
from snp_harness.bisect.search import BREAK, GIT_LOG, WORKTREE, Search, check_git, order_ends
from snp_harness.bisect.step import Judgement
from snp_harness.edk2.git import GitError
from snp_harness.edk2.source import Repository
from snp_harness.errors import UsageError
from tests.bisect.histories import COUNT, History, Oracle

#: Characters of a path that a shell would interpret.
NAME = 'it\'s a "$HOME" `id`; & *'


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    directory = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory / "cache"))
        yield History(directory / NAME)


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(tmp_path / NAME)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / f"state of {NAME}"


def answers(history: History, culprit: int, skipped: Collection[int] = (), *, fix: bool = False) -> dict[str, str]:
    """The answers where the commit of this number is the culprit."""
    names = ("bad", "good") if fix else ("good", "bad")
    return {
        commit: "skip" if number in skipped else names[number >= culprit]
        for number, commit in enumerate(history.commits)
    }


def search(
    history: History,
    oracle: Oracle,
    state: Path,
    ends: Sequence[str] = (),
    *,
    retry_skipped: bool = False,
) -> Found:
    old, new = ends or (history.commits[0], history.commits[-1])
    with BisectLog.open(state, {"question": 1}) as log:
        bisection = Bisection(history.repository, oracle.command, log, lambda _text: None)
        return bisection.run(old, new, retry_skipped=retry_skipped)


@pytest.mark.parametrize("culprit", [1, 2, 7, 10, 13, 19, COUNT])
def test_the_commit_is_found_in_log2_steps(history: History, oracle: Oracle, state: Path, culprit: int) -> None:
    before = history.state()
    oracle.answer(answers(history, culprit))
    found = search(history, oracle, state)
    assert found.suspects == (history.commits[culprit],)
    assert found.steps == len(oracle.asked) - 2 <= math.ceil(math.log2(COUNT))
    assert (found.first.commit, found.before.commit) == (history.commits[culprit], history.commits[culprit - 1])
    assert (found.fix, found.skipped) == (False, ())
    assert oracle.asked[:2] == [history.commits[0], history.commits[COUNT]]
    assert history.state() == before
    assert not (state / WORKTREE).exists()


def test_neighbours_need_no_step(history: History, oracle: Oracle, state: Path) -> None:
    oracle.answer(answers(history, 8))
    found = search(history, oracle, state, history.commits[7:9])
    assert (found.suspects, found.steps) == ((history.commits[8],), 0)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(culprit=st.integers(1, COUNT), skipped=st.sets(st.integers(1, COUNT - 1), max_size=8))
def test_a_commit_without_an_answer_is_never_blamed_alone(
    history: History, tmp_path_factory: pytest.TempPathFactory, culprit: int, skipped: set[int]
) -> None:
    directory = tmp_path_factory.mktemp("log")
    oracle = Oracle(directory / "oracle")
    oracle.answer(answers(history, culprit, skipped))
    found = search(history, oracle, directory / "state")
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
    assert found.before.commit == history.commits[before]
    assert {step.commit for step in found.skipped} == {c for c in oracle.asked if history.commits.index(c) in skipped}


@pytest.mark.parametrize("skipped", [(), (6, 8)])
def test_the_commit_that_fixed_it(history: History, oracle: Oracle, state: Path, skipped: Sequence[int]) -> None:
    oracle.answer(answers(history, 7, skipped, fix=True))
    found = search(history, oracle, state)
    assert found.fix
    assert found.suspects == tuple(history.commits[number] for number in ((6, 7) if skipped else (7,)))
    assert found.first.judgement is Judgement.GOOD
    assert found.before.judgement is Judgement.BAD
    assert "git bisect holds" in (state / GIT_LOG).read_text()
    # It is continued in the same terms.
    asked = oracle.asked
    assert search(history, oracle, state) == found
    assert oracle.asked == asked


def test_a_merge_is_bisected(history: History, oracle: Oracle, state: Path) -> None:
    side = [history.commit("side 0", history.commits[5])]
    for number in range(1, 4):
        side.append(history.commit(f"side {number}", side[-1]))
    merge = history.commit("merge", history.commits[10], side[-1])
    oracle.answer(dict.fromkeys(history.commits + side, "good") | dict.fromkeys((side[2], side[3], merge), "bad"))
    found = search(history, oracle, state, (history.commits[3], merge))
    assert (found.suspects, found.before.commit) == ((side[2],), side[1])


@pytest.mark.parametrize(
    ("culprit", "skipped", "message"),
    [
        (COUNT + 1, (), "both ends are good: reason"),
        (0, (), "both ends are bad: reason"),
        (3, (0,), "has no answer: reason"),
        (3, (COUNT,), "has no answer: reason"),
    ],
)
def test_ends_that_are_not_what_they_are_believed_to_be(
    history: History, oracle: Oracle, state: Path, culprit: int, skipped: Sequence[int], message: str
) -> None:
    oracle.answer(answers(history, culprit, skipped))
    with pytest.raises(UsageError, match=message):
        search(history, oracle, state)


def test_an_end_without_an_answer_is_judged_again(history: History, oracle: Oracle, state: Path) -> None:
    oracle.answer(answers(history, 3, (0,)))
    with pytest.raises(UsageError):
        search(history, oracle, state)
    oracle.answer(answers(history, 3))
    assert search(history, oracle, state).suspects == (history.commits[3],)
    assert oracle.asked.count(history.commits[0]) == 2


def test_ends_that_are_not_on_one_line(history: History) -> None:
    """The commits between would be judged nevertheless, and one of them blamed."""
    repository = history.repository
    good, bad = history.commits[9], history.commits[12]
    assert order_ends(repository, good, bad) == (good, bad)
    assert order_ends(repository, bad, good) == (good, bad)
    with pytest.raises(UsageError, match="are the same commit"):
        order_ends(repository, good, good)
    side = history.commit("fixed beside it", good)
    with pytest.raises(UsageError, match=f"an ancestor of the other: they part at {good[:12]}"):
        order_ends(repository, side, bad)
    with pytest.raises(UsageError, match="they are not related"):
        order_ends(repository, history.commit("another first one"), bad)
    merge = history.commit("merge", bad, side)
    assert order_ends(repository, side, merge) == (side, merge)


def test_a_broken_environment_ends_it_and_it_continues_there(history: History, oracle: Oracle, state: Path) -> None:
    table = answers(history, 13)
    oracle.answer(table | {history.commits[15]: "broken"})
    with pytest.raises(StepFailedError, match="QEMU is gone: install it, then repeat the command") as raised:
        search(history, oracle, state)
    assert raised.value.exit_status == 130
    assert not (state / WORKTREE).exists()
    asked = oracle.asked
    assert asked[-1] == history.commits[15]
    assert len(asked) == 4
    oracle.answer(table)
    assert search(history, oracle, state).suspects == (history.commits[13],)
    assert not set(asked[:3]) & set(oracle.asked[4:])


def test_a_killed_search_continues_from_what_git_knows(history: History, oracle: Oracle, state: Path) -> None:
    """Its worktree is still there, and has answers that the saved log lacks."""
    table = answers(history, 13)
    oracle.answer(table | {history.commits[15]: "broken"})
    with pytest.raises(StepFailedError):
        search(history, oracle, state)
    ends = (history.commits[0], history.commits[-1])
    killed = Search.open(history.repository.store, state, ends, BREAK, retry_skipped=False)
    worktree = killed.__enter__().worktree
    subprocess.run(["git", "bisect", "bad", history.commits[15]], cwd=worktree, check=True, capture_output=True)
    # Where the machine stopped, git's log is cut off.
    argv = ["git", "rev-parse", "--absolute-git-dir"]
    directory = subprocess.run(argv, cwd=worktree, check=True, capture_output=True, text=True).stdout.strip()
    with Path(directory, "BISECT_LOG").open("a") as log:
        log.write(f"git bisect good {history.commits[11]}"[:-7])
    oracle.answer(table)
    asked = len(oracle.asked)
    found = search(history, oracle, state)
    assert found.suspects == (history.commits[13],)
    assert history.commits[15] not in oracle.asked[asked:]
    assert oracle.asked[asked:]


def test_a_search_killed_at_its_start_keeps_its_log(history: History, oracle: Oracle, state: Path) -> None:
    """The answers that were not yet replayed are in the saved log alone."""
    oracle.answer(answers(history, 5))
    ends = (history.commits[0], history.commits[-1])
    killed = Search.open(history.repository.store, state, ends, BREAK, retry_skipped=False)
    state.mkdir()
    killed.__enter__()
    (state / GIT_LOG).write_text(f"git bisect good {history.commits[4]}\ngit bisect bad {history.commits[6]}\n")
    with Search.open(history.repository.store, state, ends, BREAK, retry_skipped=False) as search_again:
        assert search_again.suspects() == tuple(history.commits[5:7])


def test_a_search_that_is_over_answers_from_its_log(history: History, oracle: Oracle, state: Path) -> None:
    oracle.answer(answers(history, 5, (4,)))
    found = search(history, oracle, state)
    asked = oracle.asked
    assert search(history, oracle, state) == found
    # A torn line of the harness's log: git has the answer, the rest of the step is not known.
    log = state / LOG
    log.write_bytes(log.read_bytes()[:-20])
    assert search(history, oracle, state).suspects == found.suspects
    assert oracle.asked == asked
    assert log.read_bytes().endswith(b"\n")
    # The same without git's log: all but the ends is judged again.
    (state / GIT_LOG).unlink()
    assert search(history, oracle, state).suspects == found.suspects
    assert len(oracle.asked) == 2 * len(asked) - 2


def test_skipped_commits_are_in_gits_log_and_can_be_retried(history: History, oracle: Oracle, state: Path) -> None:
    oracle.answer(answers(history, 5, (4, 5)))
    found = search(history, oracle, state)
    assert found.suspects == tuple(history.commits[4:7])
    assert [step.reason for step in found.skipped] == ["reason"] * 2
    for step in found.skipped:
        assert f"git bisect skip {step.commit}" in (state / GIT_LOG).read_text()
    asked = len(oracle.asked)
    oracle.answer(answers(history, 5))
    assert search(history, oracle, state).suspects == found.suspects
    assert len(oracle.asked) == asked
    retried = search(history, oracle, state, retry_skipped=True)
    assert (retried.suspects, retried.skipped) == ((history.commits[5],), ())
    assert set(oracle.asked[asked:]) == set(history.commits[4:6])


def test_a_users_own_answers_are_gits_too(history: History, oracle: Oracle, state: Path) -> None:
    oracle.answer(answers(history, 13) | {history.commits[10]: "broken"})
    with pytest.raises(StepFailedError):
        search(history, oracle, state)
    with (state / GIT_LOG).open("a") as log:
        log.write(f"git bisect skip {history.commits[10]}\n")
    found = search(history, oracle, state)
    assert found.suspects == (history.commits[13],)
    assert [(step.commit, step.reason) for step in found.skipped] == [(history.commits[10], "not recorded here")]


def test_a_shallow_clone_is_bisected(history: History, oracle: Oracle, state: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    argv = ["git", "clone", "-q", "--depth=12", f"file://{history.directory.as_uri()[7:]}", str(clone)]
    subprocess.run(argv, check=True)
    shutil.copytree(history.directory / "OvmfPkg", clone / "OvmfPkg")
    oracle.answer(answers(history, 15))
    with BisectLog.open(state, {}) as log:
        bisection = Bisection(Repository(clone), oracle.command, log, lambda _text: None)
        assert bisection.run(history.commits[9], history.commits[20]).suspects == (history.commits[15],)


def test_a_log_of_another_question_is_refused(history: History, oracle: Oracle, state: Path) -> None:
    oracle.answer(answers(history, 5))
    search(history, oracle, state)
    with pytest.raises(UsageError, match="is not the log of this"), BisectLog.open(state, {"question": 2}):
        pass
    (state / LOG).write_text("something else\n")
    with pytest.raises(UsageError, match="is not the log of this"), BisectLog.open(state, {"question": 1}):
        pass


def test_a_directory_of_other_files_is_not_used(tmp_path: Path) -> None:
    other = tmp_path / "file"
    other.write_text("other")
    with pytest.raises(UsageError, match="holds other files"), BisectLog.open(tmp_path, {}):
        pass
    with pytest.raises(UsageError, match="is not a directory"), BisectLog.open(other, {}):
        pass
    assert list(tmp_path.iterdir()) == [other]


def test_two_bisections_do_not_share_a_directory(tmp_path: Path) -> None:
    with BisectLog.open(tmp_path, {}):
        with (
            pytest.raises(UsageError, match=f"is in use by process {os.getpid()} on .* since"),
            BisectLog.open(tmp_path, {}),
        ):
            pass
        (tmp_path / OWNER).unlink()
        with pytest.raises(UsageError, match="is in use by another bisection"), BisectLog.open(tmp_path, {}):
            pass


@pytest.mark.parametrize("version", ["2.30.2", "1.9", "?"])
def test_an_old_git_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    check_git()
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\necho git version {version}\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(GitError, match=r"is too old: install git 2\.39 or newer"):
        check_git()
