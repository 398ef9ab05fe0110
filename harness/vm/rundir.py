# SPDX-License-Identifier: GPL-2.0-or-later
"""The directory that a run leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from harness import __version__
from harness.errors import UsageError

DEFAULT_PARENT = Path("runs")
LATEST = "latest"
COMMAND_LINE = "command-line.txt"
SERIAL = "serial.log"
SVSM = "svsm.log"
STDERR = "qemu-stderr.log"
HOST_LOG = "host.log"
TRACE = "trace.log"
ROM = "snp.rom"
TIMELINE = "timeline.jsonl"
SECOND_TIMELINE = "timeline-qemu.jsonl"
VERDICT = "verdict.json"
ENVIRONMENT = "environment.json"
TRACEBACK = "traceback.txt"
#: All that a run writes.
FILES = (
    COMMAND_LINE,
    SERIAL,
    SVSM,
    STDERR,
    HOST_LOG,
    TRACE,
    ROM,
    TIMELINE,
    SECOND_TIMELINE,
    VERDICT,
    ENVIRONMENT,
    TRACEBACK,
)


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A directory of one run, readable by its owner only. path: absolute."""

    path: Path

    @classmethod
    def create(cls, out: Path | None, platform_name: str, parent: Path = DEFAULT_PARENT) -> RunDirectory:
        """The directory `out`, or a new one in `parent`, named by time and platform; `parent`/latest points to it.

        `out` may exist if it is empty or holds an earlier run, which is replaced. Raises UsageError.
        """
        try:
            return cls(_take(out) if out is not None else _make(parent, platform_name))
        except OSError as error:
            raise UsageError(
                f"cannot make the run directory {error.filename}: {error.strerror}", "name another with --out"
            ) from None

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.path / name

    def open_binary(self, name: str) -> BinaryIO:
        """Open a file for writing."""
        return self.file(name).open("wb")

    def write_json(self, name: str, data: object) -> None:
        """Write a JSON file, whole or not at all."""
        self.write_text(name, json.dumps(data, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        temporary = self.file(f".{name}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.file(name))

    def write_environment(self, **facts: Any) -> None:
        """Record what the run depended on: versions of harness, Python and kernel, and what the caller adds."""
        environment: dict[str, Any] = {
            "snp_harness": __version__,
            "python": platform.python_version(),
            "kernel": os.uname().release,
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "argv": sys.argv,
        }
        self.write_json(ENVIRONMENT, environment | facts)


def _take(path: Path) -> Path:
    """Use the directory that the user named."""
    path = path.absolute()
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory", "name another with --out") from None
        present = {entry.name for entry in path.iterdir()}
        foreign = sorted(present - set(FILES) - {f".{name}.new" for name in FILES})
        if foreign:
            raise UsageError(
                f"{path} holds other files ({foreign[0]})", "name a new or empty directory with --out"
            ) from None
        for name in present:
            (path / name).unlink()
    return path


def _make(parent: Path, platform_name: str) -> Path:
    """A directory of its own, also when several runs start in the same second."""
    parent = parent.absolute()
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{platform_name}"
    number = 1
    while True:
        path = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
            continue
        _point_latest(parent, path)
        return path


def _point_latest(parent: Path, path: Path) -> None:
    """Replace the link at once; where something else has its name, or links cannot be, there is none."""
    link = parent / LATEST
    if link.exists() and not link.is_symlink():
        return
    temporary = parent / f".{path.name}.link"
    with contextlib.suppress(OSError):
        temporary.symlink_to(path.name)
        temporary.replace(link)
