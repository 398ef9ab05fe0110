# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of any Debian suite without root: apt with its own root directory.

apt checks the suite's signed index against Debian's keyring and each package against that index. Of the machine's apt
only the programs and the proxy are used, and nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from snp_harness.debian.cache import CountingProgress, Progress, file_digest, make_directory, remove, writing
from snp_harness.debian.firmware_names import SUITES
from snp_harness.debian.program import Finished, run
from snp_harness.errors import FetchError
from snp_harness.nearest import nearest

DEFAULT_MIRROR = "http://deb.debian.org/debian"
MIRROR_VARIABLE = "SNP_HARNESS_DEBIAN_MIRROR"
DEFAULT_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: QEMU for x86 hosts; firmware packages are for all architectures.
ARCHITECTURE = "amd64"

_UPDATE_TIMEOUT_S = 300
_RESOLVE_TIMEOUT_S = 60
_DOWNLOAD_TIMEOUT_S = 1800
_UNPACK_TIMEOUT_S = 300
_MAX_PACKAGES = 500
_LOOPBACK = ("127.0.0.1", "localhost")
_SUITE = re.compile(r"[a-z][a-z0-9.-]{0,40}")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,80}")
_MIRROR = re.compile(r"(?:https?://|file:/)[^\s\"'\\\[\]]+")
#: One line of --print-uris: 'URI' file size hash
_URI_LINE = re.compile(
    r"'(?P<uri>[^'\s]+)' (?P<file>[^\s/]+\.deb) (?P<size>\d+) (?P<kind>SHA256|SHA512):(?P<hash>[0-9a-f]+)"
)
_FILE_NAME = re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_(?P<architecture>[^_]+)\.deb")
_EXPIRED = re.compile(r"Release file for (\S+) is expired")


class AbsentError(FetchError):
    """The suite has no such package, or the package no such file."""


class NoNetworkError(FetchError):
    """The mirror cannot be reached; the caller may use the cache."""


_NO_SPACE = re.compile("No space left on device")
_SPACE_HINT = "free some space, or set XDG_CACHE_HOME to another directory"
#: A pattern in apt-get's output, the error that it means, and a hint; the first match counts.
_SUITE_HINT = "check the name of the suite and the mirror"
_FAILURES: tuple[tuple[re.Pattern[str], type[FetchError], str], ...] = (
    (_NO_SPACE, FetchError, _SPACE_HINT),
    (
        re.compile("NO_PUBKEY|BADSIG|EXPSIG|EXPKEYSIG|REVKEYSIG|Clearsigned|couldn't be verified|is not signed"),
        FetchError,
        "its signature is not Debian's: use another mirror, or update debian-archive-keyring",
    ),
    (re.compile("not valid yet"), FetchError, "set the machine's clock"),
    (
        re.compile("Hash Sum mismatch|unexpected size|Filesize mismatch|Hashes of"),
        FetchError,
        "the download differs from the signed index: try again, or use another mirror",
    ),
    (
        re.compile("404 +Not Found|does not have a Release file"),
        FetchError,
        _SUITE_HINT,
    ),
    (
        re.compile(
            "Could not (?:resolve|connect|handshake)|Temporary failure|Cannot initiate|unreachable|Failed to fetch"
        ),
        NoNetworkError,
        f"check the network, or set {MIRROR_VARIABLE}",
    ),
)


@dataclass(frozen=True, slots=True)
class Mirror:
    """The source of packages, and the keyring for the signatures of its indices. url: http, https or file."""

    url: str = DEFAULT_MIRROR
    keyring: Path = DEFAULT_KEYRING

    def __post_init__(self) -> None:
        if not _MIRROR.fullmatch(self.url):
            raise FetchError(f"{self.url!r} is not a mirror", f"set {MIRROR_VARIABLE} to an http, https or file URL")

    @classmethod
    def configured(cls) -> Mirror:
        """Return the mirror of the environment's SNP_HARNESS_DEBIAN_MIRROR, by default deb.debian.org."""
        return cls(os.environ.get(MIRROR_VARIABLE) or DEFAULT_MIRROR)


@dataclass(frozen=True, slots=True)
class Archive:
    """A package file as the signed index describes it. size: bytes. digest: hexadecimal, of the named kind."""

    name: str
    version: str
    file_name: str
    size: int
    kind: str
    digest: str


class AptRoot:
    """A private apt for one suite, in a directory of the cache.

    progress: called with lines about the present step. Two processes must not use it at once: hold a lock.
    """

    #: The beginning of the suite's line in sources.list, and the suffix of its directory.
    entry = f"deb [arch={ARCHITECTURE} signed-by="
    suffix = ""

    def __init__(self, directory: Path, suite: str, mirror: Mirror, progress: Progress) -> None:
        self.suite = _checked(_SUITE, suite, "suite")
        self.mirror = mirror
        self._directory = directory
        self._progress = progress
        # apt checks signatures in temporary files: if it cannot make one, it reports a wrong signature.
        self._environment = {"APT_CONFIG": str(directory / "apt.conf"), "TMPDIR": str(directory / "tmp")}

    def update(self) -> None:
        """Bring the suite's index up to date; raises NoNetworkError and FetchError.

        An expired index, as on a mirror that is no longer updated, is used with a warning, because it is signed.
        """
        self._prepare()
        self._progress(f"{self.suite}: reading the index of {self.mirror.url}")
        result = self._update()
        if result.status and _EXPIRED.search(result.stderr):
            self._progress(
                f"warning: {self.suite}: the index of {self.mirror.url} has expired; it is used because it is signed"
            )
            result = self._update("-o", "Acquire::Check-Valid-Until=false")
        self._check(result, f"cannot read the index of {self.suite} from {self.mirror.url}")

    def candidate(self, package: str) -> Archive:
        """Return the suite's present version of a package; raises AbsentError without one. Call update() before."""
        result = self._apt_get("download", "--print-uris", _checked(_PACKAGE, package, "package"))
        if result.status and "Unable to locate package" in result.stderr:
            raise AbsentError(f"{self.suite} has no package {package}", "check the suite's name")
        self._check(result, f"cannot find {package} in {self.suite}")
        return _archives(result)[0]

    def closure(self, packages: Sequence[str]) -> tuple[Archive, ...]:
        """Return the packages and their dependencies, without recommendations and installed packages."""
        names = [_checked(_PACKAGE, package, "package") for package in packages]
        result = self._apt_get("install", "--print-uris", "--yes", "--no-install-recommends", *names)
        self._check(result, f"cannot resolve the dependencies of {', '.join(names)} in {self.suite}")
        return _archives(result)

    def download(self, archives: Sequence[Archive], into: Path) -> tuple[Path, ...]:
        """Download the packages into a directory, and check each against the index; raises FetchError."""
        total = sum(archive.size for archive in archives)
        what = archives[0].file_name if len(archives) == 1 else f"{len(archives)} packages"
        wanted = [f"{archive.name}={archive.version}" for archive in archives]
        self._download(("download", *wanted), what, total, into)
        return tuple(verified(into / archive.file_name, archive) for archive in archives)

    def unpack(self, archives: Sequence[Archive], into: Path) -> None:
        """Download the packages, and unpack them all into a directory; raises FetchError."""
        downloads = into / ".download"
        for deb in self.download(archives, downloads):
            unpack(deb, into)
        remove(downloads)

    def _download(self, command: Sequence[str], what: str, size: int, into: Path) -> None:
        """Run a command of apt-get that downloads into its working directory."""
        self._progress(f"{self.suite}: downloading {unquote(what)}, {size / 1e6:.1f} MB")
        make_directory(into)
        if shutil.disk_usage(into).free < size:
            raise FetchError(f"{into} has less than {size / 1e6:.0f} MB of free space", _SPACE_HINT)
        progress = self._progress
        tick = (lambda: progress.amount(_bytes(into), size)) if isinstance(progress, CountingProgress) else None
        result = self._apt_get(*command, timeout_s=_DOWNLOAD_TIMEOUT_S, cwd=into, tick=tick)
        self._check(result, f"cannot download {unquote(what)} from {self.mirror.url}")

    def _prepare(self) -> None:
        """Write the private apt's configuration."""
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise FetchError(
                "apt-get or dpkg-deb is not installed",
                "install Debian's apt and dpkg, or name an image with --firmware",
            )
        if not self.mirror.keyring.is_file():
            raise FetchError(f"no keyring {self.mirror.keyring}", "install the package debian-archive-keyring")
        for path in (self._directory, self.mirror.keyring):
            if re.search(r'["\\\s]', str(path)):
                raise FetchError(f"apt cannot use the path {str(path)!r}", "set XDG_CACHE_HOME to one without spaces")
        for name in ("lists/partial", "archives/partial", "etc/empty.d", "log", "tmp"):
            make_directory(self._directory / name)
        with writing(self._directory):
            (self._directory / "status").write_bytes(b"")
            (self._directory / "etc" / "empty").write_bytes(b"")
            (self._directory / "etc" / "sources.list").write_text(
                f"{self.entry}{self.mirror.keyring}] {self.mirror.url} {self.suite} main\n"
            )
            (self._directory / "apt.conf").write_text(self._configuration())

    def _configuration(self) -> str:
        root = self._directory
        settings = {
            # The machine's configuration may contain hooks and pins: it is not read. Its proxy is read below.
            "Dir::Etc::main": f"{root}/etc/empty",
            "Dir::Etc::parts": f"{root}/etc/empty.d",
            "Dir::Etc::preferences": f"{root}/etc/empty",
            "Dir::Etc::preferencesparts": f"{root}/etc/empty.d",
            "Dir::Etc::sourcelist": f"{root}/etc/sources.list",
            "Dir::Etc::sourceparts": f"{root}/etc/empty.d",
            "Dir::Etc::trusted": f"{root}/etc/empty",
            "Dir::Etc::trustedparts": f"{root}/etc/empty.d",
            "Dir::Etc::netrc": "/etc/apt/auth.conf",
            "Dir::State": str(root),
            "Dir::State::lists": f"{root}/lists",
            "Dir::State::status": f"{root}/status",
            "Dir::Cache": str(root),
            "Dir::Cache::archives": f"{root}/archives",
            "Dir::Cache::srcpkgcache": "",
            "Dir::Log": f"{root}/log",
            "APT::Architecture": ARCHITECTURE,
            "APT::Architectures": ARCHITECTURE,
            # As root apt would download as the user _apt, which cannot write to a private cache.
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "APT::Install-Suggests": "false",
            "APT::Update::Error-Mode": "any",
            "APT::Get::AllowUnauthenticated": "false",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::AllowWeakRepositories": "false",
            "Acquire::AllowDowngradeToInsecureRepositories": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
            "Acquire::https::Timeout": "20",
            "Acquire::ForceHash": "SHA256",
            # A mirror on this machine is reached without a proxy.
            **{f"Acquire::http::Proxy::{host}": "DIRECT" for host in _LOOPBACK},
            **_proxies(),
        }
        return "".join(f'{name} "{value}";\n' for name, value in settings.items())

    def _update(self, *options: str) -> Finished:
        return self._apt_get(*options, "update", timeout_s=_UPDATE_TIMEOUT_S)

    def _apt_get(
        self,
        *arguments: str,
        timeout_s: float = _RESOLVE_TIMEOUT_S,
        cwd: Path | None = None,
        tick: Callable[[], None] | None = None,
    ) -> Finished:
        argv = ("apt-get", "--quiet=2", *arguments)
        return run(argv, timeout_s=timeout_s, env=self._environment, cwd=cwd or self._directory, tick=tick)

    def _check(self, result: Finished, what: str) -> None:
        """Raise the error that apt-get's output means, with the line of its output that explains it."""
        if result.status == 0:
            return
        for pattern, error, hint in _FAILURES:
            line = result.line_with(pattern)
            if line is not None:
                near = nearest(self.suite, SUITES) if hint == _SUITE_HINT else None
                raise error(f"{what}: {line}", hint if near in (None, self.suite) else f"did you mean {near}? {hint}")
        raise FetchError(f"{what}: {result.last_words}", f"try again, or set {MIRROR_VARIABLE} to another mirror")


def _bytes(directory: Path) -> int:
    """Return the size of the files in a directory that another process writes."""
    size = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            with contextlib.suppress(OSError):
                size += entry.stat(follow_symlinks=False).st_size if entry.is_file() else 0
    return size


def unpack(archive: Path, into: Path) -> None:
    """Unpack a package's files into a directory, without running its scripts; raises FetchError."""
    result = run(("dpkg-deb", "--extract", archive, into), timeout_s=_UNPACK_TIMEOUT_S, env={})
    full = result.line_with(_NO_SPACE)
    if result.status:
        raise FetchError(
            f"cannot unpack {archive.name}: {full or result.last_words}", _SPACE_HINT if full else "fetch it again"
        )


def _archives(result: Finished) -> tuple[Archive, ...]:
    """Parse the output of --print-uris; raises FetchError if it has no packages or an incomplete description."""
    lines = [line for line in result.stdout.splitlines() if line.startswith("'")]
    if not 0 < len(lines) <= _MAX_PACKAGES:
        raise FetchError(f"apt names {len(lines)} packages", "try again, or use another mirror")
    archives = []
    for line in lines:
        match = _URI_LINE.fullmatch(line.strip())
        name = _FILE_NAME.fullmatch(match["file"]) if match else None
        if match is None or name is None:
            raise FetchError(f"apt describes a package without a strong hash: {line[:200]}", "use another mirror")
        archives.append(
            Archive(
                name=unquote(name["name"]),
                version=unquote(name["version"]),
                file_name=match["file"],
                size=int(match["size"]),
                kind=match["kind"],
                digest=match["hash"],
            )
        )
    return tuple(archives)


def verified(path: Path, archive: Archive) -> Path:
    """Return the file if it matches the index. apt has checked the download; this checks the file on the disk."""
    try:
        digest = file_digest(path, archive.kind.lower())
    except OSError as error:
        raise FetchError(f"apt did not leave {archive.file_name}: {error.strerror}", "try again") from None
    if digest != archive.digest:
        remove(path)
        raise FetchError(f"{archive.file_name} is damaged: its hash is not the index's", "fetch it again")
    return path


def _proxies() -> dict[str, str]:
    """Return the proxies in the configuration of the machine's apt."""
    result = run(
        ("apt-config", "shell", "http", "Acquire::http::Proxy", "https", "Acquire::https::Proxy"),
        timeout_s=_RESOLVE_TIMEOUT_S,
        env={},
    )
    found = re.findall(r"^(https?)='([^'\"\s]+)'$", result.stdout, re.MULTILINE)
    return {f"Acquire::{scheme}::Proxy": proxy for scheme, proxy in found}


def _checked(pattern: re.Pattern[str], text: str, kind: str) -> str:
    if not pattern.fullmatch(text):
        raise FetchError(f"{text!r} is not a {kind} of Debian", "use a name such as trixie, bookworm or sid/amdsev")
    return text
