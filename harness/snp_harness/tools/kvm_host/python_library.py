# SPDX-License-Identifier: GPL-2.0-or-later
"""The image's Python: the program, its extension modules, and its standard library, which that Python compiles."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass
from pathlib import Path

from snp_harness.debian.program import run
from snp_harness.debian.qemu_bundle import foreign_program
from snp_harness.errors import BrokenEnvironmentError, FetchError
from snp_harness.tools.kvm_host import compile_library
from snp_harness.tools.kvm_host.recipe import Python

_COMPILE_TIMEOUT_S = 300
_HINT = "use another suite"
_DYNAMIC_DIRECTORY = "lib-dynload"


@dataclass(frozen=True, slots=True)
class PythonFiles:
    """Paths in the image, and the files of their contents. version: "3.11"."""

    version: str
    program: Path
    extensions: dict[str, Path]
    compiled: dict[str, Path]


def python_files(tree: Path, recipe: Python, scratch: Path) -> PythonFiles:
    """Collect and compile the files. tree: unpacked packages. scratch: a directory for compiled files.

    Raises BrokenEnvironmentError, FetchError.
    """
    library = next((path.parent for path in sorted(tree.glob("usr/lib/python3.*/os.py"))), None)
    if library is None:
        raise BrokenEnvironmentError("the fetched packages have no Python", _HINT)
    version = library.name.removeprefix("python")
    program = tree / "usr" / "bin" / library.name
    # sitecustomize.py is a link out of the library.
    sources = (path for path in sorted(library.rglob("*.py")) if not path.is_symlink())
    wanted = [path for path in sources if not _left_out(path.relative_to(library), recipe)]
    compiled = _compile(tree, program, library, wanted, scratch)
    extensions = {
        f"{_place(library)}/{_DYNAMIC_DIRECTORY}/{path.name}": path
        for path in sorted((library / _DYNAMIC_DIRECTORY).glob("*.so"))
        if path.name.partition(".")[0] in recipe.extensions
    }
    return PythonFiles(version, program, extensions, compiled)


def _left_out(path: Path, recipe: Python) -> bool:
    return any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in recipe.leave_out)


def _place(library: Path) -> str:
    return f"usr/lib/{library.name}"


def _compile(tree: Path, program: Path, library: Path, wanted: list[Path], scratch: Path) -> dict[str, Path]:
    compiled: dict[str, Path] = {}
    jobs = []
    for source in wanted:
        # Python imports a .pyc at its source's path without the source.
        place = f"{_place(library)}/{source.relative_to(library).with_suffix('.pyc')}"
        compiled[place] = scratch / place
        jobs.append([str(source), str(scratch / place), f"/{_place(library)}/{source.relative_to(library)}"])
    scratch.mkdir(parents=True, exist_ok=True)
    listing = scratch / "jobs.json"
    listing.write_text(json.dumps(jobs), encoding="utf-8")
    done = run(
        (*foreign_program(tree, program), "-S", "-B", compile_library.__file__, listing),
        timeout_s=_COMPILE_TIMEOUT_S,
        env={"PYTHONHOME": str(tree / "usr"), "PYTHONHASHSEED": "0", "PYTHONPATH": ""},
    )
    if done.status:
        raise FetchError(f"the fetched Python does not compile its library: {done.last_words}", _HINT)
    return compiled
