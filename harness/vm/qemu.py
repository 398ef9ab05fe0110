# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding a QEMU system emulator and its version: one that is installed, named, or unpacked with its own libraries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.errors import HarnessError
from harness.vm.errors import NotQemuError, QemuMissingError, QemuTooOldError

PROGRAM = "qemu-system-x86_64"
#: Names a QEMU (or the directory of an unpacked one) when no option does.
VARIABLE = "SNP_HARNESS_QEMU"
#: Debian 12's. Older ones lack what the emulated SNP host needs of TCG's SVM (LA57 with nested paging among it).
MINIMUM = (7, 2)
VERSION_TIMEOUT_S = 10.0

_VERSION = re.compile(r"QEMU emulator version (\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")
_INSTALL = "apt-get install qemu-system-x86, or name another with --qemu"
#: Beside QEMU first: QEMU finds its modules relative to the program that the kernel started, the loader.
_LOADERS = tuple(f"{place}/ld-linux-x86-64.so.2" for place in ("bin", "lib64", "lib/x86_64-linux-gnu"))
_DATA = ("share/qemu", "share/seabios", "lib/ipxe/qemu")
_LIBRARIES = ("lib/x86_64-linux-gnu", "lib64", "lib")


@dataclass(frozen=True)
class QemuBinary:
    """A QEMU that can be started: argv is [*prefix, *arguments].

    path: the emulator. prefix: argv's start. One that is unpacked with its own libraries (its directory tree holds a
    dynamic loader) is started through that loader, so that it needs nothing of the system it runs on.
    """

    path: Path
    prefix: tuple[str, ...]

    @classmethod
    def find(cls, path: Path | None = None) -> QemuBinary:
        """The QEMU at `path` (file, or directory it was unpacked to), else what SNP_HARNESS_QEMU names, else PATH's.

        Checks that it runs and is not too old. Raises QemuMissingError, NotQemuError or QemuTooOldError.
        """
        binary = cls.locate(path)
        binary.check()
        return binary

    @classmethod
    def locate(cls, path: Path | None = None) -> QemuBinary:
        """As `find`, without starting it: the version is checked later. Raises QemuMissingError."""
        if path is None and (named := os.environ.get(VARIABLE)):
            path = Path(named)
        if path is None:
            found = shutil.which(PROGRAM)
            if found is None:
                raise QemuMissingError(f"{PROGRAM} is not installed", _INSTALL)
            path = Path(found)
        if path.is_dir():
            path = _in_directory(path)
        if not path.is_file():
            raise QemuMissingError(f"QEMU {path} not found", _INSTALL)
        if not os.access(path, os.X_OK):
            raise QemuMissingError(f"QEMU {path} cannot be executed", f"chmod +x it, or {_INSTALL}")
        path = path.absolute()
        return cls(path, _prefix(path))

    @cached_property
    def version_text(self) -> str:
        """The first line of `-version`. Raises QemuMissingError, NotQemuError."""
        try:
            done = subprocess.run(
                [*self.prefix, "-version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=VERSION_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotQemuError(f"{self.path} -version did not answer in {VERSION_TIMEOUT_S:g} s", _INSTALL) from None
        except OSError as error:
            raise QemuMissingError(f"QEMU {self.path} cannot be executed: {error.strerror}", _INSTALL) from None
        first = done.stdout[:4096].decode(errors="replace").partition("\n")[0].strip()
        if done.returncode != 0 or not _VERSION.match(first):
            said = (done.stderr[-512:] or done.stdout[:512]).decode(errors="replace").split("\n")[0].strip()
            raise NotQemuError(f"{self.path} is not a QEMU that runs here: -version says {said[:200]!r}", _INSTALL)
        return first

    @cached_property
    def version(self) -> tuple[int, int, int]:
        """Major, minor, micro."""
        match = _VERSION.match(self.version_text)
        assert match is not None
        major, minor, micro = match.groups(default="0")
        return int(major), int(minor), int(micro)

    def check(self) -> None:
        """Raises QemuTooOldError below MINIMUM, and what `version_text` raises."""
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

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.version))}, {self.path}"


def check_version(version: tuple[int, int, int], name: str) -> None:
    """Raises QemuTooOldError if the QEMU called `name` is older than MINIMUM."""
    if version[:2] < MINIMUM:
        raise QemuTooOldError(
            f"QEMU {'.'.join(map(str, version))} ({name}) is too old",
            f"{'.'.join(map(str, MINIMUM))} or newer is needed: {_INSTALL}",
        )


def _in_directory(directory: Path) -> Path:
    """The emulator in the directory that a package was unpacked to."""
    for relative in (f"usr/bin/{PROGRAM}", f"bin/{PROGRAM}", PROGRAM):
        if (directory / relative).is_file():
            return directory / relative
    raise QemuMissingError(f"no {PROGRAM} in {directory}", "name the directory that QEMU was unpacked to, or its file")


def _prefix(path: Path) -> tuple[str, ...]:
    """argv's start. A tree with a dynamic loader, other than the system's own, brings its libraries and firmware."""
    root = path.parent.parent
    loader = next((root / name for name in _LOADERS if (root / name).exists()), None)
    if path.parent.name != "bin" or loader is None or root in (Path("/"), Path("/usr")):
        return (str(path),)
    libraries = ":".join(str(root / name) for name in _LIBRARIES if (root / name).is_dir())
    data = [argument for name in _DATA if (root / name).is_dir() for argument in ("-L", str(root / name))]
    # The machine's cache of libraries would give it the machine's.
    return (str(loader), "--inhibit-cache", "--library-path", libraries, str(path), *data)
