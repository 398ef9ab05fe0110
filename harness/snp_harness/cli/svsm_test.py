# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness svsm-test`: run an in-SVSM test image and print a result for each of its tests."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from snp_harness.cli.arguments import add_boot_options, add_json_option, path_argument, positive_int
from snp_harness.cli.resources import create_run_directory, find_host, find_qemu
from snp_harness.data import json_head

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands
    from snp_harness.svsm_test.image_run import ImageResult

EPILOG = "exit status: 0 all passed, 1 a test failed, 2 usage, 3 inconclusive, 128 and up: environment"
DEFAULT_TEST_S = 60.0
MAX_VCPUS = 8


def add_parser(commands: Commands) -> None:
    """Add `svsm-test` to the command line."""
    parser = commands.add_parser("svsm-test", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument(
        "file",
        metavar="FILE",
        type=path_argument,
        nargs="?",
        help="an IGVM file with tests, such as COCONUT's coconut-test-qemu.igvm; default: the reference SVSM's own",
    )
    parser.add_argument(
        "--vcpus", metavar="N", type=positive_int, default=1, help="vCPUs, 1 to 8; default: %(default)s"
    )
    parser.add_argument("--memory", metavar="MIB", type=positive_int, help="RAM of the guest in MiB")
    parser.add_argument("--tap", action="store_true", help="print TAP version 14 on stdout")
    add_boot_options(parser)
    add_json_option(parser, "results")
    parser.set_defaults(timeout=DEFAULT_TEST_S)


def execute(options: argparse.Namespace) -> int:
    """Run the image, print the results and return the exit status. Raises HarnessError."""
    from snp_harness.cli.progress import TestsProgress
    from snp_harness.errors import UsageError
    from snp_harness.svsm_test.image_boot import launch_digest, prepare_image
    from snp_harness.svsm_test.image_run import run_image
    from snp_harness.svsm_test.questions import Questions
    from snp_harness.vm import rundir

    if options.vcpus > MAX_VCPUS:
        raise UsageError(f"{options.vcpus} vCPUs are too many for a test image", f"use 1 to {MAX_VCPUS}")
    boot = prepare_image(
        options.file,
        options.svsm_config,
        platform=options.platform,
        vcpus=options.vcpus,
        memory_mib=options.memory,
        qemu=find_qemu(options),
        host=find_host(options),
        svsm_symbols=tuple(options.svsm_symbols),
    )
    name = "reference SVSM" if options.file is None else options.file.name
    directory = create_run_directory(options)
    with TestsProgress(quiet=options.quiet) as progress:
        questions = Questions(lambda: launch_digest(boot))
        result = run_image(boot, directory, name, options.timeout, progress.show, questions)
    if options.json:
        sys.stdout.write(json.dumps(to_json(result, name), indent=2) + "\n")
    elif options.tap:
        sys.stdout.write((result.run.directory / rundir.TAP_RESULTS).read_text(encoding="utf-8"))
    else:
        for line in render(result, name):
            print(line)
    return result.exit_status


def render(result: ImageResult, name: str) -> Iterator[str]:
    """Yield the lines of the report for a terminal."""
    from snp_harness.report.text import escape
    from snp_harness.svsm_test.lines import TestStatus

    yield result.verdict
    for failed in result.report.of(TestStatus.FAILED):
        yield ""
        yield f"failed: {escape(failed.name)}"
        yield f"  {escape(failed.reason)}"
        yield from (f"    {escape(line)}" for line in failed.output)
    for warned in result.report.results:
        for warning in warned.warnings:
            yield f"warning in {escape(warned.name)}: {escape(warning)}"
    if result.report.defects:
        yield ""
        yield "Not complete"
        yield from (f"  {escape(defect)}" for defect in result.report.defects)
    yield ""
    yield "Run"
    yield f"  image      {escape(name)}"
    yield f"  QEMU       {escape(result.run.qemu)}"
    yield f"  time       {result.run.seconds:.1f} s"
    yield f"  artefacts  {escape(str(result.run.directory))}"


def to_json(result: ImageResult, name: str) -> dict[str, Any]:
    """Return the report as JSON values."""
    from snp_harness.version import build

    return {
        **json_head("svsm-test"),
        "harness": build().version,
        "summary": result.verdict,
        "image": name,
        "exit_status": result.exit_status,
        "status": result.status,
        "qemu": result.run.qemu,
        "directory": str(result.run.directory),
        "plan": result.report.plan,
        "complete": not result.report.defects,
        "defects": list(result.report.defects),
        "tests": [
            {
                "name": test.name,
                "status": test.status.value,
                "reason": test.reason,
                "seconds": round(test.seconds, 3),
                "warnings": list(test.warnings),
                "output": list(test.output),
            }
            for test in result.report.results
        ],
    }
