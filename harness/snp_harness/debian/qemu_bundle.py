# SPDX-License-Identifier: GPL-2.0-or-later
"""A QEMU of another Debian suite, with its own libraries, C library and loader."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import Entries, Progress, silent, writing
from snp_harness.debian.firmware import with_apt
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import AptRoot, Archive, Mirror
from snp_harness.debian.program import run
from snp_harness.errors import FetchError

#: Begins a name that refers to a package of a Debian suite.
_NAME_PREFIX = "debian:"
_PACKAGES = ("qemu-system-x86",)
_NAME = "qemu-bundle"
_PROGRAM = "usr/bin/qemu-system-x86_64"
_LOADER = "ld-linux-x86-64.so.2"
LIBRARY_DIRECTORIES = (
    "usr/lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/lib",
    "lib",
)
#: QEMU's own data, and those in other packages of Debian, which QEMU searches by absolute paths.
_DATA_DIRECTORIES = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
_VERSION_FILE = "qemu-version"
_START_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class QemuBundle:
    """An unpacked QEMU. version: QEMU's own, "11.1.3". directory: the root that it is unpacked in."""

    version: str
    directory: Path

    @classmethod
    def load(cls, directory: Path) -> QemuBundle:
        """Return the bundle in a directory of the cache; raises FetchError if it is not complete."""
        try:
            version = (directory / _VERSION_FILE).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise FetchError(
                f"{directory} contains no complete QEMU", "remove the directory and fetch it again"
            ) from None
        return cls(version, directory)


def cached_qemu(suite: str) -> QemuBundle | None:
    """Return the QEMU of a suite that was fetched last, None if none was. Needs no network."""
    entry = Entries(package_directory(suite, _NAME)).current()
    return None if entry is None else QemuBundle.load(entry)


def named_qemu(spec: str, progress: Progress = silent) -> Path | None:
    """Return the QEMU that a name such as debian:sid refers to, None if `spec` is a path; raises FetchError."""
    if not spec.startswith(_NAME_PREFIX):
        return None
    return qemu_bundle(spec.removeprefix(_NAME_PREFIX), progress).directory


def qemu_bundle(suite: str, progress: Progress = silent) -> QemuBundle:
    """Return the QEMU of a suite from the cache, or fetch it; raises FetchError."""
    return cached_qemu(suite) or fetch_qemu(suite, progress)


def fetch_qemu(suite: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> QemuBundle:
    """Fetch a suite's current QEMU for x86 and its dependencies (45 MB, unpacked 200 MB); raises FetchError.

    Without a network the one fetched last is used, with a warning to progress.
    """
    if platform.machine() != "x86_64":
        raise FetchError(f"Debian's amd64 QEMU does not run on {platform.machine()}", "name a QEMU with --qemu")

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        archives = apt.closure(_PACKAGES)
        version = _closure_version(archives)
        cached = entries.find(version) is not None
        if not cached:
            with entries.adding(version) as directory:
                apt.unpack(archives, directory)
                _finish(directory)
        progress(f"{suite}: QEMU {version} {'is in the cache' if cached else 'fetched'}")
        return entries.select(version)

    return QemuBundle.load(with_apt(AptRoot, suite, _NAME, fetch, progress, mirror))


def _closure_version(archives: Sequence[Archive]) -> str:
    """Identifies a bundle: it changes with each of its packages."""
    qemu = next((archive.version for archive in archives if archive.name == _PACKAGES[0]), None)
    if qemu is None:
        raise FetchError(f"apt resolves {_PACKAGES[0]} without {_PACKAGES[0]}", "use another mirror")
    digests = "".join(sorted(archive.digest for archive in archives))
    return f"{qemu}+{hashlib.sha256(digests.encode()).hexdigest()[:12]}"


def _finish(directory: Path) -> None:
    """Make the unpacked files runnable, and check that they run without the machine's libraries; raises FetchError."""
    loader = find_loader(directory)
    with writing(directory):
        # QEMU finds its modules relative to the running program, which is the loader: so the loader is put beside QEMU.
        shutil.copy2(loader, directory / "usr" / "bin" / _LOADER)
    prefix = _argv_prefix(directory)
    program = prefix.index(str(directory / _PROGRAM))
    libraries = run((*prefix[:program], "--list", prefix[program]), timeout_s=_START_TIMEOUT_S, env={})
    foreign = [
        line.strip()
        for line in libraries.stdout.splitlines()
        if "not found" in line or ("=> /" in line and f"=> {directory}/" not in line)
    ]
    if libraries.status or foreign:
        raise FetchError(
            f"the fetched QEMU lacks a library: {foreign[0] if foreign else libraries.last_words}", "use another suite"
        )
    started = run((*prefix, "--version"), timeout_s=_START_TIMEOUT_S, env={})
    match = re.search(r"QEMU emulator version (\d+\.\d+(?:\.\d+)?)", started.stdout)
    if started.status or match is None:
        raise FetchError(f"the fetched QEMU does not start: {started.last_words}", "use another suite")
    with writing(directory):
        (directory / _VERSION_FILE).write_text(match[1] + "\n", encoding="ascii")


def find_loader(directory: Path) -> Path:
    """Return the dynamic loader of unpacked packages: a link may refer to the machine's own. Raises FetchError."""
    for name in LIBRARY_DIRECTORIES:
        loader = directory / name / _LOADER
        if loader.is_file() and not loader.is_symlink():
            return loader
    raise FetchError(f"no {_LOADER} among the fetched packages", "use another suite")


def foreign_program(directory: Path, program: Path, loader: Path | None = None) -> tuple[str, ...]:
    """Return the beginning of argv for an unpacked program, with its packages' loader and libraries."""
    libraries = ":".join(str(directory / name) for name in LIBRARY_DIRECTORIES if (directory / name).is_dir())
    # With the machine's cache of libraries the loader would find the machine's.
    return (str(loader or find_loader(directory)), "--inhibit-cache", "--library-path", libraries, str(program))


def _argv_prefix(directory: Path) -> tuple[str, ...]:
    """Loader, library path, program and -L; QEMU's arguments follow it."""
    data = [str(directory / name) for name in _DATA_DIRECTORIES if (directory / name).is_dir()]
    return (
        *foreign_program(directory, directory / _PROGRAM, directory / "usr" / "bin" / _LOADER),
        *(argument for path in data for argument in ("-L", path)),
    )
