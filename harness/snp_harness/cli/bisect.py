# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness bisect` and `bisect-step`: grammar and what they do; see snp_harness/cli/main.py for the imports."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.cli.arguments import (
    name_argument,
    path_argument,
    positive_int,
    positive_seconds,
)
from snp_harness.cli.firmware import add_recipe_options
from snp_harness.cli.resources import create_run_directory
from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S, DEFAULT_UNTIL, PROGRAM, STAGES
from snp_harness.errors import EXIT_HOLDS, EXIT_INCONCLUSIVE, HarnessError, UsageError

if TYPE_CHECKING:
    from snp_harness.bisect.bisection import Found
    from snp_harness.bisect.step import Question, Step
    from snp_harness.cli.arguments import Commands
    from snp_harness.edk2.build import Builder
    from snp_harness.edk2.build_progress import BuildProgress
    from snp_harness.edk2.source import Repository

STEP = "bisect-step"
STEP_EPILOG = (
    "exit status: 0 good, 1 bad, 125 does not build or gives no answer, 128 and up: broken environment or bad usage"
)
EPILOG = "exit status: 0 found, 2 usage, 3 not certain, 128 and up: broken environment; the same command goes on"


def add_parser(commands: Commands) -> None:
    """Add `bisect` and `bisect-step` to the command line."""
    parser = commands.add_parser(
        "bisect",
        help="find the commit of edk2 that broke, or mended, the contract",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--good", metavar="A", required=True, type=name_argument, help="a commit before it")
    parser.add_argument("--bad", metavar="B", required=True, type=name_argument, help="a commit after it")
    _add_question(parser)
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=positive_int,
        default=1,
        help="steps at the same time, each with a work tree of its own; at most what the machine bears; default: 1",
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=path_argument,
        help="the log and the runs; default: a directory under runs/ that the question names, so that the same "
        "command goes on where it ended",
    )
    step = commands.add_parser(
        STEP, help="judge one commit of edk2, for `git bisect run`", epilog=STEP_EPILOG, allow_abbrev=False
    )
    step.add_argument("--commit", metavar="C", type=name_argument, help="default: the files as they are in --repo")
    _add_question(step)
    step.add_argument("--out", metavar="DIR", type=path_argument, help="the run directory; default: as for run")
    step.add_argument("--slot", metavar="N", type=int, default=0, help="of the workspace, for steps at the same time")
    step.add_argument("--json", action="store_true", help="the step as JSON on stdout, and status 0 for any answer")
    for one in (parser, step):
        one.add_argument("--quiet", action="store_true", help="no progress of the builds on stderr")


def _add_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repo", metavar="EDK2", type=path_argument, default=Path(), help="a clone of edk2, only read; default: here"
    )
    parser.add_argument("--rule", metavar="R", type=name_argument, help="judge by this rule alone; default: all")
    parser.add_argument("--svsm-config", metavar="C", type=name_argument, help="as for run")
    parser.add_argument("--platform", metavar="P", default=DEFAULT_PLATFORM, help="as for run; default: %(default)s")
    parser.add_argument("--until", choices=STAGES, default=DEFAULT_UNTIL, help="as for run; default: %(default)s")
    parser.add_argument("--vcpus", metavar="N", type=positive_int, default=1, help="default: %(default)s")
    parser.add_argument("--timeout", metavar="S", type=positive_seconds, default=DEFAULT_TIMEOUT_S, help="of a boot")
    parser.add_argument("--qemu", metavar="Q", type=path_argument, help="a QEMU, or the directory of an unpacked one")
    parser.add_argument("--series", metavar="FILE", type=path_argument, help="a patch series for every commit")
    add_recipe_options(parser, "--edk2-platform")


def execute(options: argparse.Namespace) -> int:
    """Do what the command line says; raises HarnessError."""
    return _step(options) if options.command == STEP else _bisect(options)


def _step(options: argparse.Namespace) -> int:
    from snp_harness.bisect.step import Judgement, as_environment
    from snp_harness.edk2.source_errors import SourceError

    try:
        step = _take(options)
    except SourceError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return Judgement.SKIP.exit_status
    except HarnessError as error:
        raise as_environment(error) from None
    if options.json:
        print(json.dumps(step.to_json()))
        return EXIT_HOLDS
    print(step.line())
    return step.judgement.exit_status


def _take(options: argparse.Namespace) -> Step:
    from snp_harness.bisect.step import Judgement, Step, take_step
    from snp_harness.edk2.build_progress import BuildProgress
    from snp_harness.edk2.recipe import PLATFORMS
    from snp_harness.edk2.series import load_series
    from snp_harness.edk2.source import Repository, directory_source
    from snp_harness.edk2.source_errors import SourceError

    question = _question(options)
    modules = PLATFORMS[options.build_platform].modules if options.build_platform in PLATFORMS else 0
    with BuildProgress(modules, quiet=options.quiet) as progress:
        builder = _builder(options, progress)
        patches = load_series(options.series) if options.series else ()
        commit, subject = options.commit or "work tree", ""
        try:
            if options.commit is None:
                source = directory_source(options.repo, progress.say)
            else:
                repository = Repository(options.repo)
                commit = repository.commit(options.commit)
                subject = repository.subject(commit)
                source = repository.source(commit)
            source = source.with_series(patches)
        except SourceError as error:
            return Step(commit, subject, Judgement.SKIP, str(error))
        return take_step(source, commit, subject, builder, question, create_run_directory(options))


def _question(options: argparse.Namespace) -> Question:
    from snp_harness.bisect.step import Question
    from snp_harness.platforms import find_platform
    from snp_harness.svsm.config import DEFAULT_CONFIG, load_config

    find_platform(options.platform)
    svsm = load_config(options.svsm_config or DEFAULT_CONFIG)
    return Question(options.platform, svsm, options.until, options.timeout, options.rule, options.vcpus, options.qemu)


def _builder(options: argparse.Namespace, progress: BuildProgress) -> Builder:
    from snp_harness.edk2.build import Builder
    from snp_harness.edk2.recipe import Recipe
    from snp_harness.edk2.tools import find_tools

    recipe = Recipe.of(options.build_platform, options.target, tuple(options.define))
    tools = find_tools(progress.say)
    # Slot 0 is for `firmware build`: what it builds in between would have to be built back for the next step.
    return Builder(recipe, tools, progress.say, progress.module, 1 + options.slot, options.build_jobs or 0)


def _bisect(options: argparse.Namespace) -> int:
    from snp_harness.bisect.bisection import bisect
    from snp_harness.bisect.jobs import StepProcesses, bearable
    from snp_harness.bisect.log import BisectLog
    from snp_harness.bisect.search import check_ends
    from snp_harness.edk2.source import Repository

    _question(options)
    repository = Repository(options.repo)
    good, bad = repository.commit(options.good), repository.commit(options.bad)
    check_ends(repository.git, good, bad)
    asked = _asked(options, good, bad)
    directory = (options.state or _default_state(asked)).absolute()
    jobs = bearable(options.jobs, _say)
    with BisectLog(directory, asked) as log:
        _say(f"log and runs: {directory}")
        ask = StepProcesses(_step_arguments(options), directory, jobs, quiet=options.quiet)
        found = bisect(repository.git, good, bad, ask, log, jobs, _say)
        _report(found, repository)
    return EXIT_HOLDS if len(found.suspects) == 1 else EXIT_INCONCLUSIVE


def _asked(options: argparse.Namespace, good: str, bad: str) -> dict[str, Any]:
    """All that an answer depends on; what a configuration's and a series' name stands for is part of it."""
    import hashlib

    from snp_harness.edk2.recipe import Recipe
    from snp_harness.edk2.series import load_series
    from snp_harness.svsm.config import DEFAULT_CONFIG, load_config

    recipe = Recipe.of(options.build_platform, options.target, tuple(options.define))
    patches = load_series(options.series) if options.series else ()
    return {
        "repo": str(options.repo.resolve()),
        "good": good,
        "bad": bad,
        "rule": options.rule,
        "svsm_config": repr(load_config(options.svsm_config or DEFAULT_CONFIG)),
        "platform": options.platform,
        "until": options.until,
        "vcpus": options.vcpus,
        "timeout": options.timeout,
        "qemu": None if options.qemu is None else str(options.qemu),
        "series": [[repr(patch.entry), hashlib.sha256(patch.content).hexdigest()] for patch in patches],
        "recipe": recipe.key,
    }


def _default_state(asked: dict[str, Any]) -> Path:
    import hashlib

    from snp_harness.vm.rundir import DEFAULT_PARENT, make_parent

    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    try:
        return make_parent(DEFAULT_PARENT.absolute()) / f"bisect-{name}"
    except OSError as error:
        raise UsageError(f"cannot make {DEFAULT_PARENT.absolute()}: {error.strerror}", "name a --state") from None


def _step_arguments(options: argparse.Namespace) -> list[str]:
    """The question, as options of bisect-step."""
    arguments = [f"--repo={options.repo.resolve()}", f"--platform={options.platform}", f"--until={options.until}"]
    arguments += [f"--vcpus={options.vcpus}", f"--timeout={options.timeout}", f"--target={options.target}"]
    arguments += [f"--edk2-platform={options.build_platform}", *(f"--define={text}" for text in options.define)]
    for name in ("rule", "svsm_config", "qemu", "series", "build_jobs"):
        value = getattr(options, name)
        if value is not None:
            arguments.append(f"--{name.replace('_', '-')}={value}")
    return arguments


def _report(found: Found, repository: Repository) -> None:
    from snp_harness.bisect.report import difference, load_timeline
    from snp_harness.report.text import escape

    what = "the contract holds from" if found.mended else "first bad commit:"
    if len(found.suspects) > 1:
        print(
            "the first bad commit is one of these; the others gave no answer:"
            if not found.mended
            else "the contract holds from one of these on; the others gave no answer:"
        )
        for commit in found.suspects:
            print(f"  {commit[:12]} {escape(repository.subject(commit))}")
    else:
        print(f"{what} {found.first.commit} {escape(found.first.subject)}")
    print(f"  before  {found.before.line()}")
    print(f"  after   {found.first.line()}")
    print(f"  steps   {found.steps}, and the two ends")
    before, after = load_timeline(found.before.directory), load_timeline(found.first.directory)
    if before is None or after is None:
        print("  the timelines are no longer there")
        return
    print("Difference of the timelines")
    lines = difference(before, after)
    for line in lines or ["none: the accesses are the same"]:
        print(f"  {line}")


def _say(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)
