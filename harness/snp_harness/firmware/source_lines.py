# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the source lines of accesses in the debug files of a build. Only a file whose code is the image's is used."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from snp_harness.apic.access import Access
from snp_harness.apic.source_place import PLACES_MAX, SourcePlace
from snp_harness.firmware.debug_directories import SUFFIX
from snp_harness.firmware.debug_file import DebugFile, DebugFileError
from snp_harness.firmware.firmware_modules import Module
from snp_harness.firmware.image import FirmwareImage

#: Bounds: entries of directories that are looked at, and files of one name.
_ENTRIES_MAX = 200_000
_SAME_NAME_MAX = 16


class SourceLines:
    """The source of an image's code. directories: with debug files, searched in this order."""

    def __init__(self, image: FirmwareImage, directories: Sequence[Path]) -> None:
        self._image = image
        self._directories = tuple(directories)
        self._files: dict[str, list[Path]] | None = None
        self._opened: dict[str, list[DebugFile]] = {}
        #: Why a module has no source lines, for the reader.
        self.notes: list[str] = []

    def places(self, accesses: Iterable[Access]) -> tuple[SourcePlace, ...]:
        """Return the source of the accesses' instructions, one for each instruction whose source is known."""
        wanted = {
            (access.module, access.module_offset): None
            for access in accesses
            if access.module is not None and access.module_offset is not None
        }
        found = []
        for module, offset in list(wanted)[:PLACES_MAX] if self._directories else ():
            assert module is not None
            assert offset is not None
            # Two modules of one name can differ: their source is not known then.
            frames = {file.frames(offset) for file in self._of(module)}
            if len(frames) == 1 and (only := frames.pop()):
                found.append(SourcePlace(module, offset, only))
        return tuple(found)

    def _of(self, name: str) -> list[DebugFile]:
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> list[DebugFile]:
        modules = [module for module in self._image.modules if module.name == name]
        found, why = [], []
        for path in self._named({name, *_debug_names(modules)}):
            try:
                file = DebugFile(path)
            except DebugFileError as error:
                why.append(f"{path}: {error}")
                continue
            if any(map(file.belongs_to, modules)):
                found.append(file)
            else:
                why.append(f"{path} is of another build")
        if not found:
            where = ", ".join(map(str, self._directories))
            self.notes.append(f"no source lines of {name}: {why[0] if why else f'no {name}{SUFFIX} in {where}'}")
        return found

    def _named(self, names: set[str]) -> Iterator[Path]:
        if self._files is None:
            self._files = defaultdict(list)
            for number, path in enumerate(_walk(self._directories)):
                if number == _ENTRIES_MAX:
                    break
                if path.suffix == SUFFIX and len(same := self._files[path.stem]) < _SAME_NAME_MAX:
                    same.append(path)
        for name in sorted(names):
            yield from self._files.get(name, [])


def _walk(directories: Iterable[Path]) -> Iterator[Path]:
    for directory in directories:
        for parent, _, names in os.walk(directory):
            yield from (Path(parent, name) for name in names)


def _debug_names(modules: Iterable[Module]) -> Iterator[str]:
    """The names of the files that the images say they were made of."""
    for module in modules:
        path = module.image.debug_path() if module.image is not None else None
        if path is not None:
            yield path.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
