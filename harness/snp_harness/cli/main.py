# SPDX-License-Identifier: GPL-2.0-or-later
"""The `snp-harness` command: its start, its signals, and its errors, each of which becomes one line.

Exit status: 0 the contract holds, 1 violated, 2 usage or bad input, 3 inconclusive, 128 and up a broken environment.

Nothing but the standard library is imported here: the sub-command that is called is loaded when its name is known, and
it imports what it needs when it is executed, because the time from the start of the command to the verdict is one of
the project's aims (docs/dependencies.md: measurements).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, TextIO

from snp_harness.cli.arguments import EPILOG, Parser, ShowVersion, as_sentence
from snp_harness.cli.resources import notify
from snp_harness.defaults import PROGRAM
from snp_harness.errors import EXIT_ENVIRONMENT, HarnessError
from snp_harness.launch.interrupts import INTERRUPTS, Terminated

if TYPE_CHECKING:
    from snp_harness.vm.rundir import RunDirectory

#: The sub-commands in the order of --help: the module in this package, and what --help says. A module has
#: add_parser(commands), which adds the grammar, and execute(options), which returns the exit status.
COMMANDS = {
    "run": ("run", "boot a firmware and print the verdict"),
    "shell": ("shell", "boot a guest, with its console on the terminal"),
    "conformance": (
        "conformance",
        "test an SVSM's APIC protocol and the hypervisor's APIC_BASE rules with a guest of our own",
    ),
    "svsm-test": ("svsm_test", "run an SVSM's own tests, a test image, and print a result for each of them"),
    "doctor": ("doctor", "check what this machine can run, and print what is missing"),
    "fetch": (
        "fetch",
        "download Debian's firmware, QEMU, the nested KVM host or a Linux guest into the cache, without root",
    ),
    "report": ("report", "judge a recorded run again and print its report"),
    "timeline": ("timeline", "print the timeline of a recorded run"),
    "diff": ("diff", "print what differs between the accesses of two recorded runs"),
    "matrix": ("matrix", "run firmwares under configurations, and compare them with the last time"),
    "judge": ("judge", "judge a KVM trace that was recorded elsewhere"),
    "configs": ("configs", "list, show and copy the configurations that come with the harness"),
    "rules": ("rules", "list the rules of the contract, and explain them"),
    "firmware": ("firmware", "build firmware from edk2's source"),
    "igvm": ("igvm", "show an IGVM file, or write a copy with Alternate Injection on or off"),
    "bisect": ("bisect", "find the commit of edk2 that broke or fixed the contract"),
    "bisect-step": ("bisect", "judge one commit of edk2, for `git bisect run`"),
    "cache": ("cache", "show what is in the cache, and remove it"),
    "completion": ("completion", "print a script with which a shell completes this command"),
}
#: Exit statuses of a wrong command line where it is not 2, which `git bisect run` would take for "bad".
USAGE_STATUS = {"bisect-step": EXIT_ENVIRONMENT}
#: Commands whose options are those of the command line alone: another command has chosen them.
EXACT = ("bisect-step",)
#: 128 + the signal's number, as in a shell.
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE
#: Errors that mean a limit of the machine, not an error of the harness.
RESOURCES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Build the grammar of the command line, without what follows `--`.

    arguments: the command line. Only the sub-command that it names is loaded; without one, the grammar is for --help,
    --version and errors.
    """
    parser = Parser(
        prog=PROGRAM,
        description="Boot SEV-SNP firmware under an SVSM and check when it accesses the local APIC.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    called = arguments[0] if arguments else ""
    if called in COMMANDS:
        _module(called).add_parser(commands)
        commands.choices[called].description = as_sentence(COMMANDS[called][1])
        if called not in EXACT:
            _apply_settings(commands.choices[called], called)
    else:
        for name, (_, text) in COMMANDS.items():
            commands.add_parser(name, help=text)
    return parser


def _apply_settings(parser: Parser, command: str) -> None:
    """Set the defaults of a command as the files of options say; what is wrong with them ends the command."""
    from snp_harness.cli.settings import SettingsError, apply

    try:
        parser.set_defaults(settings=apply(parser, command))
    except SettingsError as error:
        parser.error(str(error))


def split_extra(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Split the command line at the first `--` into the harness's arguments and QEMU's."""
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; argparse itself exits for --help, --version and usage errors."""
    _open_streams()
    arguments = list(sys.argv[1:] if argv is None else argv)
    own, extra = split_extra(arguments)
    try:
        parser = build_parser(own)
        options = parser.parse_args(own, argparse.Namespace(arguments=arguments, extra=extra, run_directory=None))
        if extra and options.command not in ("run", "shell"):
            parser.error(f"{options.command} accepts no arguments after --")
    except SystemExit as end:
        _drop_unwritable_stderr()
        sys.exit(USAGE_STATUS.get(own[0], end.code) if own and end.code else end.code)
    with contextlib.ExitStack() as stack:
        stack.callback(_drop_unwritable_stderr)
        stack.enter_context(INTERRUPTS.handled(ends=argv is None))
        return _guarded(options)


def _module(command: str) -> ModuleType:
    return import_module(f"snp_harness.cli.{COMMANDS[command][0]}")


def _guarded(options: argparse.Namespace) -> int:
    """Execute the sub-command and close what it has opened; an interrupt of the closing ends the command, too."""
    status = None
    try:
        with contextlib.ExitStack() as options.cleanup:
            status = _execute(options)
    except KeyboardInterrupt as interrupt:
        # The first signal is the last that raises: if it was before, the status is known.
        if status is None:
            status = _interrupted(interrupt, options)
    return status


def _execute(options: argparse.Namespace) -> int:
    """Execute the sub-command; whatever it raises becomes one line on stderr and an exit status."""
    try:
        status: int = _module(options.command).execute(options)
        sys.stdout.flush()
    except HarnessError as error:
        return _fail(error.message, error.hint, options.run_directory, error.exit_status)
    except BrokenPipeError:
        _drop(sys.stdout)
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        return _interrupted(interrupt, options)
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


def _interrupted(interrupt: KeyboardInterrupt, options: argparse.Namespace) -> int:
    status = interrupt.exit_status if isinstance(interrupt, Terminated) else EXIT_INTERRUPTED
    what = "interrupted" if status == EXIT_INTERRUPTED else "terminated"
    return _fail(what, "", options.run_directory, status)


def _open_streams() -> None:
    """Open /dev/null in place of stdin, stdout or stderr where the caller closed it.

    Otherwise a socket or a memory of the run would get its number; QEMU is started with these three at /dev/null, and
    would not inherit that descriptor.
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
    """Redirect a stream that cannot be written to: flushing it at exit would change Python's exit status."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _drop_unwritable_stderr() -> None:
    try:
        sys.stderr.flush()
    except OSError:
        _drop(sys.stderr)


def _fail(message: str, hint: str, directory: RunDirectory | None, status: int) -> int:
    """Print one line: what is wrong, what to do, and where the run's files are if it left any."""
    parts = [message, hint, f"see {directory.path}" if directory is not None and directory.has_run else ""]
    line = " ".join(": ".join(part for part in parts if part).split())
    notify(f"error: {line}")
    return status
