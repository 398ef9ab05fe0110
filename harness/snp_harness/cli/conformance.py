# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness conformance`: run the conformance guest and print what its points found."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from snp_harness.cli.arguments import (
    add_boot_options,
    add_json_option,
    count,
    did_you_mean,
    name_argument,
    path_argument,
    positive_int,
    positive_seconds,
)
from snp_harness.cli.resources import create_run_directory, find_host, find_qemu, notify
from snp_harness.data import json_head
from snp_harness.defaults import DEFAULT_AGAIN

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands
    from snp_harness.conformance.guest_run import ConformanceResult
    from snp_harness.conformance.image import Fuzz

EPILOG = (
    "exit status: 0 all points passed or failed as known, 1 a new failure or a known one that passes, 2 usage,"
    " 3 inconclusive, 128 and up: environment"
)


def add_parser(commands: Commands) -> None:
    """Add `conformance` to the command line."""
    parser = commands.add_parser("conformance", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument(
        "--vcpus",
        metavar="N",
        type=positive_int,
        default=0,
        help="vCPUs of the guest; default: 2, or 1 if it cannot have several",
    )
    parser.add_argument(
        "--known", metavar="FILE", type=path_argument, help="the known failures of this SVSM: a file, or coconut-svsm"
    )
    parser.add_argument(
        "--skip",
        metavar="POINT",
        type=name_argument,
        action="append",
        default=[],
        help="do not run this point; with --fuzz, do not make call/PROTOCOL/NUMBER; may be repeated",
    )
    parser.add_argument(
        "--again",
        metavar="N",
        type=count,
        default=DEFAULT_AGAIN,
        help="how often to run again without a point that ended the run; default: %(default)s",
    )
    parser.add_argument(
        "--fuzz", metavar="S", type=positive_seconds, help="make random requests for S seconds instead of the points"
    )
    parser.add_argument("--seed", metavar="N", type=count, help="what --fuzz starts from; default: a random number")
    add_boot_options(parser)
    add_json_option(parser, "points")


def execute(options: argparse.Namespace) -> int:
    """Run the guest, print the report and return the exit status. Raises HarnessError."""
    from snp_harness.cli.progress import FuzzProgress, PointsProgress
    from snp_harness.conformance.guest_run import prepare_guest
    from snp_harness.conformance.known import NONE_KNOWN, load_known
    from snp_harness.conformance.series import run_mode, run_points

    known = NONE_KNOWN if options.known is None else load_known(options.known)
    fuzz = _fuzz(options)
    boot = prepare_guest(
        options.svsm_config,
        fuzz,
        igvm=options.igvm,
        platform=options.platform,
        vcpus=options.vcpus,
        qemu=find_qemu(options),
        host=find_host(options),
        timeout_s=options.timeout + (options.fuzz or 0),
        svsm_symbols=tuple(options.svsm_symbols),
    )
    configuration = boot.configuration or ""
    directory = create_run_directory(options)
    if fuzz is not None:
        with FuzzProgress(options.fuzz, quiet=options.quiet) as bar:
            result = run_mode(boot, fuzz, directory, bar.update, skip=options.skip)
    else:
        with PointsProgress(directory.path, quiet=options.quiet) as points:
            result = run_points(boot, directory, points.update, again=options.again, skip=options.skip, known=known)
        for text in unknown_points(options.skip, result):
            notify(text)
    replay = (
        ""
        if fuzz is None
        else " ".join([f"--fuzz {options.fuzz:g} --seed {fuzz.seed}", *(f"--skip {name}" for name in options.skip)])
    )
    if options.json:
        sys.stdout.write(json.dumps(to_json(result, configuration, replay), indent=2) + "\n")
    else:
        for line in render(result, configuration, replay):
            print(line)
    return result.exit_status


def _fuzz(options: argparse.Namespace) -> Fuzz | None:
    """Return the mode of --fuzz. Raises UsageError for options that do not belong together."""
    from snp_harness.conformance.image import Fuzz
    from snp_harness.errors import UsageError

    if options.fuzz is None:
        if options.seed is not None:
            raise UsageError("--seed without --fuzz has no meaning", "add --fuzz S")
        return None
    if options.known:
        raise UsageError("--known is about points", "leave it out with --fuzz")
    if wrong := [name for name in options.skip if not re.fullmatch("call/[0-9]/[0-9]", name)]:
        raise UsageError(f"{wrong[0]!a} is not a call", "name it call/PROTOCOL/NUMBER with --fuzz, such as call/0/1")
    seed = secrets.randbits(32) if options.seed is None else options.seed
    return Fuzz(seed, round(options.fuzz * 1000))


def render(result: ConformanceResult, configuration: str, replay: str = "") -> Iterator[str]:
    """Yield the lines of the report for a terminal. replay: the options that repeat the requests of a fuzz run."""
    from snp_harness.conformance.tap import PointStatus
    from snp_harness.report.text import escape

    yield result.verdict
    for point in result.not_passed:
        if result.known.explains(point) is None:
            yield ""
            yield f"not ok {point.number} - {escape(point.name)}"
            yield from (f"  {key}: {escape(value)}" for key, value in point.diagnostic)
    yield from _render_known(result)
    if result.tap.defects:
        yield ""
        yield "Not complete"
        yield from (f"  {escape(defect)}" for defect in result.tap.defects)
        yield f"  end of the run: {escape(result.ended)}"
    reasons: dict[str, int] = {}
    for point in result.of(PointStatus.SKIPPED):
        reasons[point.reason] = reasons.get(point.reason, 0) + 1
    if reasons:
        yield ""
        yield "Skipped"
        yield from (f"  {count:4}  {escape(reason)}" for reason, count in reasons.items())
    yield ""
    yield "Run"
    yield f"  configuration  {escape(configuration)}"
    yield f"  QEMU           {escape(result.run.qemu)}"
    if replay:
        counts = [note for note in result.tap.notes if note.startswith(("fuzz ", "survived "))]
        yield f"  requests       {escape(counts[-1]) if counts else 'not counted: less than a second'}"
        yield f"  the same again {escape(replay)}"
    yield f"  time           {result.run.seconds:.1f} s"
    yield f"  artefacts      {escape(str(result.run.directory))}"


def _render_known(result: ConformanceResult) -> Iterator[str]:
    """Yield the lines about known failures."""
    from snp_harness.conformance.tap import PointStatus
    from snp_harness.report.text import escape

    passes = [point for point in result.unexpected if point.status is PointStatus.PASSED]
    if passes:
        yield ""
        yield f"Passed, but known to fail: remove them from {escape(result.known.source)}"
        yield from (f"  {escape(point.name)}" for point in passes)
    explained = [point for point in result.not_passed if result.known.explains(point) is not None]
    if explained:
        yield ""
        yield "Known failures"
        for point in explained:
            yield f"  {escape(point.name)}: {result.known.by_name[point.name].reason}"


def unknown_points(skip: list[str], result: ConformanceResult) -> Iterator[str]:
    """Yield a warning for each name of --skip that no point has, if the guest has named all of them."""
    names = [point.name for point in result.tap.points]
    if not result.tap.defects:
        for name in skip:
            if name not in names:
                yield f"warning: --skip: no point is named {name!a}{did_you_mean(name, names)}"


def to_json(result: ConformanceResult, configuration: str, replay: str = "") -> dict[str, Any]:
    """Return the report as JSON values. replay: as for `render`."""
    from snp_harness.version import build

    return {
        **json_head("conformance"),
        "harness": build().version,
        "summary": result.verdict,
        "how": result.how,
        "configuration": configuration,
        "qemu": result.run.qemu,
        "directory": str(result.run.directory),
        "exit_status": result.exit_status,
        "plan": result.tap.plan,
        "complete": result.tap.complete,
        "defects": list(result.tap.defects),
        "ended": result.ended,
        "notes": list(result.tap.notes),
        "known": result.known.source,
        "replay": replay,
        "unexpected": [point.name for point in result.unexpected],
        "points": [
            {
                "number": point.number,
                "name": point.name,
                "status": point.status.value,
                "reason": point.reason,
                "diagnostic": dict(point.diagnostic),
            }
            for point in result.tap.points
        ],
    }
