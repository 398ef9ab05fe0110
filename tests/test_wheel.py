# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheel, installed into an environment of its own on a machine without a compiler, outside any checkout."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from snp_harness.errors import EXIT_HOLDS, EXIT_USAGE, EXIT_VIOLATED
from snp_harness.version import build
from tests.firmware.conftest import trixie_path

__all__ = ["trixie_path"]

ROOT = Path(__file__).parents[1]
TIMEOUT_S = 600.0
#: What a machine without a compiler lacks; names with a version or a prefix (x86_64-linux-gnu-gcc-12) too.
COMPILERS = {"as", "c89", "c99", "cc", "clang", "cpp", "g++", "gcc", "gmake", "gold", "ld", "make", "objcopy"}

pytestmark = [pytest.mark.slow, pytest.mark.emulated]


def command(*argv: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        argv,
        env={**environment, **env},
        cwd=env.get("PWD", ROOT),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def _is_compiler(name: str) -> bool:
    return bool(COMPILERS & {name, *name.split("-")})


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the machine's programs, without compilers."""
    directory = tmp_path_factory.mktemp("bin")
    for folder in os.environ["PATH"].split(os.pathsep):
        for program in Path(folder).glob("*"):
            if not _is_compiler(program.name) and not (directory / program.name).is_symlink():
                (directory / program.name).symlink_to(program)
    return directory


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, path: Path) -> Path:
    """The programs of an environment with the wheel, its dependencies from the package index, and pytest."""
    directory = tmp_path_factory.mktemp("wheel")
    built = command(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory)
    assert built.returncode == 0, built.stderr
    (wheel,) = directory.glob("*.whl")
    venv.create(directory / "venv", with_pip=True)
    programs = directory / "venv/bin"
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")
    done = command(*pip, wheel, "pytest", PATH=str(path))
    if done.returncode != 0 and "No matching distribution" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return programs


@pytest.mark.usefixtures("trixie_path")
def test_the_main_job(installed: Path, path: Path, tmp_path: Path) -> None:
    environment = {"PATH": str(path), "PWD": str(tmp_path)}
    run = (installed / "snp-harness", "run", "--quiet", "--firmware", "debian:trixie", "--out", tmp_path / "run")
    done = command(*run, **environment)
    assert done.returncode == EXIT_VIOLATED, done.stdout + done.stderr
    recorded = json.loads((tmp_path / "run/environment.json").read_text())
    assert recorded["snp_harness"] == build().version
    assert recorded["commit"] == build().commit
    page = command(installed / "snp-harness", "report", tmp_path / "run", "--format", "html", **environment)
    assert page.returncode == EXIT_VIOLATED, page.stderr
    assert "uPlot" in page.stdout


@pytest.mark.usefixtures("trixie_path")
def test_commands_from_an_empty_directory(installed: Path, path: Path, tmp_path: Path) -> None:
    """One after the other, as somebody types them who has nothing but the wheel."""
    environment = {"PATH": str(path), "PWD": str(tmp_path)}

    def call(line: str) -> subprocess.CompletedProcess[str]:
        return command(installed / "snp-harness", *line.split(), **environment)

    run = call("run debian:trixie --until sec")
    assert run.returncode == EXIT_VIOLATED, run.stderr
    report = call("report runs/latest")
    assert (report.returncode, report.stdout.splitlines()[0]) == (EXIT_VIOLATED, run.stdout.splitlines()[0])
    plain = call("run debian:trixie --svsm-config alternate-injection-off --out off --quiet")
    assert plain.returncode == EXIT_HOLDS, plain.stderr
    difference = call("diff runs/latest off --json")
    assert difference.returncode == EXIT_VIOLATED, difference.stderr
    assert not json.loads(difference.stdout)["equal"]
    same = call("diff runs/latest runs/latest")
    assert (same.returncode, same.stderr) == (EXIT_HOLDS, "")
    configs = "--svsm-config alternate-injection --svsm-config plain"
    matrix = call(f"matrix a=debian:trixie b=debian:trixie {configs} --expect */alt*=violated --same-as a --json")
    assert matrix.returncode == EXIT_HOLDS, matrix.stdout + matrix.stderr
    found = json.loads(matrix.stdout)
    assert [cell["verdict"] for cell in found["cells"]] == ["violated", "violated", "does not apply", "does not apply"]
    assert (tmp_path / "runs/matrix/latest/index.html").is_file()


def test_the_series_is_in_the_wheel(installed: Path, path: Path, tmp_path: Path) -> None:
    """The error is that of the source, which is read after the series."""
    (tmp_path / "edk2").mkdir()
    environment = {"PATH": str(path), "PWD": str(tmp_path)}
    build_it = (installed / "snp-harness", "firmware", "build", "--source", "edk2", "--series")
    done = command(*build_it, "ovmf_patches/series", **environment)
    assert done.returncode == EXIT_USAGE
    assert "edk2" in done.stderr
    assert "series" not in done.stderr
    assert "cannot read other/series" in command(*build_it, "other/series", **environment).stderr


@pytest.mark.edk2
def test_firmware_that_is_built_with_the_series_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    build_it = (installed / "snp-harness", "firmware", "build", "--series", "ovmf_patches/series", "--quiet")
    done = command(*build_it, PWD=str(tmp_path))
    assert done.returncode == EXIT_HOLDS, done.stderr
    run = command(installed / "snp-harness", "run", done.stdout.strip(), "--quiet", PWD=str(tmp_path))
    assert run.returncode == EXIT_HOLDS, run.stdout + run.stderr
    assert run.stdout.startswith("holds: ")


def test_the_module_is_the_command(installed: Path, path: Path, tmp_path: Path) -> None:
    environment = {"PATH": str(path), "PWD": str(tmp_path)}
    for argv in ((installed / "snp-harness",), (installed / "python", "-m", "snp_harness")):
        assert command(*argv, "--version", **environment).stdout == f"snp-harness {build().version}\n"


def test_the_manual_page(installed: Path) -> None:
    """Beside the programs, where man looks for the pages of a program in PATH."""
    page = (installed.parent / "share/man/man1/snp-harness.1").read_text()
    assert f'"{build().version}"'.replace("-", "\\-") in page
    assert ".SS snp\\-harness run\n" in page


def test_files_beside_the_code(installed: Path, path: Path, tmp_path: Path) -> None:
    sources = runpy.run_path(str(ROOT / "hatch_build.py"))["SOURCES"]
    names = [
        *(
            str(file.relative_to(ROOT))
            for folder in ("ovmf_patches", "svsm_configs")
            for file in (ROOT / folder).rglob("*")
            if file.is_file()
        ),
        *(f"{source}/build/{image}" for source, images in sources for image in images),
        "guests/kvm_host/recipe.toml",
        "guests/kvm_host/start.py",
    ]
    missing = "[name for name in sys.argv[1:] if not data_file(name).is_file()]"
    program = f"import sys; from snp_harness.data import data_file; print(*{missing})"
    done = command(installed / "python", "-c", program, *names, PATH=str(path), PWD=str(tmp_path))
    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_project_with_a_harness_folder(installed: Path, path: Path, tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness/__init__.py").write_text("")
    (tmp_path / "harness/own.py").write_text("ANSWER = 42\n")
    (tmp_path / "test_own.py").write_text(
        "from harness.own import ANSWER\ndef test_it(snp_platform):\n    assert ANSWER == 42\n"
    )
    done = command(installed / "python", "-m", "pytest", "-q", PATH=str(path), PWD=str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
