# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command.

Exit status: 0 the contract holds, 1 violated, 2 usage or bad input, 3 inconclusive, 128 and up a broken environment.

Nothing but the standard library is imported here: each sub-command imports what it needs when it is called, because the
time from the start of the command to the verdict is one of the project's aims (docs/dependencies.md: measurements).
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from harness import __version__
from harness.errors import EXIT_ENVIRONMENT, EXIT_HOLDS, HarnessError, UsageError

if TYPE_CHECKING:
    from harness.apic.access import Phase
    from harness.run import RunResult

PROGRAM = "snp-harness"
#: 128 + the signal's number, as shells have it.
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE
EXIT_TERMINATED = 128 + signal.SIGTERM
#: Names of --until, in the order a boot reaches them.
STAGES = ("sec", "pei", "dxe", "bds", "shell")
DEFAULT_PLATFORM = "emulated"
DEFAULT_UNTIL = "sec"
DEFAULT_TIMEOUT_S = 120.0
#: Start of a name that stands for a package of a Debian suite.
DEBIAN = "debian:"
#: What `fetch` gets when nothing is named.
DEFAULT_SUITE = "trixie"

EPILOG = "exit status: 0 holds, 1 violated, 2 usage or bad input, 3 inconclusive, 128 and up: broken environment"


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: ends the run as Ctrl-C does, so that QEMU is stopped and the partial timeline kept."""


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _positive_seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of seconds")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar; what follows `--` is taken off before it is parsed."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Boot SEV-SNP firmware under an SVSM and check when it touches the local APIC.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_doctor(commands)
    _add_fetch(commands)
    _add_timeline(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "run",
        help="boot a firmware and give the verdict",
        usage=f"{PROGRAM} run [options] [-- EXTRA QEMU ARGUMENTS]",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--firmware",
        metavar="F",
        help="an image's path, debian:SUITE or debian:SUITE/amdsev; default: the first one installed or fetched",
    )
    parser.add_argument("--platform", metavar="P", default=DEFAULT_PLATFORM, help="default: %(default)s")
    parser.add_argument("--vcpus", metavar="N", type=_positive_int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--memory", metavar="MIB", type=_positive_int, help="RAM of the guest in MiB; default: the platform's"
    )
    parser.add_argument(
        "--svsm-config",
        metavar="C",
        help="a TOML file, or the name of one that comes with the harness; default: SVSM present, Alternate Injection",
    )
    parser.add_argument(
        "--until",
        choices=STAGES,
        default=DEFAULT_UNTIL,
        help="stop when this is done; rules of later phases are then not judged; default: %(default)s",
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=_positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        help="seconds of wall time; default: %(default)g",
    )
    parser.add_argument("--qemu", metavar="Q", help="a QEMU, the directory of an unpacked one, or debian:SUITE")
    parser.add_argument(
        "--icount", action="store_true", help="count instructions: the same boot gives the same timeline"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="the run directory; default: a new one under runs/")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.set_defaults(handler=_run)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="what this machine can run, and what is missing", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="the checks as JSON on stdout")
    parser.add_argument("--qemu", metavar="Q", help="the QEMU to examine, as for run")
    parser.set_defaults(handler=_doctor)


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "fetch", help="download Debian's firmware or QEMU into the cache, without root", allow_abbrev=False
    )
    parser.add_argument(
        "kind", choices=("firmware", "qemu"), nargs="?", default="firmware", help="default: %(default)s"
    )
    parser.add_argument("specs", metavar="SPEC", nargs="*", help="trixie, sid/amdsev, ...; default: trixie")
    parser.set_defaults(handler=_fetch)


def _add_timeline(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("timeline", help="print the timeline of a recorded run", allow_abbrev=False)
    parser.add_argument("directory", metavar="DIR", type=Path, help="a run directory, or its timeline.jsonl")
    parser.add_argument("--json", action="store_true", help="JSON Lines, as recorded")
    parser.set_defaults(handler=_timeline)


def split_extra(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The harness's own arguments, and QEMU's: what follows the first `--`."""
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])


def _run(options: argparse.Namespace) -> int:
    from harness.firmware.find import find_firmware
    from harness.platforms import find_platform
    from harness.progress import ProgressLine
    from harness.run import RunSpec, run
    from harness.svsm.config import DEFAULT_CONFIG, load_config
    from harness.vm.rundir import RunDirectory

    find_platform(options.platform)
    configuration = options.svsm_config or DEFAULT_CONFIG
    svsm = load_config(configuration)
    firmware = find_firmware(options.firmware, _say, svsm=svsm.present)
    spec = RunSpec(
        firmware=firmware,
        vcpus=options.vcpus,
        memory_mib=options.memory,
        svsm=svsm,
        until=options.until,
        timeout_s=options.timeout,
        qemu=_qemu(options.qemu),
        extra_args=options.extra,
        icount=options.icount,
    )
    options.artefacts = RunDirectory.create(options.out, options.platform).path
    with ProgressLine(quiet=options.quiet) as progress:

        def update(phase: Phase, accesses: int, exits: int | None) -> None:
            # First called when QEMU has started: what shows the verdict is loaded while it boots.
            from harness.report import terminal

            terminal.load(sys.stdout)
            progress.update(phase, accesses, exits)

        result = run(spec, options.platform, options.artefacts, update)
    _show(result, firmware, configuration, options)
    if result.error is not None:
        raise result.error
    return result.exit_status


def _show(result: RunResult, firmware: Path, configuration: str, options: argparse.Namespace) -> None:
    """Prints the report of a run."""
    from harness.report import json_report, terminal
    from harness.report.model import Report, RunInfo

    info = RunInfo(
        firmware=str(firmware),
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


def _qemu(spec: str | None) -> Path | None:
    """The QEMU that --qemu names: a path, or debian:SUITE for one that is fetched, or fetched now."""
    if spec is None or not spec.startswith(DEBIAN):
        return None if spec is None else Path(spec).expanduser()
    from harness.firmware.qemu_bundle import qemu_bundle

    return qemu_bundle(spec.removeprefix(DEBIAN), _say).directory


def _say(text: str) -> None:
    """What a download tells the user."""
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)


def _doctor(options: argparse.Namespace) -> int:
    from harness.doctor import examine, render_json, render_text

    sections = examine(_qemu(options.qemu))
    print(render_json(sections) if options.json else render_text(sections))
    return EXIT_HOLDS


def _fetch(options: argparse.Namespace) -> int:
    from harness.firmware.fetch import fetch_firmware
    from harness.firmware.qemu_bundle import fetch_qemu

    for spec in options.specs or (DEFAULT_SUITE,):
        if options.kind == "qemu":
            print(fetch_qemu(spec.removeprefix(DEBIAN), _say).directory)
        else:
            print(fetch_firmware(spec, _say))
    return EXIT_HOLDS


def _timeline(options: argparse.Namespace) -> int:
    from harness.apic.timeline import Timeline, bounded_lines

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
    from harness.report.terminal import render_timeline

    for line in render_timeline(timeline):
        print(line)
    return EXIT_HOLDS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; argparse itself ends --help, --version and usage errors."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    own, extra = split_extra(arguments)
    parser = build_parser()
    options = parser.parse_args(own, argparse.Namespace(arguments=arguments, extra=extra, artefacts=None))
    if extra and options.command != "run":
        parser.error(f"nothing may follow -- after {options.command}")
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        return _call(options)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _call(options: argparse.Namespace) -> int:
    """Runs the sub-command; whatever it raises becomes one line on stderr and an exit status."""
    handler: Callable[[argparse.Namespace], int] = options.handler
    try:
        status = handler(options)
        sys.stdout.flush()
    except HarnessError as error:
        return _fail(error.message, error.hint, options.artefacts, error.exit_status)
    except BrokenPipeError:
        # Whoever read stdout went away; Python must not meet the closed pipe again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Terminated:
        return _fail("terminated", "", options.artefacts, EXIT_TERMINATED)
    except KeyboardInterrupt:
        return _fail("interrupted", "", options.artefacts, EXIT_INTERRUPTED)
    except Exception as error:
        from harness.crash import save_traceback

        saved = save_traceback(error, options.artefacts)
        what = f"internal error, {type(error).__name__}: {error}"
        return _fail(what, f"report it with {saved}", None, EXIT_ENVIRONMENT)
    return status


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


def _fail(message: str, hint: str, artefacts: Path | None, status: int) -> int:
    """One line: what is wrong, what to do, and where the run's files are if it left any."""
    parts = [message, hint, f"see {artefacts}" if artefacts is not None and any(artefacts.iterdir()) else ""]
    line = " ".join(": ".join(part for part in parts if part).split())
    print(f"{PROGRAM}: error: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
