# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness configs`: the SVSM configurations that come with the harness."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import name_argument, path_argument
from snp_harness.errors import EXIT_HOLDS, BrokenEnvironmentError, UsageError

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add `configs` to the command line."""
    parser = commands.add_parser("configs", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", allow_abbrev=False, help="the names, and what each is for")
    show = actions.add_parser("show", allow_abbrev=False, help="print a configuration")
    show.add_argument("name", metavar="NAME", type=name_argument)
    copy = actions.add_parser("copy", allow_abbrev=False, help="write a configuration to a file, to change it")
    copy.add_argument("name", metavar="NAME", type=name_argument)
    copy.add_argument("file", metavar="FILE", type=path_argument, nargs="?", help="default: NAME.toml")


def execute(options: argparse.Namespace) -> int:
    """Print or copy configurations and return the exit status. Raises HarnessError."""
    from snp_harness.svsm.config_files import DEFAULT_CONFIG, shipped_configs

    if options.action == "list":
        for name, shipped in shipped_configs().items():
            default = " (default)" if name == DEFAULT_CONFIG else ""
            print(f"{name}{default}\n    {_purpose(shipped.read_text(encoding='utf-8'))}")
        return EXIT_HOLDS
    text = _shipped(options.name).read_text(encoding="utf-8")
    if options.action == "show":
        sys.stdout.write(text)
        return EXIT_HOLDS
    path: Path = options.file or Path(f"{options.name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists", "name another file, or remove it") from None
    except OSError as error:
        raise BrokenEnvironmentError(f"cannot write {path}: {error.strerror}", "name another file") from None
    print(path)
    return EXIT_HOLDS


def _shipped(name: str) -> Path:
    """Return the file of a name. Raises UsageError for one that there is not, and for a path."""
    from snp_harness.nearest import known_names
    from snp_harness.svsm.config_files import shipped_configs

    found = shipped_configs()
    if name not in found:
        raise UsageError(f"no configuration is named {name!a}", known_names(name, found))
    return found[name]


def _purpose(text: str) -> str:
    """Return the comment at the begin of a configuration, without the line of the licence."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "SPDX-License-Identifier" not in line:
            lines.append(line.lstrip("# "))
    return " ".join(lines)
