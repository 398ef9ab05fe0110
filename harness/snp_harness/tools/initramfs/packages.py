# SPDX-License-Identifier: GPL-2.0-or-later
"""The unpacked Debian packages of an image, in the cache: a kernel with its modules, programs and what they need.

They are fetched and unpacked without root, and kept, so that a new recipe needs no network.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import Entries, Progress, remove
from snp_harness.debian.firmware import with_apt
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import AptRoot, Archive, Mirror
from snp_harness.errors import BrokenEnvironmentError, FetchError, HarnessError

#: Names of the packages with a kernel or its modules.
_KERNEL_PREFIXES = ("linux-image-", "linux-base-", "linux-binary-", "linux-modules-")
_KERNEL_SUFFIX = "-cloud-amd64"
_VERSIONS = "package-versions"
_REQUEST = "packages-asked-for"


@dataclass(frozen=True, slots=True)
class PackageSet:
    """The packages of an image. name: of the image in the cache. what: the image in messages.

    kernel: a package; of its dependencies only those with a kernel or modules are fetched. programs: packages, fetched
    with all dependencies. dropped: directories that are removed after unpacking.
    """

    name: str
    what: str
    kernel: str
    programs: tuple[str, ...]
    dropped: tuple[str, ...] = ()

    @property
    def entries_name(self) -> str:
        """The name of the packages in the cache."""
        return f"{self.name}-packages"

    def cached(self, suite: str) -> Path | None:
        """Return the directory of the packages fetched last, None if there are none, or others are needed now."""
        packages = Entries(package_directory(suite, self.entries_name)).current()
        try:
            fits = packages is not None and (packages / _REQUEST).read_text(encoding="utf-8") == self._request()
        except OSError:
            return None
        return packages if fits else None

    def fetch(self, suite: str, progress: Progress, mirror: Mirror | None) -> Path:
        """Fetch the suite's present packages; without a network return those fetched last. Raises FetchError."""
        if platform.machine() != "x86_64":
            raise FetchError(f"Debian's amd64 programs do not run on {platform.machine()}", "use another platform")

        def fetch(apt: AptRoot, entries: Entries) -> Path:
            kernels = [archive for archive in apt.closure([self.kernel]) if _is_kernel(archive)]
            archives = {archive.name: archive for archive in (*apt.closure(self.programs), *kernels)}
            version = self._version(list(archives.values()))
            if entries.find(version) is not None:
                progress(f"{suite}: the packages of {self.what} are in the cache")
                return entries.select(version)
            with entries.adding(version) as directory:
                apt.unpack(list(archives.values()), directory)
                for name in self.dropped:
                    remove(directory / name)
                lines = (f"{archive.name} {archive.version}\n" for archive in archives.values())
                (directory / _VERSIONS).write_text("".join(lines), encoding="utf-8")
                (directory / _REQUEST).write_text(self._request(), encoding="utf-8")
            return entries.select(version)

        return with_apt(AptRoot, suite, self.entries_name, fetch, progress, mirror)

    def explain_missing(self) -> HarnessError | None:
        """Return why the packages cannot be fetched here, None if they can be. Starts no process."""
        if platform.machine() != "x86_64":
            return BrokenEnvironmentError(f"no image of {self.what} for {platform.machine()}", "use another platform")
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            return BrokenEnvironmentError(
                f"no image of {self.what}, and no apt-get and dpkg-deb to make one", "install Debian's apt and dpkg"
            )
        return None

    def _request(self) -> str:
        """Return the request for packages: they are fetched again if it changes."""
        return " ".join((self.kernel, *self.programs, *_KERNEL_PREFIXES)) + "\n"

    def _version(self, archives: Sequence[Archive]) -> str:
        digests = "".join(sorted(archive.digest for archive in archives)) + self._request()
        return hashlib.sha256(digests.encode()).hexdigest()[:16]


def versions(packages: Path) -> dict[str, str]:
    """Return the versions of unpacked packages by name. Raises BrokenEnvironmentError."""
    try:
        lines = (packages / _VERSIONS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BrokenEnvironmentError(f"{packages} is not complete: {error.strerror}", "remove it") from None
    return dict(line.split(" ", 1) for line in lines)


def _is_kernel(archive: Archive) -> bool:
    """Newer suites have the kernel and its modules in separate packages."""
    return archive.name.startswith(_KERNEL_PREFIXES) and archive.name.endswith(_KERNEL_SUFFIX)
