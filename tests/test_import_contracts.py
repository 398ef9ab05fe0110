# SPDX-License-Identifier: GPL-2.0-or-later
"""The contracts of pyproject.toml between the rooms hold, and each fails with an import that it forbids."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import snp_harness

PACKAGE = Path(snp_harness.__file__ or "").parent
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
CONTRACTS = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
}
TIMEOUT_S = 120.0


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    """lint-imports on the package in a directory. It leaves the working directory first in the path."""
    argv = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache", str(PYPROJECT)]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, in a directory of its own."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__", "data"))
    return tmp_path


def test_the_contracts_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert f"{len(CONTRACTS)} kept, 0 broken" in done.stdout


#: A contract, a file that gets an import, and what it imports.
FORBIDDEN = [
    ("layers", "capture/record.py", "report.text"),
    ("layers", "hosts/host.py", "platforms.tcg"),
    ("layers", "vm/rundir.py", "testing.plugin"),
    ("layers", "firmware_run.py", "cli.main"),
    ("layers", "platforms/tcg.py", "report.text"),
    ("layers", "apic/access.py", "vm.rundir"),
    ("domain", "apic/access.py", "data"),
    ("domain", "svsm/protocol.py", "svsm.config"),
    ("collector", "capture/entries.py", "capture.collect"),
    ("configuration", "svsm/config.py", "firmware.image"),
    ("configuration", "svsm/sev.py", "apic.access"),
    ("configuration-files", "svsm/config.py", "svsm.config_files"),
    ("report", "report/text.py", "vm.qmp"),
    ("edk2", "edk2/build.py", "hosts.local"),
    ("shipped", "agent/mux.py", "errors"),
    ("standard-library", "launch/spawn.py", "msgspec"),
    ("nested-host", "hosts/remote.py", "tools.kvm_host.recipe"),
]


@pytest.mark.parametrize(("contract", "file", "imported"), FORBIDDEN)
def test_a_forbidden_import_fails(contract: str, file: str, imported: str, copy: Path) -> None:
    line = "import msgspec" if imported == "msgspec" else f"import snp_harness.{imported}"
    with (copy / PACKAGE.name / file).open("a", encoding="utf-8") as source:
        source.write(f"\n\ndef _forbidden() -> None:\n    {line}\n")
    done = lint(copy)
    assert done.returncode == 1
    assert f"{CONTRACTS[contract]} BROKEN" in " ".join(done.stdout.split())


def test_every_contract_is_tried() -> None:
    assert {contract for contract, _, _ in FORBIDDEN} == set(CONTRACTS)


def test_a_new_room_has_to_be_placed(copy: Path) -> None:
    (copy / PACKAGE.name / "attic").mkdir()
    (copy / PACKAGE.name / "attic/__init__.py").write_text("")
    done = lint(copy)
    assert done.returncode == 1
    assert "attic" in done.stdout
