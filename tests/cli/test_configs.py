# SPDX-License-Identifier: GPL-2.0-or-later
"""`snp-harness configs`."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.svsm.config_files import load_config, shipped_configs


def test_every_configuration_has_a_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["configs", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(shipped_configs())
    assert [line for line in lines if "(default)" in line] == ["alternate-injection (default)"]
    assert all(len(line) > 20 and "SPDX" not in line for line in lines[1::2])


def test_a_copy_can_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["configs", "show", "fault-busy"]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["configs", "copy", "fault-busy"]) == 0
    assert capsys.readouterr().out == "fault-busy.toml\n"
    assert Path("fault-busy.toml").read_text(encoding="utf-8") == shown
    assert load_config(Path("fault-busy.toml")) == load_config("fault-busy")
    assert cli.main(["configs", "copy", "fault-busy"]) == 2
    assert "fault-busy.toml exists" in capsys.readouterr().err
    assert cli.main(["configs", "copy", "fault-busy", "own.toml"]) == 0
    assert cli.main(["configs", "copy", "fault-busy", "none/own.toml"]) == 128


@pytest.mark.parametrize("name", ["fault-bsy", "../svsm_configs/plain.toml"])
def test_a_name_that_there_is_not(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["configs", "show", name]) == 2
    assert "no configuration is named" in capsys.readouterr().err
