# SPDX-License-Identifier: GPL-2.0-or-later
"""Options from pyproject.toml and from the user's config.toml."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.cli.main import build_parser


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "snp-harness").mkdir(parents=True)
    directory = tmp_path / "project"
    (directory / "below").mkdir(parents=True)
    monkeypatch.chdir(directory / "below")
    return directory


def user(project: Path, text: str) -> None:
    (project.parent / "config" / "snp-harness" / "config.toml").write_text(text)


def parse(*arguments: str) -> argparse.Namespace:
    return build_parser(list(arguments)).parse_args(list(arguments))


def test_the_command_line_then_the_project_then_the_user(project: Path) -> None:
    user(project, 'platform = "tcg"\ntimeout = 60\nicount = true\n')
    (project / "pyproject.toml").write_text("[tool.snp-harness]\ntimeout = 30\n[tool.snp-harness.run]\nvcpus = 2\n")
    options = parse("run")
    assert (options.platform, options.timeout, options.icount, options.vcpus) == ("tcg", 30.0, True, 2)
    assert parse("run", "--timeout", "5").timeout == 5.0
    # conformance has no --icount, and the table of run is not its own.
    assert (parse("conformance").platform, parse("conformance").vcpus) == ("tcg", 0)
    assert [text.partition(":")[0] for text in options.settings] == [
        f"options of {project.parent}/config/snp-harness/config.toml",
        f"options of {project}/pyproject.toml",
    ]


def test_paths_are_relative_to_the_file(project: Path) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.snp-harness]\nfirmware = "Build/OVMF.fd"\nqemu = "debian:sid"\nsvsm-config = "plain"\nout = "runs/one"\n'
        'rule = ["x2apic-before-sec", "legal-transition"]\n'
    )
    options = parse("run")
    assert (options.firmware, options.qemu, options.svsm_config) == (
        str(project / "Build/OVMF.fd"),
        "debian:sid",
        "plain",
    )
    assert options.out == project / "runs/one"
    assert options.rule == ["x2apic-before-sec", "legal-transition"]


def test_a_firmware_that_is_named_replaces_that_of_the_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user(project, 'firmware = "none.fd"\n')
    assert cli.main(["run", "other.fd"]) == 2
    assert "firmware other.fd not found" in capsys.readouterr().err


def test_no_file_and_other_projects(project: Path) -> None:
    assert parse("run").settings == ()
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert parse("run").platform == "emulated"
    # A step of a bisection is what its bisection asks for.
    user(project, 'platform = "tcg"\n')
    assert parse("bisect-step").platform == "emulated"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("platform = ", "is not TOML"),
        ("platfrom = 'tcg'", "no command has an option 'platfrom': did you mean platform?"),
        ("[run]\ntimout = 1", "run has no option 'timout': did you mean timeout?"),
        ("timeout = 0", "timeout: '0' is not a positive number"),
        ("until = 'pie'", "until: 'pie' is not one of sec, pei, dxe"),
        ("icount = 1", "icount cannot be 1: use true or false"),
        ("vcpus = [1]", "vcpus cannot be [1]"),
        ("json = true", "json cannot be True"),
    ],
)
def test_what_cannot_be_set(text: str, said: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user(project, text + "\n")
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(["run"])
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.emulated
def test_what_is_run_is_told(
    project: Path, snp_firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user(project, f'firmware = "{snp_firmware}"\n')
    cli.main(["run", "--verbose", "--out", str(tmp_path / "out")])
    output = capsys.readouterr()
    for line in (f"firmware = {snp_firmware}", "platform emulated on local", f"run directory {tmp_path}/out"):
        assert line in output.err
    assert f"note           options of {tmp_path}/config/snp-harness/config.toml" in output.out
