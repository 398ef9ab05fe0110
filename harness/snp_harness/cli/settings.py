# SPDX-License-Identifier: GPL-2.0-or-later
"""Options from files: `[tool.snp-harness]` of the project's pyproject.toml, and config.toml of the user.

A key is the long name of an option. Those in a table of a command's name are for that command, others for each command
that has the option. What the command line names has priority, then the project's file, then the user's.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from snp_harness.cli.arguments import did_you_mean
from snp_harness.defaults import DEBIAN
from snp_harness.xdg import config_home

USER_FILE = "config.toml"
PROJECT_FILE = "pyproject.toml"
TOOL = "snp-harness"
#: Bytes of a file that are read.
_SIZE_MAX = 1 << 20
#: Options whose values are paths, or may be: relative to the directory of the file.
_PATHS = frozenset(
    {"firmware", "qemu", "svsm-config", "igvm", "out", "output", "hosts", "known", "symbols", "svsm-symbols", "compare"}
)
_SUFFIXES = (".fd", ".toml", ".igvm")


class SettingsError(Exception):
    """A file of options cannot be used; the message is one line."""


def apply(parser: argparse.ArgumentParser, command: str) -> tuple[str, ...]:
    """Set the defaults of a command's options as the files say; returns what was set, in a sentence for each file.

    Raises SettingsError.
    """
    said = []
    actions = {name: action for action in parser._actions for name in _long_name(action)}
    for path, settings in _files():
        chosen = {key: value for key, value in settings.items() if not isinstance(value, dict)}
        own = settings.get(command, {})
        for key in own:
            if key not in actions:
                raise SettingsError(f"{path}: {command} has no option {key!a}{did_you_mean(key, actions)}")
        set_here = []
        for key, value in {**chosen, **own}.items():
            if key in actions:
                parser.set_defaults(**{actions[key].dest: _value(path, key, value, actions[key])})
                set_here.append(f"{key} = {value}")
            elif key not in own:
                _check_known(path, key)
        if set_here:
            said.append(f"options of {path}: {', '.join(set_here)}")
    return tuple(said)


def _long_name(action: argparse.Action) -> list[str]:
    """Return the first long name of an option, without its dashes: --no-x is x = false."""
    return [name.removeprefix("--") for name in action.option_strings if name.startswith("--")][:1]


def _files() -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the files that there are, with their settings: the user's, then the project's."""
    path = config_home() / TOOL / USER_FILE
    if (user := _read(path)) is not None:
        yield path, _parse(path, user)
    try:
        here = Path.cwd()
    except OSError:
        # It was removed.
        return
    for directory in (here, *here.parents):
        path = directory / PROJECT_FILE
        data = _read(path)
        if data is None:
            continue
        # Most projects have no such table, and need no parser.
        if f"tool.{TOOL}".encode() in data:
            tool = _parse(path, data).get("tool", {})
            settings = tool.get(TOOL, {}) if isinstance(tool, dict) else {}
            if isinstance(settings, dict):
                yield path, settings
        return


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_SIZE_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except ValueError as error:
        raise SettingsError(f"{path} is not TOML: {' '.join(str(error).split())}") from None


def _value(path: Path, key: str, value: Any, action: argparse.Action) -> Any:
    """Return the value of an option, checked as one of the command line is."""
    if action.nargs == 0:
        if not isinstance(value, bool) or action.const not in (None, True):
            raise SettingsError(f"{path}: {key} cannot be {value!a}: use true or false")
        return value
    if isinstance(value, list) and isinstance(action, argparse._AppendAction):
        return [_one(path, key, entry, action) for entry in value]
    one = _one(path, key, value, action)
    return [one] if isinstance(action, argparse._AppendAction) else one


def _one(path: Path, key: str, value: Any, action: argparse.Action) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise SettingsError(f"{path}: {key} cannot be {value!a}")
    text = str(value)
    if key in _PATHS and ("/" in text or text.endswith(_SUFFIXES)) and not text.startswith(("/", "~", DEBIAN)):
        text = str(path.parent / text)
    kind = action.type
    try:
        parsed = kind(text) if callable(kind) else text
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise SettingsError(f"{path}: {key}: {error}") from None
    if action.choices is not None and parsed not in action.choices:
        known = [str(choice) for choice in action.choices]
        raise SettingsError(f"{path}: {key}: {value!a} is not one of {', '.join(known)}{did_you_mean(text, known)}")
    return parsed


@functools.cache
def _known() -> frozenset[str]:
    """Return the options of all commands: their modules are loaded for it."""
    from snp_harness.cli.completion import grammars

    return frozenset(option.removeprefix("--") for grammar in grammars() for option in grammar.options)


def _check_known(path: Path, key: str) -> None:
    """Raise SettingsError for a key that is an option of no command."""
    known = _known()
    if key not in known:
        raise SettingsError(f"{path}: no command has an option {key!a}{did_you_mean(key, known)}")
