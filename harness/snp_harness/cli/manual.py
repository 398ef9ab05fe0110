# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual page of the command, made of its parsers: what --help prints, in the form of man(7).

`python -m snp_harness.cli.manual` prints it. The wheel has it in share/man/man1. Standard library only: it is made
where the wheel is built, without the packages that the command needs.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Iterator

from snp_harness.cli.arguments import EPILOG, as_sentence
from snp_harness.cli.completion import parsers
from snp_harness.cli.examples import examples_of
from snp_harness.defaults import PROGRAM
from snp_harness.version import build

#: File, and what is in it.
FILES = (
    ("~/.config/snp-harness/config.toml", "options of the user, as pyproject.toml has them in [tool.snp-harness]"),
    ("~/.config/snp-harness/hosts.toml", "the inventory of hosts, for --host"),
    ("~/.cache/snp-harness", "downloads and builds; snp-harness cache shows and removes them"),
    ("runs/latest", "the last run directory, under the current directory"),
)
#: Variable, and what it decides.
VARIABLES = (
    ("SNP_HARNESS_QEMU", "the QEMU of a run without --qemu"),
    ("SNP_HARNESS_IGVM", "the IGVM file of the platform snp"),
    ("XDG_CONFIG_HOME, XDG_CACHE_HOME", "what is used in place of ~/.config and ~/.cache"),
)


def manual_page() -> str:
    """Return the page in roff."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    name = PROGRAM.upper().replace("-", r"\-")
    yield r".\" SPDX-License-Identifier: GPL-2.0-or-later"
    yield f'.TH {name} 1 "" "{_escape(build().version)}" "User Commands"'
    yield ".nh"
    yield ".SH NAME"
    yield rf"{_escape(PROGRAM)} \- judge the local\-APIC accesses of SEV\-SNP firmware"
    yield ".SH SYNOPSIS"
    yield rf"\fB{_escape(PROGRAM)}\fR \fICOMMAND\fR [\fIOPTIONS\fR]"
    yield ".SH DESCRIPTION"
    yield from _text(
        "Boots unmodified SEV-SNP firmware (OVMF) as a guest under an SVSM, records every access to the local APIC, and"
        " reports whether the firmware is in x2APIC mode, reached by a legal transition, before the first local-APIC"
        " access of its SEC phase. It needs no SNP hardware, no KVM and no root."
    )
    yield ".SH COMMANDS"
    for _, _, parser in parsers():
        yield from _command(parser)
    yield ".SH EXIT STATUS"
    yield from _text(as_sentence(EPILOG.removeprefix("exit status: ")) + " A command that differs has its own above.")
    yield ".SH ENVIRONMENT"
    yield from _table(VARIABLES)
    yield ".SH FILES"
    yield from _table(FILES)


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f".SS {_escape(parser.prog)}"
    yield from _text(parser.description or "")
    yield ".PP"
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    yield from _text(usage.replace(" [-h]", ""))
    inner = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner += list(action.choices.values())
        elif action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            yield ".TP"
            yield _names(parser, action)
            yield from _text(parser._get_formatter()._expand_help(action) if action.help else "")
    if parser.epilog:
        yield ".PP"
        yield from _text(as_sentence(parser.epilog))
    for line, what in examples_of(parser.prog):
        yield ".PP"
        yield from _text(f"Example: {what}:")
        yield from (".RS", ".nf", _escape(line), ".fi", ".RE")
    for one in inner:
        yield from _command(one)


def _names(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """Return the names of an option with its value, or that of an argument."""
    formatter = parser._get_formatter()
    if not action.option_strings:
        return rf"\fI{_escape(formatter._format_args(action, action.dest))}\fR"
    value = "" if action.nargs == 0 else formatter._format_args(action, action.dest.upper())
    names = ", ".join(rf"\fB{_escape(name)}\fR" for name in action.option_strings)
    return rf"{names} \fI{_escape(value)}\fR" if value else names


def _table(rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for name, text in rows:
        yield ".TP"
        yield rf"\fB{_escape(name)}\fR"
        yield from _text(text)


def _text(text: str) -> Iterator[str]:
    """Yield a paragraph, in lines that a person can read."""
    for line in textwrap.wrap(" ".join(text.split()), 68, break_on_hyphens=False, break_long_words=False):
        escaped = _escape(line)
        # A request begins with one of these.
        yield rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escape(text: str) -> str:
    """Escape what roff reads, and characters that a reader copies and groff would replace."""
    for plain, escaped in (("\\", r"\e"), ("-", r"\-"), ("'", r"\(aq"), ("`", r"\(ga"), ("^", r"\(ha"), ("~", r"\(ti")):
        text = text.replace(plain, escaped)
    return text


if __name__ == "__main__":
    sys.stdout.write(manual_page())
