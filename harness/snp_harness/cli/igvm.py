# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness igvm`: show an IGVM file, or write a changed copy of one."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import path_argument
from snp_harness.defaults import PROGRAM
from snp_harness.errors import EXIT_HOLDS, BrokenEnvironmentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snp_harness.cli.arguments import Commands
    from snp_harness.svsm.igvm import IgvmFile
    from snp_harness.svsm.igvm_inject import Injection

EPILOG = "exit status: 0 done, 2 usage or a file that cannot be used, 128 and up: broken environment"


def add_parser(commands: Commands) -> None:
    """Add `igvm` and its own commands to the command line."""
    parser = commands.add_parser("igvm", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="print the contents", epilog=EPILOG, allow_abbrev=False)
    show.add_argument("file", metavar="FILE", type=path_argument)
    show.add_argument("--json", action="store_true", help="print JSON")
    inject = actions.add_parser(
        "inject",
        usage=f"{PROGRAM} igvm inject [options] FILE",
        help="write a copy with Alternate Injection on or off, or with another firmware",
        epilog=EPILOG,
        allow_abbrev=False,
    )
    inject.add_argument("file", metavar="FILE", type=path_argument, help="it is not changed")
    inject.add_argument(
        "--alternate-injection",
        action=argparse.BooleanOptionalAction,
        help="whether the SVSM requests it from the hypervisor; default: as in FILE",
    )
    inject.add_argument(
        "--console-port",
        metavar="P",
        type=_port,
        help="I/O port of the SVSM's console, in hexadecimal: 3f8, 2f8, 3e8 or 2e8 (COM1 to COM4)",
    )
    inject.add_argument(
        "--firmware", metavar="F", type=path_argument, help="replace the firmware that is in FILE by this image"
    )
    inject.add_argument(
        "--out",
        metavar="OUT",
        type=path_argument,
        help="the copy; default: FILE with .altinj or .no-altinj, or .copy, before .igvm",
    )
    inject.add_argument("--drop-id-block", action="store_true", help="omit the ID block for SEV-SNP from the copy")
    inject.add_argument("--json", action="store_true", help="print the changes as JSON")


def _port(text: str) -> int:
    from snp_harness.svsm.igvm_inject import CONSOLE_PORTS

    ports = {f"{port:x}": port for port in CONSOLE_PORTS}
    try:
        return ports[text.lower().removeprefix("0x")]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(ports)}") from None


def execute(options: argparse.Namespace) -> int:
    """Show or copy the file, and return the exit status. Raises HarnessError."""
    return _show(options) if options.action == "show" else _inject(options)


def _show(options: argparse.Namespace) -> int:
    from snp_harness.svsm.igvm import IgvmFile
    from snp_harness.svsm.igvm_show import to_json
    from snp_harness.svsm.igvm_text import to_text

    file = IgvmFile.open(options.file)
    if options.json:
        print(json.dumps(to_json(file), indent=2))
    else:
        print("\n".join(to_text(file)))
    return EXIT_HOLDS


def _inject(options: argparse.Namespace) -> int:
    from snp_harness.firmware.split import is_same_file
    from snp_harness.svsm.igvm import IgvmFile

    source: Path = options.file
    wanted = (options.alternate_injection, options.console_port, options.firmware)
    if wanted == (None, None, None) and not options.drop_id_block:
        hint = "use --alternate-injection, --console-port, --firmware or --drop-id-block"
        raise UsageError("no change is requested", hint)
    out: Path = options.out or default_name(source, options.alternate_injection)
    if is_same_file(out, source):
        raise UsageError(f"{out} is the input file, which is never changed", "name another file with --out")
    file = IgvmFile.open(source)
    changes: list[str] = []
    warnings: list[str] = []
    for step in _steps(options):
        done = step(file)
        changes = [change for change in changes if not change.startswith(("launch digest", "checksum"))]
        changes += [change for change in done.changes if change not in changes]
        warnings += [warning for warning in done.warnings if warning not in warnings]
        file = IgvmFile.parse(done.data, str(source))
    write(out, file.data)
    for warning in warnings:
        print(f"{PROGRAM}: warning: {warning}", file=sys.stderr)
    if options.json:
        print(json.dumps({"file": str(out), "changes": changes, "warnings": warnings}, indent=2))
        return EXIT_HOLDS
    print(out)
    for change in changes or ["no change was necessary"]:
        print(f"  {change}")
    return EXIT_HOLDS


def _steps(options: argparse.Namespace) -> list[Callable[[IgvmFile], Injection]]:
    """Return the changes in order. The ID block is dropped first, so that none of the others warns about it."""
    from snp_harness.firmware.image import FirmwareImage
    from snp_harness.svsm import igvm_firmware, igvm_inject

    steps: list[Callable[[IgvmFile], Injection]] = []
    if options.drop_id_block:
        steps.append(igvm_inject.drop_id_blocks)
    if options.firmware is not None:
        image = FirmwareImage.open(options.firmware).flat()
        steps.append(lambda file: igvm_firmware.replace_firmware(file, image, str(options.firmware)))
    if options.console_port is not None:
        steps.append(lambda file: igvm_inject.set_console_port(file, options.console_port))
    if options.alternate_injection is not None:
        steps.append(lambda file: igvm_inject.inject(file, alternate_injection=options.alternate_injection))
    return steps


def default_name(source: Path, alternate_injection: bool | None) -> Path:
    """Return the path of the copy without --out: it is beside the file."""
    mark = {True: "altinj", False: "no-altinj", None: "copy"}[alternate_injection]
    return source.with_name(f"{source.stem}.{mark}{source.suffix or '.igvm'}")


def write(path: Path, data: bytes) -> None:
    """Write a file completely or not at all, with the mode of a new file. Raises BrokenEnvironmentError."""
    import tempfile

    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise BrokenEnvironmentError(f"cannot write {path}: {error.strerror}", "name another file with --out") from None
