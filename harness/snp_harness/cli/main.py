# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command.

Exit status: 0 the contract holds, 1 violated, 2 usage or bad input, 3 inconclusive, 128 and up a broken environment.

Nothing but the standard library is imported here: each sub-command imports what it needs when it is called, because the
time from the start of the command to the verdict is one of the project's aims (docs/dependencies.md: measurements).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TextIO

from snp_harness.cli.arguments import build_parser, split_extra
from snp_harness.defaults import PROGRAM
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, HarnessError, UsageError

if TYPE_CHECKING:
    from snp_harness.apic.access import Phase
    from snp_harness.firmware_run import PreparedBoot, RunResult
    from snp_harness.hosts.host import Host
    from snp_harness.vm.rundir import RunDirectory

#: 128 + the signal's number, as shells have it.
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE
#: Signals that end a run as Ctrl-C does.
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
#: The machine's limits, as against an error of the harness.
RESOURCES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
#: Start of a name that stands for a package of a Debian suite.
DEBIAN = "debian:"
#: What `fetch` gets when nothing is named.
DEFAULT_SUITE = "trixie"


class Terminated(KeyboardInterrupt):
    """A signal arrived: ends the run as Ctrl-C does, so that QEMU is stopped and the partial timeline kept."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.exit_status = 128 + number


def _run(options: argparse.Namespace) -> int:
    from snp_harness.cli.progress import ProgressLine
    from snp_harness.firmware_run import prepare
    from snp_harness.svsm.config import DEFAULT_CONFIG
    from snp_harness.vm.rundir import RunDirectory

    configuration = options.svsm_config or DEFAULT_CONFIG
    boot = prepare(
        options.firmware,
        options.platform,
        configuration,
        _say,
        vcpus=options.vcpus,
        memory_mib=options.memory,
        until=options.until,
        timeout_s=options.timeout,
        qemu=_qemu(options.qemu, options.host),
        extra_args=options.extra,
        icount=options.icount,
        host=_host(options),
    )
    options.run_directory = options.cleanup.enter_context(RunDirectory.create(options.out, options.platform))
    with ProgressLine(quiet=options.quiet) as progress:

        def update(phase: Phase, accesses: int, exits: int | None) -> None:
            # First called when QEMU has started: what shows the verdict is loaded while it boots.
            from snp_harness.report import terminal

            terminal.load(sys.stdout)
            progress.update(phase, accesses, exits)

        result = boot.run(options.run_directory, update)
    _show(result, boot, configuration if boot.platform.configurable else None, options)
    if result.error is not None:
        raise result.error
    return result.exit_status


def _show(result: RunResult, boot: PreparedBoot, configuration: str | None, options: argparse.Namespace) -> None:
    """Prints the report of a run."""
    from snp_harness.report import json_report, terminal
    from snp_harness.report.model import Report, RunInfo

    info = RunInfo(
        firmware=str(boot.spec.image.path),
        configuration=configuration,
        qemu=result.qemu,
        directory=result.directory,
        rerun=(PROGRAM, *options.arguments),
        elapsed_s=result.seconds,
    )
    report = Report(result.verdict, result.timeline, info)
    if options.json:
        sys.stdout.write(json_report.render(report))
    else:
        terminal.print_report(report, sys.stdout)
    sys.stdout.flush()


def _host(options: argparse.Namespace, *, lock: bool = True) -> Host | None:
    """Where --host says that QEMU runs; None for this machine. It is closed when the command ends.

    lock: it is to be ours alone as long.
    """
    if options.host is None:
        return None
    from snp_harness.hosts.inventory import find_host

    host = find_host(options.host, inventory=options.hosts, wait_s=options.host_wait, lock=lock)
    options.cleanup.callback(host.close)
    return host


def _qemu(spec: str | None, host: str | None = None) -> Path | None:
    """The QEMU that --qemu names: a path, or debian:SUITE for one that is fetched, or fetched now.

    host: where a path is one of.
    """
    if spec is not None and host is not None:
        if spec.startswith(DEBIAN):
            raise UsageError(f"--qemu {spec} is of this machine, not of {host}", "give a path of the host's")
        return Path(spec)
    if spec is None or not spec.startswith(DEBIAN):
        return None if spec is None else Path(spec).expanduser()
    from snp_harness.debian.qemu_bundle import qemu_bundle

    return qemu_bundle(spec.removeprefix(DEBIAN), _say).directory


def _say(text: str) -> None:
    """What a download tells the user."""
    with contextlib.suppress(OSError):
        print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


def _doctor(options: argparse.Namespace) -> int:
    from snp_harness.cli.doctor import examine, render_json, render_text

    # Who only looks disturbs nobody.
    sections = examine(_qemu(options.qemu, options.host), _host(options, lock=False))
    print(render_json(sections) if options.json else render_text(sections))
    return EXIT_HOLDS


def _fetch(options: argparse.Namespace) -> int:
    from snp_harness.debian.firmware import fetch_firmware
    from snp_harness.debian.qemu_bundle import fetch_qemu
    from snp_harness.tools.kvm_host.host_image import fetch_image

    for spec in options.specs or (DEFAULT_SUITE,):
        if options.kind == "qemu":
            print(fetch_qemu(spec.removeprefix(DEBIAN), _say).directory)
        elif options.kind == "nested":
            print(fetch_image(spec.removeprefix(DEBIAN), _say).directory)
        else:
            print(fetch_firmware(spec, _say))
    return EXIT_HOLDS


def _conformance(options: argparse.Namespace) -> int:
    from snp_harness.conformance.guest_run import command

    return command(options, _qemu(options.qemu, options.host), _host(options))


def _timeline(options: argparse.Namespace) -> int:
    from snp_harness.apic.timeline import Timeline, bounded_lines

    path: Path = options.directory
    if path.is_dir():
        path = path / "timeline.jsonl"
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            timeline = Timeline.from_jsonl(bounded_lines(stream), str(path))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "give a run directory or its timeline.jsonl"
        ) from None
    if options.json:
        sys.stdout.writelines(timeline.lines())
        return EXIT_HOLDS
    from snp_harness.report.terminal import render_timeline

    for line in render_timeline(timeline):
        print(line)
    return EXIT_HOLDS


def _firmware(options: argparse.Namespace) -> int:
    from snp_harness.cli.firmware import execute

    return execute(options)


def _igvm(options: argparse.Namespace) -> int:
    from snp_harness.cli.igvm import execute

    return execute(options)


def _bisect(options: argparse.Namespace) -> int:
    from snp_harness.cli.bisect import execute

    return execute(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; argparse itself ends --help, --version and usage errors."""
    _open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    own, extra = split_extra(arguments)
    parser = build_parser()
    try:
        options = parser.parse_args(own, argparse.Namespace(arguments=arguments, extra=extra, run_directory=None))
        if extra and options.command != "run":
            parser.error(f"nothing may follow -- after {options.command}")
    except SystemExit as end:
        from snp_harness.cli.bisect import exit_status_of_usage

        _drop_what_stderr_does_not_take()
        sys.exit(exit_status_of_usage(own, end.code if isinstance(end.code, int) else 0))
    # One that is ignored stays so: nohup does that.
    previous = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    taken = [number for number, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in taken:
        signal.signal(number, _terminate)
    try:
        with contextlib.ExitStack() as options.cleanup:
            return _call(options)
    finally:
        for number in taken:
            signal.signal(number, previous[number])
        _drop_what_stderr_does_not_take()


def _call(options: argparse.Namespace) -> int:
    """Runs the sub-command; whatever it raises becomes one line on stderr and an exit status."""
    handlers: dict[str, Callable[[argparse.Namespace], int]] = {
        "run": _run,
        "conformance": _conformance,
        "doctor": _doctor,
        "fetch": _fetch,
        "timeline": _timeline,
        "firmware": _firmware,
        "igvm": _igvm,
        "bisect": _bisect,
        "bisect-step": _bisect,
    }
    try:
        status = handlers[options.command](options)
        sys.stdout.flush()
    except HarnessError as error:
        return _fail(error.message, error.hint, options.run_directory, error.exit_status)
    except BrokenPipeError:
        _drop(sys.stdout)
        return EXIT_BROKEN_PIPE
    except Terminated as end:
        return _fail("terminated", "", options.run_directory, end.exit_status)
    except KeyboardInterrupt:
        return _fail("interrupted", "", options.run_directory, EXIT_INTERRUPTED)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in RESOURCES:
            _drop(sys.stdout)
            what = f"{error.filename or 'the system'}: {error.strerror}"
            return _fail(what, "see df and ulimit -a", options.run_directory, EXIT_ENVIRONMENT)
        from snp_harness.cli.crash import save_traceback

        saved = save_traceback(error, None if options.run_directory is None else options.run_directory.path)
        what = f"internal error, {type(error).__name__}: {error}"
        return _fail(what, f"report it with {saved}", None, EXIT_ENVIRONMENT)
    return status


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    # What follows takes seconds at most, and must not be cut short by whoever is impatient.
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(number)


def _open_streams() -> None:
    """Where the caller closed stdin, stdout or stderr, /dev/null takes its place.

    Otherwise a socket or a memory of the run would get its number, and QEMU, which has these three at /dev/null, would
    not get that.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is this one.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _drop(stream: TextIO) -> None:
    """What reads it went away, or is full; Python must not meet it again when it exits, with a status of its own."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _drop_what_stderr_does_not_take() -> None:
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _fail(message: str, hint: str, directory: RunDirectory | None, status: int) -> int:
    """One line: what is wrong, what to do, and where the run's files are if it left any."""
    left = False
    if directory is not None:
        with contextlib.suppress(OSError):
            left = any(directory.path.iterdir())
    parts = [message, hint, f"see {directory.path}" if directory is not None and left else ""]
    line = " ".join(": ".join(part for part in parts if part).split())
    # A stderr that takes nothing must not change the status.
    with contextlib.suppress(OSError):
        print(f"{PROGRAM}: error: {line}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
