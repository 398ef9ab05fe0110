# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetches firmware of a Debian suite into the cache.

The suite's present version is fetched: a mirror keeps no older ones. Without a network the cached one is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from snp_harness.debian.cache import Entries, Progress, cache_root, locked, silent, version_of
from snp_harness.debian.firmware_names import DebianFirmware, package_directory
from snp_harness.debian.packages import AptRoot, Mirror, NoNetworkError
from snp_harness.errors import FetchError

Apt = TypeVar("Apt", bound=AptRoot)


def fetch_firmware(spec: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> Path:
    """Fetch the image of a name such as trixie or debian:sid/amdsev; returns its path in the cache.

    Raises FirmwareError for a bad name, FetchError if it is neither fetched nor cached.
    """
    source = DebianFirmware.parse(spec)
    image = fetch_package(source.suite, source.package, progress, mirror=mirror) / source.file
    if not image.is_file():
        raise FetchError(f"{source.package} of {source.suite} has no {source.file}", "use another suite")
    return image


def fetch_package(suite: str, package: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> Path:
    """Fetch a package's current version in a suite, and unpack it; returns the directory of its files.

    Raises FetchError. Without a network the version fetched last is used, with a warning to progress.
    """

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        archive = apt.candidate(package)
        cached = entries.find(archive.version) is not None
        if not cached:
            with entries.adding(archive.version) as directory:
                apt.unpack([archive], directory)
        progress(f"{suite}: {package} {archive.version} {'is in the cache' if cached else 'fetched'}")
        return entries.select(archive.version)

    return with_apt(AptRoot, suite, package, fetch, progress, mirror)


def with_apt(
    kind: type[Apt],
    suite: str,
    name: str,
    fetch: Callable[[Apt, Entries], Path],
    progress: Progress,
    mirror: Mirror | None,
) -> Path:
    """Call fetch with an up-to-date apt of the suite and the cache's entries of name, under a lock; returns its result.

    kind: AptRoot for binary packages, SourceAptRoot for sources. Without a network it returns the cached entry; raises
    FetchError if there is none.
    """
    entries = Entries(package_directory(suite, name))
    directory = cache_root() / "apt" / f"{suite}{kind.suffix}"
    apt = kind(directory, suite, mirror or Mirror.configured(), progress)
    with locked(directory.with_name(f"{directory.name}.lock"), progress):
        try:
            apt.update()
            return fetch(apt, entries)
        except NoNetworkError as error:
            entry = entries.current()
            if entry is None:
                raise
            progress(f"warning: {error.message}; using {name} {version_of(entry)} from the cache")
            return entry
