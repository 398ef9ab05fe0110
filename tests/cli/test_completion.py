# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness completion`: what a shell completes with the script."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from snp_harness.cli import main as cli

#: Completes the words that are its arguments, the last of which may be empty, and prints what is offered.
DRIVER = 'COMP_WORDS=(snp-harness "$@"); COMP_CWORD=$#; _snp_harness; printf "%s\\n" "${COMPREPLY[@]}"'

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(capsys: pytest.CaptureFixture[str]) -> Complete:
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def call(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", script + DRIVER, "bash", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return call


def test_commands(complete: Complete) -> None:
    assert set(cli.COMMANDS) < set(complete(""))
    assert complete("bis") == ["bisect", "bisect-step"]


def test_options_and_their_values(complete: Complete) -> None:
    assert complete("run", "--fi") == ["--firmware"]
    assert complete("run", "--platform", "") == ["emulated", "tcg", "kvm", "nested", "snp"]
    assert complete("run", "--platform", "tcg", "--svsm-config", "pl") == ["plain"]
    assert "sarif" in complete("report", "out", "--format", "")
    assert complete("report", "out", "--rule", "x2") == ["x2apic-before-sec"]
    assert complete("igvm", "sh") == ["show"]
    assert complete("rules", "explain", "x2") == ["x2apic-before-sec"]
    assert complete("matrix", "a.fd", "--svsm-config", "two") == ["two-witnesses"]
    assert complete("matrix", "a.fd", "--format", "mark") == ["markdown"]
    assert complete("bisect-step", "--find") == ["--find-fix"]
    assert complete("igvm", "inject", "--drop") == ["--drop-id-block"]
    assert complete("cache", "clean", "--d") == ["--dry-run"]
    assert complete("firmware", "build", "--s") == ["--source", "--series", "--sec-only"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(command in script for command in cli.COMMANDS)
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, timeout=60, check=True)
