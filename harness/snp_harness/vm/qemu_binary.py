# SPDX-License-Identifier: GPL-2.0-or-later
"""Find a QEMU system emulator and its version: one installed, named, or unpacked with its own libraries."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from snp_harness.agent import qemu_program
from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.qemu_program import INSTALL, PROGRAM, VARIABLE, VERSION_TIMEOUT_S
from snp_harness.defaults import DEBIAN
from snp_harness.errors import HarnessError
from snp_harness.vm.qemu_errors import NotQemuError, QemuMissingError, QemuTooOldError

__all__ = ["MINIMUM", "PROGRAM", "VARIABLE", "QemuBinary", "check_version", "parse_version", "version_line"]

#: Debian 12's. Older ones lack features of TCG's SVM that the emulated SNP host needs, such as LA57 with nested paging.
MINIMUM = (7, 2)

_VERSION = re.compile(r"QEMU emulator version (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


@dataclass(frozen=True)
class QemuBinary:
    """A QEMU that can be started: argv is [*prefix, *arguments].

    path: the emulator. prefix: the start of argv. A QEMU that is unpacked with its own libraries (its directory tree
    holds a dynamic loader) is started through that loader, so that it needs no libraries of the system.
    """

    path: Path
    prefix: tuple[str, ...]

    @classmethod
    def find(cls, path: Path | None = None) -> QemuBinary:
        """Return the QEMU at `path` (file, or directory of an unpacked one), else SNP_HARNESS_QEMU's, else PATH's.

        Checks that it runs and is not too old. Raises QemuMissingError, NotQemuError or QemuTooOldError.
        """
        binary = cls.locate(path)
        binary.check()
        return binary

    @classmethod
    def locate(cls, path: Path | None = None) -> QemuBinary:
        """Find a QEMU as `find` does, without its start: the version is checked later.

        Raises QemuMissingError, and FetchError for a name such as debian:sid in SNP_HARNESS_QEMU.
        """
        try:
            return cls(*qemu_program.locate(path or environment_qemu()))
        except AgentError as error:
            raise QemuMissingError(error.message, error.hint) from None

    @cached_property
    def version_text(self) -> str:
        """Return the first line of `-version`. Raises QemuMissingError, NotQemuError."""
        try:
            status, out, said = qemu_program.version_output(self.prefix)
        except subprocess.TimeoutExpired:
            raise NotQemuError(f"{self.path} -version did not answer in {VERSION_TIMEOUT_S:g} s", INSTALL) from None
        except OSError as error:
            raise QemuMissingError(f"QEMU {self.path} cannot be executed: {error.strerror}", INSTALL) from None
        return version_line(str(self.path), status, out.decode(errors="replace"), said.decode(errors="replace"))

    @cached_property
    def version(self) -> tuple[int, int, int]:
        """Return major, minor, micro."""
        return parse_version(self.version_text)

    def check(self) -> None:
        """Raise QemuTooOldError below MINIMUM; raises as `version_text` does, too."""
        check_version(self.version, str(self.path))

    def start_check(self) -> Callable[[], None]:
        """Start `check` in a thread; the function returned waits for it, and raises what it raised."""
        raised: list[HarnessError] = []

        def check() -> None:
            try:
                self.check()
            except HarnessError as error:
                raised.append(error)

        thread = threading.Thread(target=check, name="qemu-version", daemon=True)
        thread.start()

        def finish() -> None:
            thread.join()
            if raised:
                raise raised[0]

        return finish

    @property
    def name(self) -> str:
        """Return its name in reports."""
        return str(self.path)

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.version))}, {self.name}"


def environment_qemu() -> Path | None:
    """Return the QEMU that SNP_HARNESS_QEMU names as debian:SUITE, from the cache or fetched; None if it does not."""
    named = os.environ.get(VARIABLE, "")
    if not named.startswith(DEBIAN):
        return None
    from snp_harness.debian.qemu_bundle import named_qemu

    return named_qemu(named)


def version_line(name: str, status: int, out: str, said: str) -> str:
    """Return the first line that `-version` of the QEMU called `name` printed. Raises NotQemuError."""
    first = out.partition("\n")[0].strip()
    if status != 0 or not _VERSION.match(first):
        said = (said or out[:512]).split("\n")[0].strip()
        raise NotQemuError(f"{name} is not a QEMU that runs here: -version prints {said[:200]!r}", INSTALL)
    return first


def parse_version(line: str) -> tuple[int, int, int]:
    """Return major, minor, micro of a `version_line`."""
    match = _VERSION.match(line)
    assert match is not None
    major, minor, micro = match.groups(default="0")
    return int(major), int(minor), int(micro)


def check_version(version: tuple[int, int, int], name: str) -> None:
    """Raise QemuTooOldError if the QEMU called `name` is older than MINIMUM."""
    if version[:2] < MINIMUM:
        raise QemuTooOldError(
            f"QEMU {'.'.join(map(str, version))} ({name}) is too old",
            f"{'.'.join(map(str, MINIMUM))} or newer is needed: {INSTALL}",
        )
