# SPDX-License-Identifier: GPL-2.0-or-later
"""A small Debian mirror for tests: signed indices, packages, and an HTTP server."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUITE = "testing-suite"


def tool(*argv: str | Path, **kwargs: str) -> None:
    subprocess.run([str(a) for a in argv], check=True, capture_output=True, timeout=300, **kwargs)  # type: ignore[call-overload]


class SigningKey:
    """A key in a GnuPG home of its own; `keyring` is its public half, in a new directory.

    The home's name is short: gpg-agent has its sockets there, whose paths have at most 107 characters.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        self._temporary = tempfile.TemporaryDirectory(prefix="k", dir="/tmp", ignore_cleanup_errors=True)
        self._home = self._temporary.name
        self.keyring = directory / "keyring.gpg"
        self._gpg("--quick-generate-key", "Test archive <archive@example.org>", "ed25519", "sign", "never")
        self._gpg("--output", self.keyring, "--export")

    def sign(self, release: Path, signed: Path) -> None:
        signed.unlink(missing_ok=True)
        self._gpg("--clear-sign", "--output", signed, release)

    def close(self) -> None:
        tool("gpgconf", "--homedir", self._home, "--kill", "all")
        self._temporary.cleanup()

    def _gpg(self, *arguments: str | Path) -> None:
        tool(
            "gpg",
            "--homedir",
            self._home,
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            *arguments,
        )


class Repository:
    """The files of a mirror with one suite. publish() writes the index of what was added, and signs it."""

    def __init__(self, directory: Path, key: SigningKey) -> None:
        self.directory = directory
        self.key = key
        self._stanzas: list[str] = []
        self._sources: list[str] = []
        self._published = 0
        (directory / "pool").mkdir(parents=True)

    def add(self, name: str, version: str, files: dict[str, bytes], depends: str = "") -> Path:
        """Build a package of these files; returns the path of the .deb in the mirror."""
        tree = self.directory / "build" / f"{name}-{version}"
        for file, content in files.items():
            (tree / file).parent.mkdir(parents=True, exist_ok=True)
            (tree / file).write_bytes(content)
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Nobody <n@example.org>\n"
        control += f"Depends: {depends}\n" if depends else ""
        control += "Description: for a test\n"
        (tree / "DEBIAN").mkdir(parents=True)
        # dpkg-deb requires this mode, with any umask.
        (tree / "DEBIAN").chmod(0o755)
        (tree / "DEBIAN" / "control").write_text(control)
        deb = self.directory / "pool" / f"{name}_{version}_all.deb"
        tool("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb)
        shutil.rmtree(tree)
        content = deb.read_bytes()
        self._stanzas.append(
            f"{control}Filename: pool/{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
        return deb

    def add_source(self, name: str, version: str, tarballs: dict[str, bytes]) -> None:
        """Add a source package's tarballs to the mirror; its .dsc is in the index but missing."""
        lines = []
        for file, content in {f"{name}_{version}.dsc": b"", **tarballs}.items():
            if content:
                (self.directory / "pool" / file).write_bytes(content)
            lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {file}\n")
        self._sources.append(
            f"Package: {name}\nFormat: 3.0 (quilt)\nBinary: {name}\nArchitecture: all\nVersion: {version}\n"
            f"Directory: pool\nChecksums-Sha256:\n{''.join(lines)}"
        )

    def publish(self, *, signed: bool = True, valid_for: datetime.timedelta = datetime.timedelta(days=7)) -> None:
        suite = self.directory / "dists" / SUITE
        sums = ""
        for name, stanzas in (("binary-amd64/Packages", self._stanzas), ("source/Sources", self._sources)):
            index = suite / "main" / name
            index.parent.mkdir(parents=True, exist_ok=True)
            index.write_text("\n".join(stanzas))
            content = index.read_bytes()
            sums += f" {hashlib.sha256(content).hexdigest()} {len(content)} main/{name}\n"
        now = datetime.datetime.now(datetime.UTC)
        date = min(now, now + valid_for - datetime.timedelta(days=1))
        release = suite / "Release"
        release.write_text(
            f"Origin: Test\nSuite: {SUITE}\nCodename: {SUITE}\nArchitectures: amd64 all\nComponents: main\n"
            f"Date: {_rfc822(date)}\nValid-Until: {_rfc822(now + valid_for)}\nAcquire-By-Hash: no\n"
            f"SHA256:\n{sums}"
        )
        (suite / "InRelease").unlink(missing_ok=True)
        if signed:
            self.key.sign(release, suite / "InRelease")
        # A client asks for what is newer than what it has, in whole seconds: each index is one newer than the last.
        self._published += 1
        for file in suite.rglob("*"):
            os.utime(file, times=(now.timestamp() - 3600 + self._published,) * 2)


@contextlib.contextmanager
def serving(directory: Path, half: threading.Event | None = None) -> Iterator[str]:
    """Serve a directory over HTTP on this machine; yields the URL.

    half: the second half of a package is sent when it is set.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def copyfile(self, source: Any, outputfile: Any) -> None:
            if half is not None and self.path.endswith(".deb"):
                outputfile.write(source.read(os.fstat(source.fileno()).st_size // 2))
                outputfile.flush()
                half.wait(timeout=60)
            super().copyfile(source, outputfile)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=directory)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _rfc822(when: datetime.datetime) -> str:
    return when.strftime("%a, %d %b %Y %H:%M:%S UTC")
