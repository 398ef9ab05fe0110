# SPDX-License-Identifier: GPL-2.0-or-later
"""The names of Debian's firmware, and the images in the cache. Needs no network and starts no process."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct

from snp_harness.debian.cache import Entries, cache_root, version_of
from snp_harness.errors import FirmwareError

#: (packages, image in one of them) of each flavour; the one without a name is the default. sid's ovmf is
#: empty, and depends on ovmf-generic and the others.
_FLAVOURS = {
    "": (("ovmf", "ovmf-generic"), "usr/share/ovmf/OVMF.fd"),
    "amdsev": (("ovmf-amdsev",), "usr/share/ovmf/OVMF.amdsev.fd"),
    "inteltdx": (("ovmf-inteltdx",), "usr/share/ovmf/OVMF.inteltdx.ms.fd"),
}
_SPEC = re.compile(r"(?:debian:)?(?P<suite>[a-z][a-z0-9.-]*)(?:/(?P<flavour>[a-z0-9]+))?")
#: The suites that a mirror of Debian has, and names that mean one of them.
SUITES = ("trixie", "sid", "bookworm", "forky", "bullseye", "stable", "testing", "unstable", "experimental")
#: The names in the documentation; other suites of the mirror can be named as well.
KNOWN_SOURCES = ("debian:trixie", "debian:sid/amdsev", "debian:bookworm")


class DebianFirmware(Struct, frozen=True):
    """An image of a Debian package. packages: those that may contain it. file: its path in the package."""

    suite: str
    flavour: str
    packages: tuple[str, ...]
    file: str

    @property
    def name(self) -> str:
        """The name on the command line: debian:trixie, debian:sid/amdsev."""
        return f"debian:{self.suite}/{self.flavour}" if self.flavour else f"debian:{self.suite}"

    @classmethod
    def parse(cls, spec: str) -> DebianFirmware:
        """Parse trixie or sid/amdsev, with or without a leading debian:; raises FirmwareError."""
        match = _SPEC.fullmatch(spec)
        flavour = (match["flavour"] or "") if match else ""
        if match is None or flavour not in _FLAVOURS:
            raise FirmwareError(
                f"{spec!r} does not name a firmware of Debian", f"names are like {', '.join(KNOWN_SOURCES)}"
            )
        packages, file = _FLAVOURS[flavour]
        return cls(match["suite"], flavour, packages, file)


class CachedFirmware(Struct, frozen=True):
    """An image in the cache, and the version of its package."""

    path: Path
    version: str


def cached_names() -> tuple[str, ...]:
    """Return the names of all firmware in the cache, first those of KNOWN_SOURCES in their order."""
    names = set()
    for flavour, (packages, file) in _FLAVOURS.items():
        for package in packages:
            for directory in (cache_root() / "debian").glob(f"*/{package}"):
                names.add(DebianFirmware(directory.parent.name, flavour, packages, file).name)
    order = {name: number for number, name in enumerate(KNOWN_SOURCES)}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def cached_firmware(spec: str) -> CachedFirmware | None:
    """Return the image that fetch_firmware fetched last, None if it never did; raises FirmwareError for a bad name."""
    source = DebianFirmware.parse(spec)
    for package in source.packages:
        entry = Entries(package_directory(source.suite, package)).current()
        if entry is not None and (entry / source.file).is_file():
            return CachedFirmware(entry / source.file, version_of(entry))
    return None


def package_directory(suite: str, name: str) -> Path:
    """The cache's entries of a package."""
    return cache_root() / "debian" / suite / name
