# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the grammar that several sub-commands share. Standard library only: see snp_harness/cli/main.py."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from snp_harness.cli.resources import notify
from snp_harness.defaults import CONSOLE_GOAL, DEFAULT_PLATFORM, DEFAULT_TIMEOUT_S, GOALS, PROGRAM
from snp_harness.errors import EXIT_USAGE

EPILOG = (
    "exit status: 0 holds or does not apply, 1 violated, 2 usage or bad input, 3 inconclusive, 128 and up: broken"
    " environment"
)


#: What argparse says of a value that is not one of a choice; Python 3.12 and later do not quote the choices.
_INVALID_CHOICE = re.compile(r"invalid choice: (?P<given>'.*?') \(choose from (?P<known>.*)\)")
#: The goal of a run that ends when its guest was logged in to.
SSH_GOAL = "ssh"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the name that was meant if one is close."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse as argparse does. An option that there is not is an error of the sub-command, which knows its own."""
        options, rest = super().parse_known_args(args, namespace)
        unknown = [text for text in rest if text.startswith("--")]
        if unknown and self._subparsers is None:
            name = unknown[0].partition("=")[0]
            self.error(f"unknown option {name}{did_you_mean(name, self._option_string_actions)}")
        return options, rest

    def add_subparsers(self, **options: Any) -> Commands:  # type: ignore[override]
        """Add commands, each described by what its line in the help of this parser says."""
        return super().add_subparsers(action=_Commands, **options)

    def format_help(self) -> str:
        """Return the help, with examples."""
        from snp_harness.cli.examples import examples_help

        return super().format_help() + examples_help(self.prog)

    def error(self, message: str) -> NoReturn:
        """Print the error in one line and exit."""
        if found := _INVALID_CHOICE.search(message):
            known = re.findall(r"[^\s,']+", found["known"])
            message = f"{message[: found.start()]}{found['given']} is not one of {', '.join(known)}"
            message += did_you_mean(found["given"].strip("'"), known)
        notify(f"error: {' '.join(message.split())}: see {self.prog} --help")
        self.exit(EXIT_USAGE)


class ShowVersion(argparse.Action):
    """Prints the version and ends the command. argparse's own action would need the version at each start."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print the version, with the commit it was built from, and exit."""
        from snp_harness.version import build

        print(f"{PROGRAM} {build().version}")
        parser.exit()


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return ": did you mean X?" with the name that is closest, an empty text if none is."""
    from snp_harness.nearest import nearest

    near = nearest(given, known)
    return f": did you mean {near}?" if near else ""


#: What a sub-command adds its parser to. argparse's own name for it cannot be subscripted at run time.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]
    """Sub-commands whose help begins with what they do."""

    def add_parser(self, name: str, **options: Any) -> Any:
        options.setdefault("description", as_sentence(options.get("help", "")))
        return super().add_parser(name, **options)


def as_sentence(text: str) -> str:
    """Return the line of a command in the help as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def positive_int(text: str) -> int:
    """Parse a number on the command line."""
    with contextlib.suppress(ValueError):
        if (value := int(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!a} is not a positive number")


def count(text: str) -> int:
    """Parse a number on the command line that may be 0."""
    return 0 if text == "0" else positive_int(text)


def positive_seconds(text: str) -> float:
    """Parse seconds on the command line."""
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"{text!a} is not a positive number of seconds")


def goal_argument(text: str) -> str:
    """Parse a goal."""
    if text not in (*GOALS, SSH_GOAL) and not text.startswith(CONSOLE_GOAL):
        known = (*GOALS, SSH_GOAL, f"{CONSOLE_GOAL}REGEX")
        raise argparse.ArgumentTypeError(f"{text!a} is not one of {', '.join(known)}{did_you_mean(text, known)}")
    return text


def name_argument(text: str) -> str:
    """Parse a name. An empty one is rejected: it comes from a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return text


def path_argument(text: str) -> Path:
    """Parse a path on the command line."""
    return Path(name_argument(text))


def add_guest_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the commands that boot a firmware with any number of vCPUs."""
    parser.add_argument(
        "--firmware",
        metavar="F",
        type=name_argument,
        help="path of an image, debian:SUITE or debian:SUITE/amdsev; default: the first one fetched or installed",
    )
    parser.add_argument("--vcpus", metavar="N", type=positive_int, default=1, help="vCPUs; default: %(default)s")
    parser.add_argument(
        "--memory", metavar="MIB", type=positive_int, help="RAM of the guest in MiB; default: the platform's"
    )


def add_boot_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command that boots a guest."""
    parser.add_argument(
        "--platform", metavar="P", default=DEFAULT_PLATFORM, help="what runs the guest; default: %(default)s"
    )
    parser.add_argument(
        "--svsm-config",
        metavar="C",
        type=name_argument,
        help="a TOML file, or the name of a configuration of the harness; default: SVSM present, Alternate Injection",
    )
    add_symbols_option(parser)
    parser.add_argument(
        "--igvm",
        metavar="FILE",
        type=path_argument,
        help="launch this IGVM file in place of the reference SVSM; with --svsm-config, Alternate Injection as in C",
    )
    add_timeout_option(parser, "seconds of wall time")
    parser.add_argument(
        "--qemu", metavar="Q", type=name_argument, help="a QEMU, the directory of an unpacked one, or debian:SUITE"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=path_argument, help="the run directory; default: a new one under runs/"
    )
    add_host_options(parser)
    parser.add_argument("--quiet", action="store_true", help="print no progress on stderr")


def add_json_option(parser: argparse.ArgumentParser, shown: str) -> None:
    """Add --json. shown: what is printed."""
    parser.add_argument("--json", action="store_true", help=f"print the {shown} as JSON on stdout")


def add_timeout_option(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --timeout. what: what it is."""
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=positive_seconds,
        default=DEFAULT_TIMEOUT_S,
        help=f"{what}; default: %(default)g",
    )


def add_symbols_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the SVSM's symbols."""
    parser.add_argument(
        "--svsm-symbols",
        metavar="ELF",
        type=path_argument,
        action="append",
        default=[],
        help="an ELF file of the SVSM or of its loader: names the functions of its pcs; may be repeated",
    )


def add_host_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the machine where QEMU runs."""
    parser.add_argument(
        "--host",
        metavar="H",
        type=name_argument,
        help="run QEMU on another machine: ssh://USER@BOX[:PORT], or a name of the inventory",
    )
    parser.add_argument(
        "--host-wait", metavar="S", type=positive_seconds, default=0.0, help="seconds to wait for a host that is in use"
    )
    parser.add_argument(
        "--hosts",
        metavar="FILE",
        type=path_argument,
        help="the inventory; default: ~/.config/snp-harness/hosts.toml",
    )
