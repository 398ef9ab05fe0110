# SPDX-License-Identifier: GPL-2.0-or-later
"""Patch series: patches in their order, each for a range of upstream versions of edk2.

A `series` file has a line for each patch: its path, relative to the file, then its range of versions, if not all:

    0001-OvmfPkg-CcExitLib-look-at-RCX.patch  [<202505]   # in upstream since
    0002-OvmfPkg-AmdSvsmLib-ask.patch          [without AmdSvsmQueryProtocol in OvmfPkg/Library/AmdSvsmLib/AmdSvsmLib.c]
    0003-OvmfPkg-Sec-go-to-x2APIC.patch

A version is the year and month of a stable tag, edk2-stable202502. A range may have several bounds, all of which apply.
"without" is for what upstream has by now: the patch is for sources of any version whose file has no such word.
"""

from __future__ import annotations

import operator
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

from snp_harness.data import data_file
from snp_harness.edk2.git import Store
from snp_harness.edk2.source_errors import SourceError
from snp_harness.errors import FirmwareError

#: The series that comes with the harness, as a checkout and the documents name it.
SHIPPED = Path("ovmf_patches/series")
_MAX_BYTES = 1 << 20
_MAX_PATCH_BYTES = 16 << 20
_MAX_PATCHES = 1000
_LINE = re.compile(r"(?P<path>[^\s\[\]#]+)(?:\s+\[(?P<range>[^\[\]]*)\])?")
_WITHOUT = re.compile(r"without (?P<word>\w+) in (?P<path>[\w./-]+)")
_BOUND = re.compile(r"(?P<operator>>=|<=|==|>|<)(?P<version>20\d{4})")
#: "[PATCH v2 3/7] " before a subject.
_TAG = re.compile(r"^\[[^]]*PATCH[^]]*\] *")
_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Bound:
    """One bound of a range of versions, such as >=202502."""

    operator: str
    version: int

    def admits(self, version: int) -> bool:
        """Return whether a version is within the bound."""
        return _OPERATORS[self.operator](version, self.version)


@dataclass(frozen=True, slots=True)
class Without:
    """A condition: the source's file has no such word, or there is no such file."""

    word: str
    path: str

    def holds(self, store: Store, tree: str) -> bool:
        """Return whether a tree lacks the word."""
        return re.search(rf"\b{self.word}\b".encode(), store.read(tree, self.path) or b"") is None


@dataclass(frozen=True, slots=True)
class Entry:
    """A patch of a series. path: relative to the series' directory. bounds: none for a patch of all versions."""

    path: str
    bounds: tuple[Bound, ...] = ()
    without: Without | None = None

    def wanted(self, version: int) -> bool:
        """Return whether the patch is for an upstream version."""
        return all(bound.admits(version) for bound in self.bounds)


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch with its content. name: as in the series."""

    entry: Entry
    content: bytes

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return posixpath.basename(self.entry.path)

    @property
    def message(self) -> str:
        """The commit message of a git format-patch file; without one the file's name."""
        head = re.split(rb"^(?:---\r?\n|diff --git |Index: )", self.content, maxsplit=1, flags=re.MULTILINE)[0]
        parsed = message_from_bytes(
            head.split(b"\n", 1)[1] if head.startswith(b"From ") else head, policy=policy.default
        )
        subject = " ".join(str(parsed["Subject"] or self.name).split())
        body = str(parsed.get_payload()).replace("\r\n", "\n").strip()
        return f"{_TAG.sub('', subject)}\n\n{body}\n"


def parse_series(text: str, name: str = "series") -> tuple[Entry, ...]:
    """Return the patches that a series file lists; raises FirmwareError with the invalid line."""
    entries: list[Entry] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if not words:
            continue
        match = _LINE.fullmatch(words)
        if match is None:
            raise FirmwareError(
                f"{name}, line {number}: {words[:100]!a} is not a patch", "write PATH, or PATH [>=YYYYMM]"
            )
        path = posixpath.normpath(match["path"])
        if path.startswith(("/", "../")) or path in ("..", "."):
            raise FirmwareError(
                f"{name}, line {number}: {path} is outside", "patches must be below the series file's directory"
            )
        if any(entry.path == path for entry in entries):
            raise FirmwareError(f"{name}, line {number}: {path} is listed twice", "remove one of them")
        without = _WITHOUT.fullmatch(match["range"] or "")
        if without is not None:
            entries.append(Entry(path, without=Without(without["word"], without["path"])))
        else:
            entries.append(Entry(path, _bounds(match["range"], f"{name}, line {number}")))
    if len(entries) > _MAX_PATCHES:
        raise FirmwareError(f"{name} lists more than {_MAX_PATCHES} patches", "it is not a series")
    return tuple(entries)


def _bounds(text: str | None, where: str) -> tuple[Bound, ...]:
    if text is None:
        return ()
    words = text.replace(",", " ").split()
    matches = [_BOUND.fullmatch(word) for word in words]
    if not words or None in matches:
        raise FirmwareError(
            f"{where}: [{text[:100]}] is not a range of versions",
            "write it like [>=202502 <202608], or [without WORD in PATH]",
        )
    return tuple(Bound(match["operator"], int(match["version"])) for match in matches if match is not None)


def load_series(path: Path) -> tuple[Patch, ...]:
    """Read the patches of a series file; raises FirmwareError if one cannot be read.

    path: SHIPPED is the harness's own series where there is no such file.
    """
    if path == SHIPPED and not path.exists():
        path = data_file(str(SHIPPED))
    entries = parse_series(_read(path, _MAX_BYTES).decode(errors="replace"), str(path))
    return tuple(Patch(entry, _read(path.parent / entry.path, _MAX_PATCH_BYTES)) for entry in entries)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise FirmwareError(f"cannot read {path}: {error.strerror}", "check --series and the files it lists") from None
    if len(content) > limit:
        raise FirmwareError(f"{path} has more than {limit >> 20} MiB", "it is not a patch series")
    return content


def quilt_series(text: str) -> tuple[str, ...]:
    """Return the patches of a Debian package's debian/patches/series, where options after a name are not used."""
    lines = (re.sub(r"(?:^|\s)#.*", "", line).strip() for line in text.splitlines())
    names = tuple(line for line in lines if line)
    for name in names:
        if " " in name or name.startswith("/") or ".." in name.split("/"):
            raise SourceError(f"debian/patches/series: {name[:100]!a} cannot be applied", "use another version")
    return names


def apply_series(store: Store, commit: str, patches: tuple[Patch, ...], version: int | None) -> str:
    """Commit each patch on top of a commit; returns the last one. Raises PatchError.

    version: upstream's, None if unknown: a patch with a range of versions is then skipped if the source has it.
    """
    with store.editing(store.tree(commit)) as editor:
        for patch in patches:
            if patch.entry.without is not None:
                wanted = patch.entry.without.holds(store, editor.tree())
            elif version is not None:
                wanted = patch.entry.wanted(version)
            else:
                wanted = not (patch.entry.bounds and editor.applies(patch.content, reverse=True))
            if wanted:
                editor.apply(patch.content, patch.name)
                commit = store.commit(editor.tree(), patch.message, (commit,))
    return commit
