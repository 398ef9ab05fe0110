# SPDX-License-Identifier: GPL-2.0-or-later
"""Firmware from Debian, by suite, into the cache.

The suite's version of the day is fetched: a mirror keeps no older ones. Without network what is cached is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.firmware.cache import Entries, Progress, cache_root, locked, remove, version_of
from harness.firmware.debian import AptRoot, Mirror, NoNetworkError, unpack
from harness.firmware.errors import FetchError, FirmwareError

#: (package, image in it) of each flavour; the one without a name is the package that everybody uses.
_FLAVOURS = {
    "": ("ovmf", "usr/share/ovmf/OVMF.fd"),
    "amdsev": ("ovmf-amdsev", "usr/share/ovmf/OVMF.amdsev.fd"),
}
_SPEC = re.compile(r"(?:debian:)?(?P<suite>[a-z][a-z0-9.-]*)(?:/(?P<flavour>[a-z0-9]+))?")
#: What the documentation names; any other suite of the mirror may be asked for.
KNOWN_SOURCES = ("debian:trixie", "debian:sid/amdsev", "debian:bookworm")


def silent(_text: str) -> None:
    """A progress callback that says nothing."""


@dataclass(frozen=True, slots=True)
class DebianFirmware:
    """An image of a Debian package. file: its path in the package."""

    suite: str
    flavour: str
    package: str
    file: str

    @property
    def name(self) -> str:
        """The name that users give: debian:trixie, debian:sid/amdsev."""
        return f"debian:{self.suite}/{self.flavour}" if self.flavour else f"debian:{self.suite}"

    @classmethod
    def parse(cls, spec: str) -> DebianFirmware:
        """trixie, sid/amdsev, with or without debian: before; raises FirmwareError."""
        match = _SPEC.fullmatch(spec)
        flavour = (match["flavour"] or "") if match else ""
        if match is None or flavour not in _FLAVOURS:
            raise FirmwareError(f"{spec!r} names no firmware of Debian", f"names are like {', '.join(KNOWN_SOURCES)}")
        package, file = _FLAVOURS[flavour]
        return cls(match["suite"], flavour, package, file)


@dataclass(frozen=True, slots=True)
class CachedFirmware:
    """An image in the cache, and the version of the package that it is from."""

    path: Path
    version: str


def cached_names() -> tuple[str, ...]:
    """The names of all firmware in the cache, those of KNOWN_SOURCES first and in their order."""
    names = set()
    for flavour, (package, file) in _FLAVOURS.items():
        for directory in (cache_root() / "debian").glob(f"*/{package}"):
            names.add(DebianFirmware(directory.parent.name, flavour, package, file).name)
    order = {name: number for number, name in enumerate(KNOWN_SOURCES)}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def cached_firmware(spec: str) -> CachedFirmware | None:
    """What fetch_firmware has fetched last, None if nothing; raises FirmwareError for a bad name. Needs no network."""
    source = DebianFirmware.parse(spec)
    entry = Entries(package_directory(source.suite, source.package)).current()
    if entry is None or not (entry / source.file).is_file():
        return None
    return CachedFirmware(entry / source.file, version_of(entry))


def fetch_firmware(spec: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> Path:
    """Fetch the image that a name such as trixie or debian:sid/amdsev stands for; returns its path in the cache.

    Raises FirmwareError for a bad name, FetchError if it cannot be had.
    """
    source = DebianFirmware.parse(spec)
    image = fetch_package(source.suite, source.package, progress, mirror=mirror) / source.file
    if not image.is_file():
        raise FetchError(f"{source.package} of {source.suite} has no {source.file}", "use another suite")
    return image


def fetch_package(suite: str, package: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> Path:
    """Fetch a package's current version in a suite, and unpack it; returns the directory of its files.

    Raises FetchError. Without network the version fetched last is used, and progress is told so.
    """

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        archive = apt.candidate(package)
        if entries.find(archive.version) is not None:
            progress(f"{suite}: {package} {archive.version} is in the cache")
            return entries.select(archive.version)
        with entries.adding(archive.version) as directory:
            downloads = directory / ".download"
            (deb,) = apt.download([archive], downloads)
            unpack(deb, directory)
            remove(downloads)
        progress(f"{suite}: {package} {archive.version} fetched")
        return entries.select(archive.version)

    return with_apt(suite, package, fetch, progress, mirror)


def with_apt(
    suite: str, name: str, fetch: Callable[[AptRoot, Entries], Path], progress: Progress, mirror: Mirror | None
) -> Path:
    """Run fetch with an up-to-date apt of the suite and the cache's entries of name, alone; returns what it returns.

    Without network it returns the entry that is there; raises FetchError if there is none.
    """
    entries = Entries(package_directory(suite, name))
    apt = AptRoot(cache_root() / "apt" / suite, suite, mirror or Mirror.configured(), progress)
    with locked(cache_root() / "apt" / f"{suite}.lock", progress):
        try:
            apt.update()
            return fetch(apt, entries)
        except NoNetworkError as error:
            entry = entries.current()
            if entry is None:
                raise
            progress(f"warning: {error.message}; using {name} {version_of(entry)} from the cache")
            return entry


def package_directory(suite: str, name: str) -> Path:
    """Where the cache has the versions of a package."""
    return cache_root() / "debian" / suite / name
