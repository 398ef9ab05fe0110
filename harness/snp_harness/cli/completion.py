# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness completion`: a script with which a shell completes commands, options and their values."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import Parser, as_sentence
from snp_harness.defaults import PROGRAM
from snp_harness.errors import EXIT_HOLDS

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands

SHELLS = ("bash", "zsh", "fish")
EPILOG = "bash: source <(snp-harness completion bash); zsh: the same after compinit; fish: ... | source"


def add_parser(commands: Commands) -> None:
    """Add `completion` to the command line."""
    parser = commands.add_parser("completion", epilog=EPILOG, allow_abbrev=False)
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def execute(options: argparse.Namespace) -> int:
    """Print the script and return the exit status."""
    found = list(grammars())
    print("\n".join(_fish(found) if options.shell == "fish" else _bash(found, zsh=options.shell == "zsh")))
    return EXIT_HOLDS


@dataclass(frozen=True, slots=True)
class Grammar:
    """What follows a command. values: of an option or, under "", of the argument; an option without any has files."""

    command: str
    text: str
    options: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


def parsers() -> Iterator[tuple[str, str, Parser]]:
    """Yield the name of each command, what it does, and its parser."""
    from snp_harness.cli.main import COMMANDS

    for command, (module, text) in COMMANDS.items():
        # The parsers of a module: bisect and bisect-step have one.
        commands = Parser(prog=PROGRAM).add_subparsers()
        import_module(f"snp_harness.cli.{module}").add_parser(commands)
        parser = commands.choices[command]
        parser.description = as_sentence(text)
        yield command, text, parser


def grammars() -> Iterator[Grammar]:
    """Yield the grammar of each command."""
    for command, text, parser in parsers():
        yield _read(command, text, parser)


def _read(command: str, text: str, parser: argparse.ArgumentParser) -> Grammar:
    from snp_harness.apic.contract import RULES
    from snp_harness.platforms import platform_names
    from snp_harness.svsm.config_files import shipped_configs

    known = {
        "--platform": platform_names(),
        "--svsm-config": tuple(shipped_configs()),
        "--rule": tuple(rule.name for rule in RULES),
    }
    options: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    inner = [one for action in parser._actions for one in inner_parsers(action)]
    for action in [*parser._actions, *(action for one in inner for action in one._actions if action.option_strings)]:
        names = [name for name in action.option_strings if name.startswith("--")]
        options += (name for name in names if name not in options)
        found = known.get(names[0]) if names else None
        if found is None and action.choices is not None:
            found = tuple(map(str, action.choices))
        for name in names or [""]:
            if found is not None and (action.nargs != 0):
                values[name] = found
    # What follows the actions of a command, which are its argument.
    if (option := {"rules": "--rule", "configs": "--svsm-config"}.get(command)) is not None:
        values[""] += known[option]
    return Grammar(command, text, tuple(options), values)


def inner_parsers(action: argparse.Action) -> list[argparse.ArgumentParser]:
    """Return the parsers of the commands in a command."""
    return list(action.choices.values()) if isinstance(action, argparse._SubParsersAction) else []


def _bash(found: list[Grammar], *, zsh: bool) -> Iterator[str]:
    if zsh:
        yield "autoload -U +X bashcompinit && bashcompinit"
    yield "_snp_harness() {"
    yield '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=""'
    yield '    if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f"        words={shlex.quote(' '.join([*(g.command for g in found), '--help', '--version']))}"
    yield "    else"
    yield '        case "${COMP_WORDS[1]} $before" in'
    for grammar in found:
        for option, values in grammar.values.items():
            if option:
                yield f'            "{grammar.command} {option}") words={shlex.quote(" ".join(values))} ;;'
    yield "            *)"
    yield '                case "${COMP_WORDS[1]}" in'
    for grammar in found:
        words = " ".join([*grammar.options, *grammar.values.get("", ())])
        yield f"                    {grammar.command}) words={shlex.quote(words)} ;;"
    yield "                esac ;;"
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$word"))'
    yield "}"
    yield f"complete -o default -F _snp_harness {PROGRAM}"


def _fish(found: list[Grammar]) -> Iterator[str]:
    for grammar in found:
        yield f"complete -c {PROGRAM} -n __fish_use_subcommand -a {grammar.command} -d {shlex.quote(grammar.text)}"
    for grammar in found:
        of_command = f"complete -c {PROGRAM} -n {shlex.quote(f'__fish_seen_subcommand_from {grammar.command}')}"
        for option in grammar.options:
            values = grammar.values.get(option)
            chosen = "" if values is None else f" -x -a {shlex.quote(' '.join(values))}"
            yield f"{of_command} -l {option.removeprefix('--')}{chosen}"
        if grammar.values.get(""):
            yield f"{of_command} -a {shlex.quote(' '.join(grammar.values['']))}"
