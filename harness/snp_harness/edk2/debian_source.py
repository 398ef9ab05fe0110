# SPDX-License-Identifier: GPL-2.0-or-later
"""edk2 from Debian's source package, without root and without Debian's build tools.

The suite's signed Sources index contains the names and SHA-256 of the two tarballs, so the .dsc file with the same data
is not needed. The package is unpacked into a git repository of the cache, and its patches are applied there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import (
    Entries,
    Progress,
    cache_root,
    file_digest,
    locked,
    remove,
    silent,
    version_of,
    writing,
)
from snp_harness.debian.firmware import with_apt
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import _PACKAGE, AptRoot, Archive, Mirror, _checked, verified
from snp_harness.edk2.archive import Member, members
from snp_harness.edk2.git import Store
from snp_harness.edk2.series import quilt_series
from snp_harness.errors import FetchError

_PACKAGE_NAME = "edk2"
_ENTRY_NAME = "edk2-source"
_SUMS = "SHA256SUMS"
_URI_LINE = re.compile(
    r"'(?P<uri>[^'\s]+)' (?P<file>[A-Za-z0-9][^\s/]*\.tar\.xz) (?P<size>\d+) SHA256:(?P<hash>[0-9a-f]{64})"
)
_UPSTREAM_TAR = re.compile(r"edk2_(?P<upstream>20\d\d\.\d\d)[^_]*\.orig\.tar\.xz")
_DEBIAN_TAR = re.compile(r"edk2_(?P<version>[^_]+)\.debian\.tar\.xz")
_PATCHES = "patches/"
_MAX_PATCHES_BYTES = 64 << 20


class SourceAptRoot(AptRoot):
    """A private apt for the source packages of a suite."""

    entry = "deb-src [signed-by="
    suffix = "-source"

    def tarballs(self, package: str) -> tuple[Archive, Archive]:
        """Return upstream's and Debian's tarball of the suite's present source package. Call update() before."""
        _checked(_PACKAGE, package, "package")
        return self._tarball(package, "--tar-only"), self._tarball(package, "--diff-only")

    def download_tarballs(self, package: str, tarballs: tuple[Archive, Archive], into: Path) -> None:
        """Download both into a directory, and check each against the index; raises FetchError."""
        for tarball, option in zip(tarballs, ("--tar-only", "--diff-only"), strict=True):
            command = ("source", "--download-only", option, package)
            self._download(command, tarball.file_name, tarball.size, into)
            verified(into / tarball.file_name, tarball)

    def _tarball(self, package: str, option: str) -> Archive:
        result = self._apt_get("source", "--print-uris", option, package)
        if result.status and "Unable to find a source package" in result.stderr:
            raise FetchError(f"{self.suite} has no source package {package}", "check the suite's name")
        self._check(result, f"cannot find the source package {package} in {self.suite}")
        lines = [line.strip() for line in result.stdout.splitlines() if line.startswith("'")]
        match = _URI_LINE.fullmatch(lines[0]) if len(lines) == 1 else None
        if match is None:
            raise FetchError(
                f"apt describes no tarball of {package} with a strong hash: {lines!a:.200}", "use another mirror"
            )
        return Archive(package, "", match["file"], int(match["size"]), "SHA256", match["hash"])


@dataclass(frozen=True, slots=True)
class SourcePackage:
    """Debian's source package in the cache. upstream: as 202502. files: name and SHA-256 of the two tarballs."""

    suite: str
    version: str
    upstream: int
    directory: Path
    files: tuple[tuple[str, str], tuple[str, str]]

    @classmethod
    def load(cls, suite: str, directory: Path) -> SourcePackage:
        """Return the package in a directory of the cache; raises FetchError if it is not complete."""
        try:
            lines = (directory / _SUMS).read_text(encoding="ascii").splitlines()
            (digest, orig), (debian_digest, debian) = (line.split() for line in lines)
        except (OSError, ValueError):
            raise FetchError(
                f"{directory} contains no source package", "remove the directory and fetch it again"
            ) from None
        match = _UPSTREAM_TAR.fullmatch(orig)
        if match is None:
            raise FetchError(f"{orig} is not a source of edk2", "use another suite")
        upstream = int(match["upstream"].replace(".", ""))
        return cls(suite, version_of(directory), upstream, directory, ((orig, digest), (debian, debian_digest)))

    @property
    def name(self) -> str:
        """Its description for messages."""
        return f"debian:{self.suite} {self.version}"


def cached_source(suite: str) -> SourcePackage | None:
    """Return the source package of a suite that was fetched last, None if none was. Needs no network."""
    entry = Entries(package_directory(suite, _ENTRY_NAME)).current()
    return None if entry is None else SourcePackage.load(suite, entry)


def fetch_source(suite: str, progress: Progress = silent, *, mirror: Mirror | None = None) -> SourcePackage:
    """Fetch a suite's present source package (some 30 MB); raises FetchError.

    Without a network the one fetched last is used, with a warning to progress.
    """

    def fetch(apt: SourceAptRoot, entries: Entries) -> Path:
        tarballs = apt.tarballs(_PACKAGE_NAME)
        match = _DEBIAN_TAR.fullmatch(tarballs[1].file_name)
        if match is None or _UPSTREAM_TAR.fullmatch(tarballs[0].file_name) is None:
            raise FetchError(f"{tarballs[1].file_name} is not a source of edk2", "use another suite")
        version = match["version"]
        if entries.find(version) is not None:
            progress(f"{suite}: edk2 {version} is in the cache")
            return entries.select(version)
        with entries.adding(version) as directory:
            apt.download_tarballs(_PACKAGE_NAME, tarballs, directory)
            with writing(directory):
                text = "".join(f"{tarball.digest}  {tarball.file_name}\n" for tarball in tarballs)
                (directory / _SUMS).write_text(text, encoding="ascii")
        progress(f"{suite}: source of edk2 {version} fetched")
        return entries.select(version)

    return SourcePackage.load(suite, with_apt(SourceAptRoot, suite, _ENTRY_NAME, fetch, progress, mirror))


def debian_store() -> Store:
    """Return the repository of Debian's sources."""
    return Store.open(cache_root() / "edk2" / "stores" / "debian")


def debian_commit(package: SourcePackage, progress: Progress = silent) -> str:
    """Return the commit of a source package with Debian's patches, made if it is missing; raises FetchError.

    The tarballs are checked against the index's hashes before they are read.
    """
    store = debian_store()
    reference = f"refs/debian/{hashlib.sha256(repr(package.files).encode()).hexdigest()[:32]}"
    with locked(store.directory.with_name("debian.lock"), progress):
        commit = store.resolve(reference)
        if commit is None:
            progress(f"{package.name}: unpacking")
            commit = _import(store, package)
            store.name(reference, commit)
    return commit


def _import(store: Store, package: SourcePackage) -> str:
    orig, debian = (_intact(package.directory / name, digest) for name, digest in package.files)
    patches = {member.path: member.data for member in _patches(debian)}
    commit = store.import_files(members(orig), f"edk2 {package.upstream}\n")
    series = patches.get(f"{_PATCHES}series", b"").decode(errors="replace")
    with store.editing(store.tree(commit)) as editor:
        for name in quilt_series(series):
            content = patches.get(_PATCHES + name)
            if content is None:
                raise FetchError(f"{debian.name} lists the patch {name} but does not contain it", "use another suite")
            editor.apply(content, name)
        return store.commit(editor.tree(), f"{package.name}: Debian's patches\n", (commit,))


def _patches(debian: Path) -> Iterator[Member]:
    size = 0
    for member in members(debian, top="debian"):
        if member.path.startswith(_PATCHES):
            size += len(member.data)
            if size > _MAX_PATCHES_BYTES:
                raise FetchError(
                    f"{debian.name} has more than {_MAX_PATCHES_BYTES >> 20} MiB of patches", "use another suite"
                )
            yield member


def _intact(path: Path, digest: str) -> Path:
    """Return the file if it still has the fetched contents; otherwise remove it, so that it is fetched again."""
    try:
        found = file_digest(path)
    except OSError as error:
        raise FetchError(f"cannot read {path}: {error.strerror}", "remove its directory and fetch it again") from None
    if found != digest:
        remove(path.parent)
        raise FetchError(f"{path} is damaged: its hash is not the index's", "it was removed: fetch it again")
    return path
