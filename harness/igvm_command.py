# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness igvm`: IGVM files shown and changed. Grammar and what it does; see harness/cli.py for the imports."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import EXIT_HOLDS, BrokenEnvironmentError
from harness.options import PROGRAM, path_argument

if TYPE_CHECKING:
    from harness.options import Commands

EPILOG = "exit status: 0 done, 2 usage or a file that cannot be used, 128 and up: broken environment"


def add_parser(commands: Commands) -> None:
    """Add `igvm` and its own commands to the command line."""
    parser = commands.add_parser(
        "igvm", help="show an IGVM file, or switch Alternate Injection in a copy", allow_abbrev=False
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print what is in it", epilog=EPILOG, allow_abbrev=False)
    show.add_argument("file", metavar="FILE", type=path_argument)
    show.add_argument("--json", action="store_true", help="as JSON")
    inject = actions.add_parser(
        "inject", help="write a copy with Alternate Injection on or off", epilog=EPILOG, allow_abbrev=False
    )
    inject.add_argument("file", metavar="FILE", type=path_argument, help="only read")
    inject.add_argument(
        "--alternate-injection",
        action=argparse.BooleanOptionalAction,
        required=True,
        help="what the SVSM shall ask the hypervisor for",
    )
    inject.add_argument(
        "--out", metavar="F", type=path_argument, help="the copy; default: FILE with .altinj or .no-altinj before .igvm"
    )
    inject.add_argument("--drop-id-block", action="store_true", help="leave the ID block for SEV-SNP out of the copy")
    inject.add_argument("--json", action="store_true", help="what was changed, as JSON")


def execute(options: argparse.Namespace) -> int:
    """Do what the command line says; the exit status."""
    return _show(options) if options.action == "show" else _inject(options)


def _show(options: argparse.Namespace) -> int:
    from harness.svsm.igvm import IgvmFile
    from harness.svsm.igvm_show import to_json, to_text

    file = IgvmFile.open(options.file)
    if options.json:
        print(json.dumps(to_json(file), indent=2))
    else:
        print("\n".join(to_text(file)))
    return EXIT_HOLDS


def _inject(options: argparse.Namespace) -> int:
    from harness.errors import UsageError
    from harness.svsm.igvm import IgvmFile
    from harness.svsm.igvm_inject import inject

    source: Path = options.file
    out: Path = options.out or default_name(source, alternate_injection=options.alternate_injection)
    if out.exists() and out.samefile(source):
        raise UsageError(f"{out} is the file itself", "name another with --out: the original is never changed")
    done = inject(
        IgvmFile.open(source),
        alternate_injection=options.alternate_injection,
        drop_id_block=options.drop_id_block,
    )
    write(out, done.data)
    for warning in done.warnings:
        print(f"{PROGRAM}: warning: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps({"file": str(out), "changes": done.changes, "warnings": done.warnings}, indent=2))
        return EXIT_HOLDS
    print(out)
    for change in done.changes or ("nothing had to be changed",):
        print(f"  {change}")
    return EXIT_HOLDS


def default_name(source: Path, *, alternate_injection: bool) -> Path:
    """Where the copy goes when nothing is said: beside the file."""
    mark = "altinj" if alternate_injection else "no-altinj"
    return source.with_name(f"{source.stem}.{mark}{source.suffix or '.igvm'}")


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises BrokenEnvironmentError."""
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise BrokenEnvironmentError(f"cannot write {path}: {error.strerror}", "name another file with --out") from None
