# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs that a build needs: the machine's, or from Debian's packages, without root."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import Entries, Progress, silent, writing
from snp_harness.debian.firmware import with_apt
from snp_harness.debian.firmware_names import package_directory
from snp_harness.debian.packages import AptRoot, Mirror
from snp_harness.debian.program import run
from snp_harness.edk2.recipe import DEFAULT_TOOLCHAIN
from snp_harness.errors import BrokenEnvironmentError, FetchError

_TIMEOUT_S = 60
#: Programs that must be installed: they depend on their paths.
_INSTALLED = {"gcc": "gcc", "ld": "binutils", "objcopy": "binutils", "make": "make", "git": "git"}
#: Programs that can be fetched, their packages, and the option that prints the version.
_FETCHED = {"g++": "g++", "nasm": "nasm", "iasl": "acpica-tools"}
#: The same for edk2's CLANGDWARF. llvm-ar and llvm-objcopy have the version of LLVM.
_CLANG = {"clang": "clang", "ld.lld": "lld", "llvm-ar": "llvm", "llvm-objcopy": "llvm"}
_VERSION_OPTION = {"nasm": "-v", "iasl": "-v"}
_UUID = "uuid-dev"
_UUID_TEST = "#include <uuid/uuid.h>\nint main(void) { uuid_t u; uuid_generate(u); return u[0]; }\n"
_NAME = "edk2-tools"
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_BIN = "harness-bin"
_STATIC = "harness-lib"


class ToolError(BrokenEnvironmentError):
    """A program or a header that a build needs is missing, or does not work."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of a build. versions: a line each, part of the key of an image.

    path: directories in front of PATH. host: variables for compiling and running edk2's own tools.
    """

    versions: tuple[str, ...]
    path: tuple[Path, ...] = ()
    host: tuple[tuple[str, str], ...] = ()

    def environment(self) -> dict[str, str]:
        """The complete environment of a build, so that the caller's variables cannot change its result."""
        kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
        search = os.pathsep.join([*map(str, self.path), os.environ.get("PATH", os.defpath)])
        return {**kept, "PATH": search, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", **dict(self.host)}


def find_tools(
    progress: Progress = silent, toolchain: str = DEFAULT_TOOLCHAIN, *, mirror: Mirror | None = None
) -> Tools:
    """Return the machine's tools, and Debian's packages of those it lacks; raises ToolError, FetchError.

    gcc is needed with any tool chain: it compiles edk2's own tools.
    """
    fetched = _FETCHED if toolchain == DEFAULT_TOOLCHAIN else _FETCHED | _CLANG
    missing = sorted({package for name, package in _INSTALLED.items() if shutil.which(name) is None})
    if missing:
        raise ToolError(
            f"not installed: {' '.join(missing)}", f"building needs them: apt-get install {' '.join(missing)}"
        )
    if not _compiles("int main(void) { return 0; }\n"):
        raise ToolError("gcc cannot make a program here", "edk2's own tools need it: apt-get install libc6-dev")
    lacking = list(dict.fromkeys(package for name, package in fetched.items() if shutil.which(name) is None))
    if not _has_uuid({}):
        lacking.append(_UUID)
    if not lacking:
        return Tools(_versions(fetched, os.environ.get("PATH", os.defpath)))
    directory = _fetch(tuple(lacking), progress, mirror)
    host = _host_variables(directory) if _UUID in lacking else {}
    if _UUID in lacking and not _has_uuid(host):
        raise ToolError(f"a program cannot be compiled with the fetched {_UUID}", f"apt-get install {_UUID}")
    path = (directory / _BIN,)
    versions = _versions(fetched, os.pathsep.join([str(path[0]), os.environ.get("PATH", os.defpath)]))
    return Tools(versions, path, tuple(sorted(host.items())))


def _versions(fetched: Mapping[str, str], path: str) -> tuple[str, ...]:
    found = [f"python {sys.version_info.major}.{sys.version_info.minor}"]
    for name in ("gcc", "g++", "ld", *(name for name in fetched if name != "g++")):
        program = shutil.which(name, path=path)
        if program is None:
            raise ToolError(f"no {name} among the fetched packages", f"apt-get install {fetched.get(name, name)}")
        said = run((program, _VERSION_OPTION.get(name, "--version")), timeout_s=_TIMEOUT_S, env={})
        lines = [line.strip() for line in said.stdout.splitlines() if any(map(str.isdigit, line))]
        if said.status or not lines:
            raise ToolError(f"{program} does not work: {said.last_words}", f"install Debian's package of {name}")
        found.append(f"{name} {lines[0]}")
    return tuple(found)


def _has_uuid(variables: Mapping[str, str]) -> bool:
    """Return whether a program can be compiled and linked with libuuid, as edk2's GenFv is."""
    return _compiles(_UUID_TEST, ("-luuid",), variables)


def _compiles(code: str, options: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> bool:
    """Return whether gcc can make a program of this machine."""
    import subprocess

    try:
        done = subprocess.run(
            ["gcc", "-x", "c", "-", "-o", os.devnull, *options],
            input=code.encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, **(variables or {})},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _host_variables(directory: Path) -> dict[str, str]:
    """The variables by which gcc finds a header and a library that are not the system's."""
    return {"CPATH": str(directory / "usr" / "include"), "LIBRARY_PATH": str(directory / _STATIC)}


def _fetch(packages: tuple[str, ...], progress: Progress, mirror: Mirror | None) -> Path:
    suite = _suite(packages)
    name = f"{_NAME}-{hashlib.sha256(repr(packages).encode()).hexdigest()[:12]}"
    cached = Entries(package_directory(suite, name)).current()
    if cached is not None:
        return cached
    progress(f"not installed: {' '.join(packages)}: fetching from Debian {suite}")

    def fetch(apt: AptRoot, entries: Entries) -> Path:
        archives = apt.closure(packages)
        version = hashlib.sha256("".join(sorted(archive.digest for archive in archives)).encode()).hexdigest()[:32]
        if entries.find(version) is None:
            with entries.adding(version) as directory:
                apt.unpack(archives, directory)
                _finish(directory, entries.directory / version)
        return entries.select(version)

    return with_apt(AptRoot, suite, name, fetch, progress, mirror)


def _suite(packages: tuple[str, ...]) -> str:
    """Return the machine's own suite of Debian: fetched programs run with its C library."""
    import platform

    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    suite = release.get("VERSION_CODENAME", "")
    if release.get("ID") != "debian" or not suite or platform.machine() != "x86_64":
        what = " ".join(packages)
        raise ToolError(
            f"not installed: {what}", "this is not Debian on x86-64: install them with its own package manager"
        )
    return suite


def _finish(directory: Path, final: Path) -> None:
    """Make wrappers that run the unpacked programs from final, the later path of the directory."""
    with writing(directory):
        (directory / _BIN).mkdir()
        (directory / _STATIC).mkdir()
        static = directory / _LIBRARIES / "libuuid.a"
        if static.exists():
            # The shared library beside it would have to be found when the tools run.
            (directory / _STATIC / "libuuid.a").symlink_to(Path("..", _LIBRARIES, "libuuid.a"))
        for name in _FETCHED | _CLANG:
            program = directory / "usr" / "bin" / name
            if not program.is_symlink() and not program.exists():
                continue
            wrapper = directory / _BIN / name
            # A compiler's parts need libraries of its packages; their dependencies are the system's.
            libraries = f'LD_LIBRARY_PATH="{final}/{_LIBRARIES}" '
            options = f' --sysroot="{final}" -static-libstdc++' if name == "g++" else ""
            wrapper.write_text(f'#!/bin/sh\n{libraries}exec "{final}/usr/bin/{name}"{options} "$@"\n', encoding="utf-8")
            wrapper.chmod(0o755)
    # The wrappers have the path between double quotes.
    if any(character in str(final) for character in '"$`\\'):
        raise FetchError(f"the tools cannot be used from {final}", "set XDG_CACHE_HOME to a path without quotes")
