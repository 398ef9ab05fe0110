# SPDX-License-Identifier: GPL-2.0-or-later
"""Built images in the cache, with a hash of their inputs as key. An entry is complete or absent."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.cache import TEMPORARY, cache_root, file_digest, make_directory, remove, writing
from snp_harness.errors import BrokenEnvironmentError
from snp_harness.firmware.debug_directories import SUFFIX, SYMBOLS

IMAGE = "OVMF.fd"
#: The halves of the split image.
CODE = "OVMF_CODE.fd"
_HALVES = (CODE, "OVMF_VARS.fd")
#: The files that are kept of a build.
_FILES = (IMAGE, *_HALVES)
MANIFEST = "build.json"
#: Images that are kept, 8 MB each: the most recently used. Of fewer, the modules' debug files too, which have 70 MB and
#: share those that are equal.
KEPT = 64
SYMBOLS_KEPT = 12
#: Seconds after which an incomplete entry is abandoned: it is a copy of three files.
_ABANDONED_S = 3600


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image in the cache. manifest: its inputs and build time. cached: it was in the cache before."""

    directory: Path
    manifest: dict[str, object]
    cached: bool = True

    @property
    def path(self) -> Path:
        """The combined image, for `run --firmware`."""
        return self.directory / IMAGE

    @property
    def has_symbols(self) -> bool:
        """Whether the modules' debug files are still there."""
        return (self.directory / SYMBOLS).is_dir()


def image_key(*parts: object) -> str:
    """Return the name of an entry: a hash of all inputs of the build."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def find_image(key: str) -> BuiltImage | None:
    """Return the image of a key, None if it was not built or its files have changed."""
    directory = _root() / key
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        wanted = {IMAGE: manifest["sha256"], **manifest.get("halves", {})}
        if any(file_digest(directory / name) != wanted[name] for name in _FILES if name in wanted):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    with contextlib.suppress(OSError):
        os.utime(directory)
    return BuiltImage(directory, manifest)


def add_image(key: str, image: Path, manifest: dict[str, object], modules: Path | None = None) -> BuiltImage:
    """Copy an image and the halves beside it into the cache under a key; raises FetchError if that fails.

    modules: the directory of the modules' own build directories, whose debug files are kept too.
    """
    root = make_directory(_root())
    with writing(root):
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=root))
    try:
        with writing(temporary):
            shutil.copyfile(image, temporary / IMAGE)
            for name in _HALVES:
                if image.with_name(name).is_file():
                    shutil.copyfile(image.with_name(name), temporary / name)
            if modules is not None:
                _add_symbols(modules, temporary / SYMBOLS, _latest_symbols(root))
            halves = {name: file_digest(temporary / name) for name in _HALVES if (temporary / name).is_file()}
            complete = {**manifest, "sha256": file_digest(temporary / IMAGE), "halves": halves}
            (temporary / MANIFEST).write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")
            temporary.chmod(0o755)
            remove(root / key)
            temporary.rename(root / key)
    finally:
        remove(temporary)
    _prune(root)
    return BuiltImage(root / key, complete, cached=False)


def copy_image(image: BuiltImage, into: Path) -> Path:
    """Copy an image and its halves into the user's directory; returns the combined image's path."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        for name in (*_FILES, MANIFEST):
            if (image.directory / name).is_file():
                temporary = into / f".{name}.new"
                shutil.copyfile(image.directory / name, temporary)
                temporary.replace(into / name)
        remove(into / SYMBOLS)
        if (image.directory / SYMBOLS).is_dir():
            shutil.copytree(image.directory / SYMBOLS, into / SYMBOLS)
    except OSError as error:
        hint = "make room, or name another directory with --out"
        raise BrokenEnvironmentError(f"cannot write to {into}: {error.strerror}", hint) from None
    return into / IMAGE


def _prune(root: Path) -> None:
    """Remove the images that were used longest ago, and incomplete entries of killed processes."""
    with contextlib.suppress(OSError):
        for path in root.glob(f"{TEMPORARY}*"):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                remove(path)
        entries = [path for path in root.iterdir() if not path.name.startswith(TEMPORARY)]
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in entries[KEPT:]:
            remove(path)
        for path in entries[SYMBOLS_KEPT:KEPT]:
            used = path.stat().st_mtime
            remove(path / SYMBOLS)
            os.utime(path, (used, used))


def _add_symbols(modules: Path, into: Path, last: Path | None) -> None:
    """Copy the debug files of all modules; those that the last image has too become links to its files."""
    into.mkdir()
    number: dict[str, int] = {}
    for path in sorted(modules.glob(f"**/DEBUG/*{SUFFIX}")):
        # A module can be built several times, with different libraries.
        number[path.name] = count = number.get(path.name, 0) + 1
        name = Path(path.name) if count == 1 else Path(str(count), path.name)
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if last is not None and (last / name).is_file() and filecmp.cmp(last / name, path, shallow=False):
            with contextlib.suppress(OSError):
                os.link(last / name, target)
                continue
        shutil.copyfile(path, target)


def _latest_symbols(root: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return max(root.glob(f"*/{SYMBOLS}"), key=lambda path: path.parent.stat().st_mtime, default=None)
    return None


def _root() -> Path:
    return cache_root() / "edk2" / "images"
