# SPDX-License-Identifier: GPL-2.0-or-later
"""The tutorial's commands, run as it shows them: it builds edk2 twice, with the user's cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import DOCS, ROOT, files, matches, page_text, shown, tutorial

pytestmark = [pytest.mark.edk2, pytest.mark.slow, pytest.mark.emulated]
TIMEOUT_S = 3600.0
#: The command, as the tutorial's reader has it in PATH.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def build_stock() -> None:
    """Build the stock image last: the tutorial's reader has the workspace of it, not of a build since.

    An older image in the cache has no debug files.
    """
    for _ in range(2):
        argv = ["snp-harness", "firmware", "build", "--quiet"]
        done = subprocess.run(argv, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=True)
        image = Path(done.stdout.strip())
        workspaces = sorted((image.parents[2] / "work").glob("*/source"), key=lambda path: path.parent.stat().st_mtime)
        built = workspaces[-1] / "Build" / "OvmfX64" / "DEBUG_GCC5" / "FV" / "OVMF.fd"
        kept = built.is_file() and built.read_bytes() == image.read_bytes()
        if kept and (image.parent / "symbols").is_dir():
            return
        shutil.rmtree(image.parent)
    pytest.fail("the workspace used last has another build than the image's")


def test_each_command_prints_what_is_shown(tmp_path: Path) -> None:
    page = page_text(DOCS / "tutorial.md")
    build_stock()
    (tmp_path / "test_contract.py").write_text(files(page)["test_contract.py"], encoding="utf-8")
    (tmp_path / "ovmf_patches").symlink_to(ROOT / "ovmf_patches")
    script = []
    for command in tutorial():
        # Each command's output, and its status, behind a line that names it.
        columns = "COLUMNS=80 " if command.startswith("snp-harness timeline") else ""
        script += [f"cat <<'END'\n>>> {command}\nEND", columns + command, "echo '<<<' $?"]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    ran = dict(re.findall(r"^>>> (.*)\n((?:.*\n)*?<<< \d+)$", done.stdout, re.MULTILINE))
    runs = {name: f"snp-harness run --firmware build/{name}/OVMF.fd" for name in ("stock", "fixed")}
    tests = {name: f"pytest --snp-firmware build/{name}/OVMF.fd test_contract.py" for name in ("stock", "fixed")}
    failing = {runs["stock"], tests["stock"]}
    for command, output in ran.items():
        assert output.endswith("<<< 1" if command in failing else "<<< 0"), f"{command}\n{output}"
    for command in runs.values():
        assert matches(shown(page, command), ran[command]), ran[command]
    grepped = next(output for command, output in ran.items() if command.startswith("grep"))
    assert grepped.removesuffix("<<< 0") in page
    timeline = ran["snp-harness timeline runs/latest"]
    line = r"0/2   SecMain\+4CD9 +r  SVR +FF +mmio hv$"
    assert all(re.search(line, text, re.MULTILINE) for text in (page, timeline)), timeline
    assert "1 passed" in ran[tests["fixed"]]
    assert "7 local-APIC accesses in SEC before x2APIC mode" in ran[tests["stock"]]
