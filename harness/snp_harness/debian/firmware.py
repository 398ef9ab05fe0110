# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetches firmware of a Debian suite into the cache.

The suite's present version is fetched: a mirror keeps no older ones. Without a network the cached one is used.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from snp_harness.debian.cache import Entries, Progress, cache_root, locked, remove, silent, version_of
from snp_harness.debian.firmware_names import DebianFirmware, package_directory
from snp_harness.debian.packages import AbsentError, AptRoot, Mirror, NoNetworkError

Apt = TypeVar("Apt", bound=AptRoot)


def fetch_firmware(spec: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> Path:
    """Fetch the image of a name such as trixie or debian:sid/amdsev; returns its path in the cache.

    Of the packages that may contain it, the first that does is used.
    Raises FirmwareError for a bad name, FetchError if it is neither fetched nor cached.
    """
    source = DebianFirmware.parse(spec)
    failures = []
    for package in source.packages:
        try:
            return fetch_file(source.suite, package, source.file, progress, mirror=mirror)
        except (AbsentError, NoNetworkError) as error:
            failures.append(error)
    raise failures[0]


def fetch_file(
    suite: str, package: str, file: str, progress: Progress = silent, *, mirror: Mirror | None = None
) -> Path:
    """Fetch a package's current version in a suite, and unpack it; returns the path of one of its files.

    Raises AbsentError if the suite has no such package or the package no such file: nothing is cached then; FetchError.
    Without a network the version fetched last is used, with a warning to progress.
    """

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        archive = apt.candidate(package)
        entry = entries.find(archive.version)
        if entry is not None and (entry / file).is_file():
            progress(f"{suite}: {package} {archive.version} is in the cache")
            return entries.select(archive.version)
        if entry is not None:
            remove(entry)
        with entries.adding(archive.version) as directory:
            apt.unpack([archive], directory)
            if not (directory / file).is_file():
                raise AbsentError(f"{package} of {suite} has no {file}", "use another suite")
        progress(f"{suite}: {package} {archive.version} fetched")
        return entries.select(archive.version)

    path = with_apt(AptRoot, suite, package, fetch, progress, mirror) / file
    if not path.is_file():
        raise AbsentError(f"{package} of {suite} in the cache has no {file}", "fetch it again with a network")
    return path


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
