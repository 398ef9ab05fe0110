# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness run`: boot a firmware and print the verdict."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import (
    EPILOG,
    SSH_GOAL,
    add_boot_options,
    add_guest_options,
    goal_argument,
    name_argument,
    path_argument,
)
from snp_harness.cli.linux import add_linux_options, find_launch, linux_boot, run_until_login
from snp_harness.cli.output import add_report_options, chosen_rules, load, write_report
from snp_harness.cli.resources import create_run_directory, find_host, find_qemu, notify
from snp_harness.defaults import CONSOLE_GOAL, DEFAULT_UNTIL, GOALS, PROGRAM
from snp_harness.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snp_harness.apic.access import Phase
    from snp_harness.cli.arguments import Commands
    from snp_harness.firmware_run import PreparedBoot
    from snp_harness.vm.rundir import RunDirectory


def add_parser(commands: Commands) -> None:
    """Add `run` to the command line."""
    parser = commands.add_parser(
        "run",
        usage=f"{PROGRAM} run [options] [FIRMWARE] [-- EXTRA QEMU ARGUMENTS]",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FIRMWARE", type=name_argument, nargs="?", help="the same as --firmware")
    add_guest_options(parser)
    parser.add_argument(
        "--until",
        metavar="GOAL",
        type=goal_argument,
        default=DEFAULT_UNTIL,
        help=f"{', '.join(GOALS)}, ssh or '{CONSOLE_GOAL}REGEX': end the run after this phase; rules of later phases"
        " are then not judged; default: %(default)s; os: when an operating system executes; exit: when the guest writes"
        " to isa-debug-exit; ssh: when the Linux guest is logged in to",
    )
    parser.add_argument(
        "--icount", action="store_true", help="count instructions: the same boot gives the same timeline"
    )
    parser.add_argument(
        "--as-if-active",
        action=argparse.BooleanOptionalAction,
        help="judge a run without Alternate Injection as if it were active; default: on platforms that have none",
    )
    parser.add_argument("--fail-fast", action="store_true", help="end the run as soon as what was seen breaks a rule")
    parser.add_argument(
        "--profile", action="store_true", help="count the #VMEXITs by kind, register and module; emulated only"
    )
    parser.add_argument(
        "--symbols",
        metavar="DIR",
        type=path_argument,
        action="append",
        default=[],
        help="where the firmware's debug files are (MODULE.debug), for source lines; may be repeated; default: those of"
        " its own build",
    )
    add_linux_options(parser)
    add_boot_options(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="print on stderr what is run, before it runs")
    add_report_options(parser)


def execute(options: argparse.Namespace) -> int:
    """Boot, print the report and return the exit status. Raises HarnessError."""
    from snp_harness.cli.progress import ProgressLine
    from snp_harness.firmware_run import prepare
    from snp_harness.recorded import load_activity, rerun
    from snp_harness.vm.rundir import variables

    if options.file is not None and any(text.partition("=")[0] == "--firmware" for text in options.arguments):
        raise UsageError(f"two firmwares are named: {options.file!a} and --firmware", "name one of them")
    host, launch = find_host(options), find_launch(options)
    if options.until == SSH_GOAL and launch is None:
        raise UsageError("only a Linux guest can be logged in to", "add --guest linux")
    boot = prepare(
        options.file or options.firmware,
        options.platform,
        notify=notify,
        **linux_boot(options, launch, host),
        igvm=options.igvm,
        vcpus=options.vcpus,
        until=DEFAULT_UNTIL if options.until == SSH_GOAL else options.until,
        timeout_s=options.timeout,
        svsm_symbols=tuple(options.svsm_symbols),
        symbols=tuple(options.symbols),
        qemu=find_qemu(options),
        icount=options.icount,
        as_if_active=options.as_if_active,
        rules=chosen_rules(options),
        fail_fast=options.fail_fast,
        host=host,
    )
    if options.profile:
        from snp_harness.cli import profile

        boot = profile.with_profile(boot)
    directory = create_run_directory(options)
    if launch is not None:
        launch.write(directory)
    if options.verbose:
        for line in _choices(boot, directory, options):
            notify(line)
    with ProgressLine(quiet=options.quiet) as progress:

        def update(phase: Phase, accesses: int, exits: int | None) -> None:
            # First called when QEMU has started: what shows the verdict is loaded while it boots.
            load(options)
            progress.update(phase, accesses, exits)

        if options.until == SSH_GOAL and launch is not None:
            result = run_until_login(boot, launch, directory)
            load(options)
        else:
            quiet = options.quiet or options.fail_fast
            result = boot.run(directory, update, None if quiet else progress.broken)
    from snp_harness.report.model import Report, RunInfo

    info = RunInfo(
        firmware=str(boot.spec.image.path),
        configuration=boot.configuration,
        qemu=result.qemu,
        directory=result.directory,
        rerun=rerun(options.arguments, variables()),
        elapsed_s=result.seconds,
        error=None if result.error is None else result.error.message,
        notes=(*result.notes, *options.settings),
    )
    error = result.error
    exits = None
    if options.profile:
        try:
            exits = profile.write(directory, boot.spec)
        except HarnessError as missing:
            error = error or missing
    report = Report(
        result.verdict, result.timeline, info, exits, result.sources, lambda: load_activity(result.directory)
    )
    write_report(report, options)
    if error is not None:
        raise error
    return result.exit_status


def _choices(boot: PreparedBoot, directory: RunDirectory, options: argparse.Namespace) -> Iterator[str]:
    """Yield what was chosen, by the command line, by files of options, or by default."""
    from snp_harness.version import build

    spec = boot.spec
    yield f"version {build().version}"
    yield from options.settings
    yield f"platform {boot.platform.name} on {spec.host.name}, configuration {boot.configuration or 'none'}"
    yield f"firmware {spec.image.path}, {spec.image.size >> 10} KiB, {spec.vcpus} vCPUs, {spec.memory >> 20} MiB of RAM"
    yield f"QEMU {spec.qemu or 'as found by the host'}, until {options.until}, at most {spec.timeout_s:g} s"
    yield f"run directory {directory.path}"
