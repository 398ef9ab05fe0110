# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness cache`: what is in the cache, and its removal."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from snp_harness.cli.arguments import name_argument
from snp_harness.errors import EXIT_HOLDS, BrokenEnvironmentError, UsageError

if TYPE_CHECKING:
    from snp_harness.cli.arguments import Commands

#: Parts of the cache whose entries are listed one by one, and how deep; the others are one entry.
_DEPTH = {"apt": 1, "debian": 2, "edk2": 1}
_MIB = 1 << 20


def add_parser(commands: Commands) -> None:
    """Add `cache` to the command line."""
    parser = commands.add_parser("cache", allow_abbrev=False)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("show", allow_abbrev=False, help="the directory, its entries and their sizes")
    clean = actions.add_parser("clean", allow_abbrev=False, help="remove entries; they are made again when needed")
    clean.add_argument("names", metavar="NAME", type=name_argument, nargs="*", help="as show prints it, or its begin")
    clean.add_argument("--all", action="store_true", help="remove everything")
    clean.add_argument("--dry-run", action="store_true", help="print what would be removed")


def execute(options: argparse.Namespace) -> int:
    """Print or remove entries and return the exit status. Raises HarnessError."""
    from snp_harness.debian.cache import cache_root

    root = cache_root()
    found = dict(entries(root))
    if options.action == "show":
        print(root)
        for name, path in found.items():
            print(f"{size(path) / _MIB:>10.1f} MiB  {name}")
        return EXIT_HOLDS
    for name in _chosen(options, found):
        freed = size(found[name])
        if not options.dry_run:
            remove_unused(found[name])
        print(f"{'would remove' if options.dry_run else 'removed'} {name}: {freed / _MIB:.1f} MiB")
    return EXIT_HOLDS


def entries(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield name and directory of what can be removed by itself."""
    for part in _directories(root):
        found = [part]
        for _ in range(_DEPTH.get(part.name, 0)):
            found = [path for directory in found for path in _directories(directory)]
        yield from ((str(path.relative_to(root)), path) for path in found)


def size(path: Path) -> int:
    """Return the bytes that a directory takes on the disk; a file with two names counts once."""
    seen: dict[tuple[int, int], int] = {}
    for directory, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.lstat(os.path.join(directory, name))  # noqa: PTH118
                seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def remove_unused(path: Path) -> None:
    """Remove a directory. Raises BrokenEnvironmentError if a process holds a lock in it."""
    from snp_harness.debian.cache import remove

    with contextlib.ExitStack() as stack:
        for lock in (path.with_name(f"{path.name}.lock"), *path.rglob("*lock*")):
            if lock.is_file() and not lock.is_symlink():
                file = stack.enter_context(lock.open("a"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise BrokenEnvironmentError(f"{path} is in use", "wait until the other process ends") from None
        remove(path)
    if path.exists():
        raise BrokenEnvironmentError(f"{path} could not be removed", "check its permissions")


def _chosen(options: argparse.Namespace, found: dict[str, Path]) -> list[str]:
    if options.all == bool(options.names):
        raise UsageError("nothing is named", "name entries of `snp-harness cache show`, or use --all")
    if options.all:
        return list(found)
    chosen: list[str] = []
    for given in options.names:
        name = given.rstrip("/")
        matching = [entry for entry in found if entry == name or entry.startswith(f"{name}/")]
        if not matching:
            from snp_harness.nearest import nearest

            near = nearest(name, [part for entry in found for part in (entry, *_begins(entry))])
            mean = f"did you mean {near}? " if near else ""
            raise UsageError(f"{given!a} is not in the cache", f"{mean}name an entry of `snp-harness cache show`")
        chosen += matching
    return list(dict.fromkeys(chosen))


def _begins(entry: str) -> list[str]:
    return [str(parent) for parent in Path(entry).parents][:-1]


def _directories(path: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink())
    return []
