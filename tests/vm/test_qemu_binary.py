# SPDX-License-Identifier: GPL-2.0-or-later
"""Finding QEMU, and the errors of what is not one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from snp_harness.errors import EXIT_ENVIRONMENT
from snp_harness.vm.qemu_binary import PROGRAM, VARIABLE, QemuBinary
from snp_harness.vm.qemu_errors import NotQemuError, QemuError, QemuMissingError, QemuTooOldError
from tests.vm.qemus import script


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def check_one_line(error: QemuError) -> None:
    assert error.exit_status >= EXIT_ENVIRONMENT
    assert "\n" not in str(error)
    assert error.hint


def test_the_installed_one() -> None:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    found = QemuBinary.find()
    assert found.version >= (7, 2, 0)
    assert found.prefix == (shutil.which(PROGRAM),)
    assert str(found).startswith(".".join(map(str, found.version)))


def test_path_goes_before_variable_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = script(tmp_path / "a" / PROGRAM, "QEMU emulator version 8.0.1")
    second = script(tmp_path / "b" / PROGRAM, "QEMU emulator version 9.0.2 (Debian 1:9)")
    third = script(tmp_path / "c" / PROGRAM, "QEMU emulator version 10.0")
    monkeypatch.setenv("PATH", f"{third.parent}:/usr/bin:/bin")
    assert QemuBinary.find().version == (10, 0, 0)
    monkeypatch.setenv(VARIABLE, str(second))
    assert QemuBinary.find().version == (9, 0, 2)
    assert QemuBinary.find(first).version == (8, 0, 1)


def test_none_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QemuMissingError, match="is not installed: apt-get install") as caught:
        QemuBinary.find()
    check_one_line(caught.value)


def test_what_the_variable_names_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "qemu"))
    with pytest.raises(QemuMissingError, match="not found") as caught:
        QemuBinary.find()
    check_one_line(caught.value)


def test_not_executable(tmp_path: Path) -> None:
    path = script(tmp_path / "qemu", "QEMU emulator version 9.0.2")
    path.chmod(0o644)
    with pytest.raises(QemuMissingError, match="cannot be executed") as caught:
        QemuBinary.find(path)
    check_one_line(caught.value)


def test_not_a_program(tmp_path: Path) -> None:
    path = tmp_path / "qemu"
    path.write_bytes(b"\x7fELF nonsense")
    path.chmod(0o755)
    with pytest.raises(QemuMissingError, match="Exec format error") as caught:
        QemuBinary.find(path)
    check_one_line(caught.value)


@pytest.mark.parametrize("text", ["GNU bash, version 5", "", "QEMU emulator version banana", "x" * 100_000])
def test_not_a_qemu(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotQemuError, match="is not a QEMU") as caught:
        QemuBinary.find(script(tmp_path / "qemu", text))
    check_one_line(caught.value)


def test_a_qemu_that_fails(tmp_path: Path) -> None:
    with pytest.raises(NotQemuError, match="is not a QEMU"):
        QemuBinary.find(Path(shutil.which("false") or "/bin/false"))


@pytest.mark.parametrize("version", ["6.2.0", "7.1.9", "2.11"])
def test_too_old(tmp_path: Path, version: str) -> None:
    with pytest.raises(QemuTooOldError, match=r"too old: 7\.2 or newer") as caught:
        QemuBinary.find(script(tmp_path / "qemu", f"QEMU emulator version {version}"))
    check_one_line(caught.value)


def test_an_unpacked_one_runs_by_its_own_loader(tmp_path: Path) -> None:
    path = script(tmp_path / "usr" / "bin" / PROGRAM, "")
    (tmp_path / "usr" / "lib64").mkdir()
    loader = script(tmp_path / "usr" / "lib64" / "ld-linux-x86-64.so.2", "QEMU emulator version 11.1.3")
    (tmp_path / "usr" / "share" / "qemu").mkdir(parents=True)
    found = QemuBinary.find(tmp_path)
    assert found.path == path
    assert found.prefix[0] == str(loader)
    assert found.prefix[-3:] == (str(path), "-L", str(tmp_path / "usr" / "share" / "qemu"))
    assert str(loader.parent) in found.prefix[found.prefix.index("--library-path") + 1]
    assert QemuBinary.find(path) == found
    assert found.version == (11, 1, 3)


def test_a_directory_without_one(tmp_path: Path) -> None:
    with pytest.raises(QemuMissingError, match="no qemu-system-x86_64 in"):
        QemuBinary.find(tmp_path)
