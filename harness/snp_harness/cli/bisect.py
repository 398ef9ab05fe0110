# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness bisect` and `bisect-step`: their options and their execution; cli/main.py explains the late imports."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snp_harness.cli.arguments import add_timeout_option, name_argument, path_argument, positive_int
from snp_harness.cli.firmware import add_recipe_options, recipe_of
from snp_harness.cli.resources import create_run_directory, notify
from snp_harness.data import json_head
from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_UNTIL, PROGRAM, STAGES
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, EXIT_INCONCLUSIVE, HarnessError, UsageError

if TYPE_CHECKING:
    from snp_harness.bisect.step import Question, Step
    from snp_harness.cli.arguments import Commands

STEP = "bisect-step"
STEP_EPILOG = (
    "exit status: 0 good, 1 bad, 125 does not build or has no answer, 128 and up: broken environment or bad usage"
)
EPILOG = "exit status: 0 found, 2 usage, 3 not certain, 128 and up: broken environment; the same command continues"


def add_parser(commands: Commands) -> None:
    """Add `bisect` and `bisect-step` to the command line."""
    parser = commands.add_parser("bisect", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument(
        "--good", metavar="A", required=True, type=name_argument, help="a commit where the contract holds"
    )
    parser.add_argument("--bad", metavar="B", required=True, type=name_argument, help="a commit where it is violated")
    _add_question(parser)
    parser.add_argument("--retry-skipped", action="store_true", help="test the commits again that were skipped")
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=path_argument,
        help="the logs and the runs; default: a directory under runs/ that belongs to the question, so that the same "
        "command continues where it ended",
    )
    step = commands.add_parser(STEP, epilog=STEP_EPILOG, allow_abbrev=False)
    step.add_argument(
        "--commit", metavar="C", type=name_argument, help="the commit to judge; default: the files in --repo"
    )
    _add_question(step)
    step.add_argument("--out", metavar="DIR", type=path_argument, help="the run directory; default: as for run")
    step.add_argument("--find-fix", action="store_true", help="exit status 0 for bad and 1 for good")
    step.add_argument("--json", action="store_true", help="the step, or the error, as JSON on stdout")
    # Options that `bisect` adds: the worktree whose BISECT_HEAD names the commit, the directory of the runs, and those
    # of processes.join.
    step.add_argument("--worktree", type=path_argument, help=argparse.SUPPRESS)
    step.add_argument("--runs", type=path_argument, help=argparse.SUPPRESS)
    step.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    step.add_argument("--messages", type=int, default=2, help=argparse.SUPPRESS)
    for one in (parser, step):
        one.add_argument("--quiet", action="store_true", help="no progress of the builds on stderr")


def _add_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repo", metavar="EDK2", type=path_argument, default=Path(), help="a clone of edk2, only read; default: here"
    )
    parser.add_argument(
        "--rule",
        metavar="R",
        type=name_argument,
        help="a rule of the contract, reached:STAGE or no-crash; default: the contract",
    )
    parser.add_argument("--svsm-config", metavar="C", type=name_argument, help="as for run")
    parser.add_argument("--platform", metavar="P", default=DEFAULT_PLATFORM, help="as for run; default: %(default)s")
    parser.add_argument("--until", choices=STAGES, default=DEFAULT_UNTIL, help="as for run; default: %(default)s")
    parser.add_argument(
        "--vcpus", metavar="N", type=positive_int, default=1, help="vCPUs of the guest; default: %(default)s"
    )
    add_timeout_option(parser, "seconds of a boot")
    parser.add_argument("--qemu", metavar="Q", type=name_argument, help="as for run")
    parser.add_argument("--series", metavar="FILE", type=path_argument, help="a patch series for every commit")
    add_recipe_options(parser, "--edk2-platform")


def execute(options: argparse.Namespace) -> int:
    """Run `bisect` or `bisect-step`; returns the exit status. Raises HarnessError."""
    return _step(options) if options.command == STEP else _bisect(options)


def _step(options: argparse.Namespace) -> int:
    from snp_harness.bisect.processes import join
    from snp_harness.bisect.step import as_environment

    if options.parent is not None:
        join(options.parent, options.messages)
    try:
        step = _take(options)
    except HarnessError as error:
        as_environment(error)
        if not options.json:
            raise
        return _print_error(error.message, error.hint, error.exit_status)
    except KeyboardInterrupt as end:
        if not options.json:
            raise
        return _print_error("interrupted", "", getattr(end, "exit_status", EXIT_ENVIRONMENT + signal.SIGINT))
    print(json.dumps(step.to_json()) if options.json else step.line())
    return step.judgement.exit_status(find_fix=options.find_fix)


def _print_error(message: str, hint: str, status: int) -> int:
    print(json.dumps(json_head("bisect-step") | {"error": message, "hint": hint, "exit_status": status}))
    return status


def _take(options: argparse.Namespace) -> Step:
    """Judge a commit. Errors that need no download and no build are reported before them."""
    from snp_harness.bisect.search import bisect_head
    from snp_harness.bisect.step import Judgement, Step, check_platform, take_step
    from snp_harness.cli.progress import BuildProgress
    from snp_harness.edk2.build import Builder
    from snp_harness.edk2.series import load_series
    from snp_harness.edk2.source import Repository, directory_source
    from snp_harness.edk2.source_errors import SourceError
    from snp_harness.edk2.tools import find_tools

    question = _question(options)
    recipe = recipe_of(options)
    patches = load_series(options.series) if options.series else ()
    commit = bisect_head(options.worktree) if options.worktree else options.commit
    repository = None if commit is None else Repository(options.repo)
    question = _with_qemu(question, options.qemu)
    check_platform(question)
    name, subject = "work tree", ""
    with BuildProgress(recipe.platform.modules, quiet=options.quiet) as progress:
        try:
            if repository is None:
                source = directory_source(options.repo, progress)
            else:
                name = repository.commit(commit)
                subject = repository.subject(name)
                source = repository.source(name)
            source = source.with_series(patches)
        except SourceError as error:
            return Step(name, subject, Judgement.SKIP, str(error))
        tools = find_tools(progress, recipe.toolchain)
        # Slot 0 is for `firmware build`, whose builds would cost the next step a rebuild.
        builder = Builder(recipe, tools, progress, progress.module, 1, options.build_jobs or 0)
        if options.runs:
            options.out = options.runs / name[:12]
        return take_step(source, name, subject, builder, question, create_run_directory(options))


def _question(options: argparse.Namespace) -> Question:
    from snp_harness.bisect.step import Question
    from snp_harness.platforms import find_platform
    from snp_harness.svsm.config_files import DEFAULT_CONFIG, load_config

    find_platform(options.platform)
    svsm = load_config(options.svsm_config or DEFAULT_CONFIG)
    return Question(options.platform, svsm, options.until, options.timeout, options.rule, options.vcpus)


def _with_qemu(question: Question, spec: str | None) -> Question:
    """Return the question with the QEMU that --qemu names, which is fetched if it is a suite's and not in the cache."""
    from dataclasses import replace

    from snp_harness.debian.qemu_bundle import named_qemu

    return question if spec is None else replace(question, qemu=named_qemu(spec, notify) or Path(spec).expanduser())


def _bisect(options: argparse.Namespace) -> int:
    from snp_harness.bisect.bisection import Bisection
    from snp_harness.bisect.log import BisectLog
    from snp_harness.bisect.report import report_lines
    from snp_harness.bisect.search import check_git, order_ends
    from snp_harness.bisect.step import check_platform
    from snp_harness.edk2.source import Repository
    from snp_harness.edk2.tools import find_tools

    question = _question(options)
    check_git()
    repository = Repository(options.repo)
    good, bad = repository.commit(options.good), repository.commit(options.bad)
    old, new = order_ends(repository, good, bad)
    asked = _asked(options, good, bad)
    question = _with_qemu(question, options.qemu)
    check_platform(question)
    directory = (options.state or _default_state(asked)).absolute()
    with BisectLog.open(directory, asked) as log:
        _say(f"logs and runs: {directory}")
        find_tools(_say, options.toolchain)
        bisection = Bisection(repository, step_command(options, directory), log, _say)
        found = bisection.run(old, new, retry_skipped=options.retry_skipped)
        for line in report_lines(found, repository):
            print(line)
    return EXIT_HOLDS if len(found.suspects) == 1 else EXIT_INCONCLUSIVE


def _asked(options: argparse.Namespace, good: str, bad: str) -> dict[str, Any]:
    """Return everything that an answer depends on, with the contents of configuration and series, not their names."""
    import hashlib

    from snp_harness.edk2.series import load_series
    from snp_harness.svsm.config_files import DEFAULT_CONFIG, load_config

    recipe = recipe_of(options)
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
        "qemu": options.qemu,
        "series": [[repr(patch.entry), hashlib.sha256(patch.content).hexdigest()] for patch in patches],
        "recipe": recipe.key,
    }


def _default_state(asked: dict[str, Any]) -> Path:
    import hashlib

    from snp_harness.vm.run_parent import DEFAULT_PARENT, make_parent

    name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    try:
        return make_parent(DEFAULT_PARENT.absolute()) / f"bisect-{name}"
    except OSError as error:
        raise UsageError(f"cannot make {DEFAULT_PARENT.absolute()}: {error.strerror}", "name a --state") from None


def step_command(options: argparse.Namespace, directory: Path) -> list[str]:
    """Return the command `bisect-step` for the question, as a list of words. directory: of the runs."""
    command = [sys.executable, "-m", "snp_harness", STEP, "--json", f"--runs={directory}"]
    command += [f"--repo={options.repo.resolve()}", f"--platform={options.platform}", f"--until={options.until}"]
    command += [f"--vcpus={options.vcpus}", f"--timeout={options.timeout}", f"--target={options.target}"]
    command += [f"--edk2-platform={options.build_platform}", f"--toolchain={options.toolchain}"]
    command += [*(f"--define={text}" for text in options.define)]
    for name in ("rule", "svsm_config", "qemu", "series", "build_jobs"):
        value = getattr(options, name)
        if value is not None:
            command.append(f"--{name.replace('_', '-')}={value}")
    return [*command, *(["--quiet"] if options.quiet else [])]


def _say(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)
