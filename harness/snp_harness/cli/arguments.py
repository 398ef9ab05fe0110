# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's grammar. Standard library only: see snp_harness/cli/main.py."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from snp_harness import __version__
from snp_harness.defaults import DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S, DEFAULT_UNTIL, PROGRAM, STAGES
from snp_harness.errors import EXIT_USAGE

EPILOG = "exit status: 0 holds, 1 violated, 2 usage or bad input, 3 inconclusive, 128 and up: broken environment"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        # A stderr that takes nothing must not change the status.
        with contextlib.suppress(OSError):
            print(f"{PROGRAM}: error: {' '.join(message.split())}: see {self.prog} --help", file=sys.stderr, flush=True)
        self.exit(EXIT_USAGE)


def positive_int(text: str) -> int:
    """A number on the command line."""
    with contextlib.suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!a} is not a positive number")


def positive_seconds(text: str) -> float:
    """Seconds on the command line."""
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!a} is not a positive number of seconds")


def name_argument(text: str) -> str:
    """What is to name something: an empty one is a variable that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def path_argument(text: str) -> Path:
    """A path on the command line."""
    return Path(name_argument(text))


#: What sub-commands are added to. argparse's own name for it cannot be subscripted when the program runs.
Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar; what follows `--` is taken off before it is parsed."""
    parser = _Parser(
        prog=PROGRAM,
        description="Boot SEV-SNP firmware under an SVSM and check when it touches the local APIC.",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_conformance(commands)
    _add_doctor(commands)
    _add_fetch(commands)
    _add_timeline(commands)
    # Here, not at the top: these modules use this one.
    from snp_harness.cli import bisect, firmware, igvm

    firmware.add_parser(commands)
    igvm.add_parser(commands)
    bisect.add_parser(commands)
    return parser


def _add_run(commands: Commands) -> None:
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
        type=name_argument,
        help="an image's path, debian:SUITE or debian:SUITE/amdsev; default: the first one installed or fetched",
    )
    parser.add_argument("--vcpus", metavar="N", type=positive_int, default=1, help="default: %(default)s")
    parser.add_argument(
        "--memory", metavar="MIB", type=positive_int, help="RAM of the guest in MiB; default: the platform's"
    )
    parser.add_argument(
        "--until",
        choices=STAGES,
        default=DEFAULT_UNTIL,
        help="stop when this is done; rules of later phases are then not judged; default: %(default)s",
    )
    parser.add_argument(
        "--icount", action="store_true", help="count instructions: the same boot gives the same timeline"
    )
    _add_boot(parser, "verdict")


def _add_conformance(commands: Commands) -> None:
    parser = commands.add_parser(
        "conformance",
        help="test an SVSM's APIC protocol and the hypervisor's APIC_BASE rules with a guest of our own",
        epilog="exit status: 0 no point failed, 1 a point failed, 2 usage, 3 inconclusive, 128 and up: environment",
        allow_abbrev=False,
    )
    _add_boot(parser, "points")


def _add_boot(parser: argparse.ArgumentParser, shown: str) -> None:
    """What every command that boots a guest takes. shown: what its report is about."""
    parser.add_argument("--platform", metavar="P", default=DEFAULT_PLATFORM, help="default: %(default)s")
    parser.add_argument(
        "--svsm-config",
        metavar="C",
        type=name_argument,
        help="a TOML file, or the name of one that comes with the harness; default: SVSM present, Alternate Injection",
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        help="seconds of wall time; default: %(default)g",
    )
    parser.add_argument(
        "--qemu", metavar="Q", type=name_argument, help="a QEMU, the directory of an unpacked one, or debian:SUITE"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=path_argument, help="the run directory; default: a new one under runs/"
    )
    _add_host(parser)
    parser.add_argument("--json", action="store_true", help=f"the {shown} as JSON on stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _add_host(parser: argparse.ArgumentParser) -> None:
    """Where QEMU runs."""
    parser.add_argument(
        "--host", metavar="H", type=name_argument, help="run QEMU on another machine: ssh://USER@BOX[:PORT], or a name"
    )
    parser.add_argument(
        "--host-wait", metavar="S", type=positive_seconds, default=0.0, help="wait for a host that is in use"
    )
    parser.add_argument(
        "--hosts",
        metavar="FILE",
        type=path_argument,
        help="the inventory; default: ~/.config/snp-harness/hosts.toml",
    )


def _add_doctor(commands: Commands) -> None:
    parser = commands.add_parser("doctor", help="what this machine can run, and what is missing", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="the checks as JSON on stdout")
    parser.add_argument("--qemu", metavar="Q", type=name_argument, help="the QEMU to examine, as for run")
    _add_host(parser)


def _add_fetch(commands: Commands) -> None:
    parser = commands.add_parser(
        "fetch",
        help="download Debian's firmware, QEMU or the nested KVM host into the cache, without root",
        allow_abbrev=False,
    )
    parser.add_argument(
        "kind", choices=("firmware", "qemu", "nested"), nargs="?", default="firmware", help="default: %(default)s"
    )
    parser.add_argument("specs", metavar="SPEC", nargs="*", help="trixie, sid/amdsev, ...; default: trixie")


def _add_timeline(commands: Commands) -> None:
    parser = commands.add_parser("timeline", help="print the timeline of a recorded run", allow_abbrev=False)
    parser.add_argument("directory", metavar="DIR", type=path_argument, help="a run directory, or its timeline.jsonl")
    parser.add_argument("--json", action="store_true", help="JSON Lines, as recorded")


def split_extra(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The harness's own arguments, and QEMU's: what follows the first `--`."""
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])
