# SPDX-License-Identifier: GPL-2.0-or-later
"""What --help and the manual page print of each command: what it does, its options, and examples that are right."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from snp_harness.cli import main as cli
from snp_harness.cli.arguments import Parser
from snp_harness.cli.completion import inner_parsers, parsers
from snp_harness.cli.examples import EXAMPLES, examples_of
from snp_harness.cli.manual import manual_page
from tests.commands import shell_words


def every_parser() -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands, and of the commands within them."""
    for _, _, parser in parsers():
        yield parser
        yield from (one for action in parser._actions for one in inner_parsers(action))


PARSERS = list(every_parser())


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_each_command_has_its_help(parser: Parser) -> None:
    text = parser.format_help()
    assert parser.description
    assert parser.description[0].isupper()
    assert " ".join(parser.description.split()) in " ".join(text.split())
    assert f"\nexamples:\n  {examples_of(parser.prog)[0][0]}\n" in text
    assert not [line for line in text.splitlines() if len(line) > 80]


def test_the_help_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["fetch", "--help"])
    printed = capsys.readouterr().out
    assert "\n\nDownload Debian's firmware, QEMU, the nested KVM host or a Linux guest" in printed
    assert printed.endswith("\n  snp-harness fetch linux\n      make the image of the Linux guest\n")


@pytest.mark.parametrize("command", EXAMPLES)
def test_examples_are_of_their_command_and_parsed(command: str) -> None:
    known = {parser.prog.removeprefix("snp-harness ") for parser in PARSERS}
    assert command in known
    for line, _ in EXAMPLES[command]:
        argv = shell_words(line)
        assert argv is not None, line
        assert argv[: len(command.split())] == command.split()
        cli.build_parser(argv).parse_args(argv)


def test_a_wrong_example_is_found() -> None:
    """The parser is asked: it rejects what there is not."""
    with contextlib.redirect_stderr(None), pytest.raises(SystemExit):
        cli.build_parser(["report"]).parse_args(["report", "runs/latest", "--form", "sarif"])


def test_the_manual_page_has_every_option() -> None:
    page = manual_page().replace(r"\-", "-")
    for parser in PARSERS:
        section = page.split(f"\n.SS {parser.prog}\n")[1].split("\n.S")[0]
        for action in parser._actions:
            if action.help is not argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
                assert all(rf"\fB{name}\fR" in section for name in action.option_strings)
        assert all(line.replace("'", r"\(aq") in section for line, _ in examples_of(parser.prog))


def test_the_manual_page_is_rendered_without_a_warning() -> None:
    programs = {"groff": ["-ww", "-man", "-Tutf8"], "mandoc": ["-T", "lint", "-W", "style"]}
    found = [program for program in programs if shutil.which(program)]
    if not found:
        pytest.skip("neither groff nor mandoc is installed (apt-get install groff-base)")
    for program in found:
        argv = [program, *programs[program]]
        done = subprocess.run(argv, input=manual_page(), capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        if program == "groff":
            assert "snp-harness rules explain x2apic-before-sec" in done.stdout
        else:
            # The page has no date: it would be that of the build.
            assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []
