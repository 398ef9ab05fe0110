# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of docs/formats.md, as the CI systems of its recipes would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml

from tests.documents import recipes


@pytest.mark.emulated
def test_the_recipes_of_the_page(snp_firmware: Path, tmp_path: Path) -> None:
    commands = recipes()
    assert len(commands) >= 7
    (tmp_path / "OVMF.fd").symlink_to(snp_firmware)
    summary = tmp_path / "summary.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GITHUB_STEP_SUMMARY": str(summary)}
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        # The firmware is a stock one: violated, unless the recipe leaves the status to another step.
        assert done.returncode in (0, 1), f"{command}: {done.stderr}"
    assert summary.read_text().startswith("### ❌ violated: 7 local-APIC accesses")
    assert json.loads((tmp_path / "snp.sarif").read_text())["runs"][0]["results"]
    assert json.loads((tmp_path / "gl-code-quality.json").read_text())
    assert next(iter(JUnitXml.fromfile(str(tmp_path / "junit.xml")))).failures > 0
