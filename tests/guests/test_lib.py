# SPDX-License-Identifier: GPL-2.0-or-later
"""guests/lib does not depend on a guest: it calls only functions that the guest has registered."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.guests.points import ROOT, SOURCES
from tests.helpers.guest_image import compile_guest

TIMEOUT_S = 60
#: Symbols that guest.ld defines.
OF_THE_LINKER_SCRIPT = {"bss_start", "bss_end", "guest_hooks"}


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("conformance-guest")
    compile_guest(directory, SOURCES, "svsm-apic-conformance.fd")
    return directory


def symbols(kind: str, *files: Path) -> set[str]:
    command = ["nm", "--format=just-symbols", kind, *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    return {line for line in done.stdout.splitlines() if line and not line.endswith(":")}


def test_the_library_uses_no_symbol_of_a_guest(objects: Path, tmp_path: Path) -> None:
    parts = sorted((objects / "lib").glob("*.o"))
    library = tmp_path / "lib.o"
    subprocess.run(["ld", "-r", "-o", library, *parts], check=True, timeout=TIMEOUT_S)
    assert symbols("--undefined-only", library) == OF_THE_LINKER_SCRIPT
    guest = symbols("--defined-only", *sorted(objects.glob("*.o")))
    assert {"guest_main", "run_fuzz"} <= guest
    assert not symbols("--undefined-only", *parts) & guest


def test_the_library_includes_no_header_of_a_guest() -> None:
    library, include = ROOT / "guests" / "lib", ROOT / "harness" / "emulator" / "include"
    sources = [*library.glob("*.c"), *library.glob("*.S")]
    done = subprocess.run(
        ["gcc", "-MM", f"-I{include}", f"-I{library}", *sources],
        check=True, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    used = {Path(word).resolve().parent for word in done.stdout.split() if word.endswith(".h")}
    assert used == {library, include}
