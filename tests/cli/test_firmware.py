# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness firmware`: what it prints, and what it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snp_harness.cli.main import main
from snp_harness.errors import EXIT_USAGE
from tests.edk2.trees import stand_in_tools, write_buildable, write_tree


@pytest.fixture
def edk2(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in stand_in_tools(tmp_path / "tools").items():
        monkeypatch.setenv(name, value)
    return write_tree(write_buildable(tmp_path / "edk2"), {"Pkg/code.c": b"code"})


def build(edk2: Path, *arguments: str) -> int:
    return main(["firmware", "build", "--source", str(edk2), *arguments])


def test_the_images_path_is_printed(edk2: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(edk2) == 0
    captured = capsys.readouterr()
    assert Path(captured.out.strip()).read_bytes() == b"code"
    assert f"{edk2}: reading the source" in captured.err


def test_a_copy_says_what_it_was_built_from(edk2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "out"
    assert build(edk2, "--out", str(out), "--json", "--quiet") == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["path"], told["platform"], told["sec_only"]) == (str(out / "OVMF.fd"), "OvmfX64", False)
    assert captured.err == ""
    assert sorted(path.name for path in out.iterdir()) == ["OVMF.fd", "build.json", "symbols"]


def test_what_cannot_be_written_to_is_told_before_the_build(
    edk2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("theirs")
    for out, why in (("file", "it is not a directory"), ("file/below", "Not a directory")):
        assert build(edk2, "--out", str(tmp_path / out)) == EXIT_USAGE
        assert f"{why}: name another directory with --out" in capsys.readouterr().err
    assert not (tmp_path / "cache" / "snp-harness" / "edk2" / "work").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", ""), "the name is empty"),
        (("--source", "debian:"), "does not name a suite of Debian"),
        (("--source", "/nowhere"), "is not a directory"),
        (("--platform", "Foo"), "is not a platform that can be built"),
        (("--target", "FAST"), "is not a target"),
        (("--define", "A=$(B)"), "is not a define"),
        (("--series", "/nowhere"), "cannot read /nowhere"),
    ],
)
def test_wrong_arguments(edk2: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: int | str | None = build(edk2, *arguments)
    except SystemExit as end:
        status = end.code
    assert status == EXIT_USAGE
    captured = capsys.readouterr()
    assert said in captured.err.splitlines()[-1]
    assert captured.out == ""
