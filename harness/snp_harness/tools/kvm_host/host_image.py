# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the nested host's image from Debian's packages, in the cache.

The packages are fetched and unpacked without root, and kept, so that a new recipe needs no network. The image's name in
the cache is a hash over packages, recipe and code.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from snp_harness.debian.cache import Entries, Progress, locked, remove, silent, version_of
from snp_harness.debian.firmware import with_apt
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import AptRoot, Archive, Mirror
from snp_harness.errors import BrokenEnvironmentError, FetchError, HarnessError
from snp_harness.tools.kvm_host.pack import MANIFEST, Image, pack
from snp_harness.tools.kvm_host.recipe import Recipe

#: Linux 6.12 and QEMU 10.0.
DEFAULT_SUITE = "trixie"
_PACKAGES = "kvm-host-packages"
_IMAGE = "kvm-host"
#: The code that an image's bytes depend on.
_PACKING = (
    "compile_library.py",
    "cpio.py",
    "elf.py",
    "kernel.py",
    "kernel_modules.py",
    "pack.py",
    "patch.py",
    "python_library.py",
)
#: Names of the packages with a kernel or its modules.
_KERNEL_PREFIXES = ("linux-image-", "linux-base-", "linux-binary-", "linux-modules-")
_KERNEL_SUFFIX = "-cloud-amd64"
#: Documentation and other parts that recipes do not use, by far the larger part.
_DROPPED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/icons", "usr/share/info", "usr/sbin")
_VERSIONS = "package-versions"
_REQUEST = "packages-asked-for"


def cached_image(suite: str = DEFAULT_SUITE) -> Image | None:
    """Return the image of this recipe and the packages fetched last, None without one. Needs no network."""
    packages = _cached_packages(suite)
    if packages is None:
        return None
    entry = Entries(package_directory(suite, _IMAGE)).find(_image_version(packages, Recipe.load()))
    return None if entry is None or not (entry / MANIFEST).is_file() else Image.load(entry)


def image(suite: str = DEFAULT_SUITE, progress: Progress = silent) -> Image:
    """Return the image of a suite from the cache, or make it; packages are fetched if none are cached.

    Raises HarnessError.
    """
    found = cached_image(suite)
    if found is not None:
        return found
    packages = _cached_packages(suite) or _fetch_packages(suite, progress, None)
    return _make(suite, packages, progress)


def fetch_image(suite: str = DEFAULT_SUITE, progress: Progress = silent, *, mirror: Mirror | None = None) -> Image:
    """Fetch the suite's current packages, and make their image if it is not cached; raises HarnessError."""
    return _make(suite, _fetch_packages(suite, progress, mirror), progress)


def _cached_packages(suite: str) -> Path | None:
    """The packages fetched last, None if this recipe needs others."""
    packages = Entries(package_directory(suite, _PACKAGES)).current()
    try:
        fits = packages is not None and (packages / _REQUEST).read_text(encoding="utf-8") == _request()
    except OSError:
        return None
    return packages if fits else None


def _request() -> str:
    """The request for packages: they are fetched again if it changes."""
    wanted = Recipe.load().packages
    return " ".join((wanted.kernel, *wanted.programs, *_KERNEL_PREFIXES)) + "\n"


def _fetch_packages(suite: str, progress: Progress, mirror: Mirror | None) -> Path:
    """Return the directory of the unpacked packages; without a network that of the packages fetched last."""
    if platform.machine() != "x86_64":
        raise FetchError(f"Debian's amd64 programs do not run on {platform.machine()}", "use another platform")
    wanted = Recipe.load().packages

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        kernels = [archive for archive in apt.closure([wanted.kernel]) if _is_kernel(archive)]
        archives = {archive.name: archive for archive in (*apt.closure(wanted.programs), *kernels)}
        version = _packages_version(list(archives.values()))
        if entries.find(version) is not None:
            progress(f"{suite}: the packages of the nested host are in the cache")
            return entries.select(version)
        with entries.adding(version) as directory:
            apt.unpack(list(archives.values()), directory)
            for name in _DROPPED:
                remove(directory / name)
            lines = (f"{archive.name} {archive.version}\n" for archive in archives.values())
            (directory / _VERSIONS).write_text("".join(lines), encoding="utf-8")
            (directory / _REQUEST).write_text(_request(), encoding="utf-8")
        return entries.select(version)

    return with_apt(AptRoot, suite, _PACKAGES, fetch, progress, mirror)


def _make(suite: str, packages: Path, progress: Progress) -> Image:
    recipe = Recipe.load()
    entries = Entries(package_directory(suite, _IMAGE))
    version = _image_version(packages, recipe)
    with locked(entries.directory.with_name(f"{_IMAGE}.lock"), progress):
        if entries.find(version) is None:
            progress(f"{suite}: making the image of the nested host")
            with entries.adding(version) as directory:
                pack(packages, recipe, suite, _versions(packages), directory)
                remove(directory / ".scratch")
        made = Image.load(entries.select(version))
    progress(f"{suite}: the nested host has Linux {made.manifest.kernel}")
    return made


def _is_kernel(archive: Archive) -> bool:
    """Newer suites have the kernel and its modules in separate packages."""
    return archive.name.startswith(_KERNEL_PREFIXES) and archive.name.endswith(_KERNEL_SUFFIX)


def _packages_version(archives: Sequence[Archive]) -> str:
    digests = "".join(sorted(archive.digest for archive in archives)) + _request()
    return hashlib.sha256(digests.encode()).hexdigest()[:16]


def _image_version(packages: Path, recipe: Recipe) -> str:
    """Hash over packages, recipe and the code that packs."""
    digest = hashlib.sha256(version_of(packages).encode())
    digest.update(recipe.digest.encode())
    for name in _PACKING:
        digest.update(hashlib.sha256((Path(__file__).parent / name).read_bytes()).digest())
    return digest.hexdigest()[:16]


def _versions(packages: Path) -> dict[str, str]:
    try:
        lines = (packages / _VERSIONS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BrokenEnvironmentError(f"{packages} is not complete: {error.strerror}", "remove it") from None
    return dict(line.split(" ", 1) for line in lines)


def explain_missing(suite: str = DEFAULT_SUITE) -> HarnessError | None:
    """Return why no image can be made here, None if it is cached or can be made. Starts no process."""
    try:
        if cached_image(suite) is not None:
            return None
    except HarnessError as error:
        return error
    if platform.machine() != "x86_64":
        return BrokenEnvironmentError(f"no image of the nested host for {platform.machine()}", "use another platform")
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return BrokenEnvironmentError(
            "no image of the nested host, and no apt-get and dpkg-deb to make one", "install Debian's apt and dpkg"
        )
    return None
