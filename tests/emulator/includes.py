# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulator's #include graph, and the rules of its halves."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
_SOURCES = ("*.c", "*.h", "*.S")
#: Directories of harness/emulator, and those that a file of each may include beside its own.
ALLOWED = {
    "include": (),
    "common": ("include",),
    "hardware": ("common", "include"),
    "hypervisor": ("common", "include"),
    "svsm": ("include",),
    "plugin": ("include",),
}
#: The one header of the hardware that the hypervisor may include.
DOOR = "hardware/hw.h"
#: Headers of state that a hypervisor cannot read.
PRIVATE_TO_HARDWARE = "include/vmsa.h"


def graph(root: Path) -> dict[str, set[str]]:
    """What each file includes, by paths relative to `root`; an include that is not found keeps its name."""
    return {
        path.relative_to(root).as_posix(): {_find(root, path, name) for name in _INCLUDE.findall(path.read_text())}
        for directory in ALLOWED
        for pattern in _SOURCES
        for path in sorted((root / directory).glob(pattern))
    }


def _find(root: Path, source: Path, name: str) -> str:
    """Resolve it like the compiler: beside the file, then from the root, then in include/ and common/."""
    for directory in (source.parent, root, root / "include", root / "common"):
        if (directory / name).is_file():
            return (directory / name).resolve().relative_to(root.resolve()).as_posix()
    return name


def reachable(includes: dict[str, set[str]], start: str) -> set[str]:
    """Every file that `start` includes, directly or not."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in includes.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen


def subjects(includes: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same for the emulator itself with each source and its header as one; the files of the others as they are."""
    found: dict[str, set[str]] = {}
    for source, names in includes.items():
        found.setdefault(_subject(source), set()).update(_subject(name) for name in names)
    return {subject: names - {subject} for subject, names in found.items()}


def _subject(path: str) -> str:
    return path.rsplit(".", 1)[0] if path.split("/")[0] in ("common", "hardware", "hypervisor") else path


def problems(root: Path) -> list[str]:
    """Return a line for each violation: circles, includes across directories, vmsa.h in the hypervisor."""
    includes = graph(root)
    found = []
    try:
        TopologicalSorter(subjects(includes)).prepare()
    except CycleError as error:
        found.append("a circle: " + " -> ".join(error.args[1]))
    for source, names in includes.items():
        home = source.split("/")[0]
        for name in sorted(names):
            directory, _, rest = name.partition("/")
            if not rest:
                found.append(f"{source} includes {name}, which is nowhere")
            elif directory != home and directory not in ALLOWED[home] and (home, name) != ("hypervisor", DOOR):
                found.append(f"{source} includes {name}")
        if home == "hypervisor" and PRIVATE_TO_HARDWARE in reachable(includes, source):
            found.append(f"{source} sees {PRIVATE_TO_HARDWARE}")
    return found
