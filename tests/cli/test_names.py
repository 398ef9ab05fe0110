# SPDX-License-Identifier: GPL-2.0-or-later
"""A name that is not known is answered with the one that is close."""

from __future__ import annotations

from pathlib import Path

import pytest

import snp_harness.debian.qemu_bundle
from snp_harness.cli import main as cli
from snp_harness.cli.main import build_parser
from snp_harness.cli.resources import find_qemu
from snp_harness.vm.qemu_binary import QemuBinary


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "did you mean run?"),
        (["run", "--firmwar", "x"], "unknown option --firmwar: did you mean --firmware?"),
        (["run", "--firmwar=x"], "unknown option --firmwar: did you mean --firmware?"),
        (["run", "--until", "pie"], "did you mean pei?"),
        (["igvm", "shw", "x"], "did you mean show?"),
        (["timeline", "x", "--bogus"], "unknown option --bogus: see snp-harness timeline --help"),
        (["timeline", "x", "--phase", "sce"], "did you mean sec?"),
    ],
)
def test_options_and_commands(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(arguments)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--platform", "emulted"], "did you mean emulated?"),
        (["--svsm-config", "plan"], "did you mean plain?"),
        (["a.fd", "--firmware", "b.fd"], "two firmwares are named: 'a.fd' and --firmware: name one of them"),
    ],
)
def test_values(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_run_has_its_firmware_as_an_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "OVMF.fd").write_bytes(b"\x7fELF")
    assert cli.main(["run", str(tmp_path / "OVMF.fd")]) == 2
    assert "is an ELF file" in capsys.readouterr().err


def test_the_variable_may_name_a_qemu_of_debian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    qemu = tmp_path / "bin" / "qemu-system-x86_64"
    qemu.parent.mkdir()
    qemu.write_text("#!/bin/sh\n")
    qemu.chmod(0o755)
    asked: list[str] = []

    def named(spec: str, *_: object) -> Path | None:
        asked.append(spec)
        return tmp_path if spec == "debian:sid" else None

    monkeypatch.setattr(snp_harness.debian.qemu_bundle, "named_qemu", named)
    monkeypatch.setenv("SNP_HARNESS_QEMU", "debian:sid")
    options = build_parser(["run"]).parse_args(["run"])
    assert find_qemu(options) == tmp_path
    assert QemuBinary.locate().path == qemu
    monkeypatch.setenv("SNP_HARNESS_QEMU", str(qemu))
    assert find_qemu(options) is None
    assert QemuBinary.locate().path == qemu
    assert asked == ["debian:sid"] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--target", "DEBGU"], "did you mean DEBUG?"), (["--platform", "OvmfX46"], "did you mean OvmfX64?")],
)
def test_what_is_built(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["firmware", "build", *arguments]) == 2
    assert said in capsys.readouterr().err
