# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness import data
from snp_harness.data import data_file


@pytest.mark.parametrize("name", ["svsm_configs/alternate-injection.toml", "guests/kvm_host/recipe.toml"])
def test_files_of_a_checkout(name: str) -> None:
    assert data_file(name).is_file()


def test_files_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "_ROOT", tmp_path)
    assert data_file("svsm_configs") == tmp_path / "svsm_configs"
