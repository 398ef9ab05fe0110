# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds of different commits have different versions, wherever the harness is built or run from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import snp_harness
from snp_harness.version import BUILD_FILE, NEXT_RELEASE, build
from snp_harness.vm.rundir import ENVIRONMENT, RunDirectory

ROOT = Path(__file__).parents[1]
MODULE = "harness/snp_harness/version.py"
#: What a wheel is built from, without the emulator.
SOURCES = (".gitattributes", ".gitignore", "LICENSE", "README.md", "hatch_build.py", "pyproject.toml")
FOLDERS = ("guests", "harness/snp_harness", "ovmf_patches", "svsm_configs")
TIMEOUT_S = 120.0


def command(*argv: str, cwd: Path, **env: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def git(directory: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Nobody", "-c", "user.email=nobody@example.org")
    return command("git", *identity, *arguments, cwd=directory)


def commit(directory: Path) -> str:
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message=Change")
    return git(directory, "rev-parse", "HEAD")


def found(directory: Path, **env: str) -> dict[str, object]:
    """The build that the package in a directory reports."""
    program = f"import runpy; print(runpy.run_path({str(directory / MODULE)!r})['build']().to_json())"
    parsed: dict[str, object] = json.loads(command(sys.executable, "-c", program, cwd=directory, **env))
    return parsed


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository of one commit, with the module alone."""
    directory = tmp_path / "checkout"
    (directory / MODULE).parent.mkdir(parents=True)
    shutil.copy(ROOT / MODULE, directory / MODULE)
    shutil.copy(ROOT / ".gitattributes", directory)
    git(directory, "init", "--quiet")
    commit(directory)
    return directory


def test_each_commit_has_its_version(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    assert found(checkout) == {
        "version": f"{NEXT_RELEASE}.dev1+g{first[:10]}",
        "commit": first,
        "modified": False,
    }
    second = commit(checkout)
    assert found(checkout)["version"] == f"{NEXT_RELEASE}.dev2+g{second[:10]}"


def test_a_modified_checkout(checkout: Path) -> None:
    (checkout / ".gitattributes").write_text("")
    head = git(checkout, "rev-parse", "HEAD")
    assert found(checkout) == {
        "version": f"{NEXT_RELEASE}.dev1+g{head[:10]}.modified",
        "commit": head,
        "modified": True,
    }


def test_files_that_are_not_tracked_do_not_count(checkout: Path) -> None:
    (checkout / "firmware.fd").write_text("")
    assert found(checkout)["modified"] is False


def test_a_tag_is_a_release_until_the_next_commit(checkout: Path) -> None:
    git(checkout, "tag", "v0.1.1")
    assert found(checkout)["version"] == "0.1.1"
    head = commit(checkout)
    assert found(checkout)["version"] == f"{NEXT_RELEASE}.dev2+g{head[:10]}"


def test_other_tags_are_not_releases(checkout: Path) -> None:
    git(checkout, "tag", "edk2-stable202411")
    assert f"{NEXT_RELEASE}.dev1+g" in str(found(checkout)["version"])


def test_a_shallow_clone(checkout: Path, tmp_path: Path) -> None:
    head = commit(checkout)
    git(tmp_path, "clone", "--quiet", "--depth=1", checkout.as_uri(), "shallow")
    assert found(tmp_path / "shallow")["commit"] == head
    assert str(found(tmp_path / "shallow")["version"]).endswith(f"+g{head[:10]}")


def test_a_worktree(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "--quiet", "--detach", str(tmp_path / "worktree"))
    assert found(tmp_path / "worktree") == found(checkout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_checkout_of_another_user(checkout: Path) -> None:
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 65534, 65534)
    assert found(checkout)["commit"] is not None


def test_inside_a_hook_of_another_repository(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "other")
    assert found(checkout, GIT_DIR=str(tmp_path / "other/.git")) == found(checkout)


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a tar archive: Debian 12's Python has no filters for members yet, newer ones warn without."""
    directory.mkdir()
    command("tar", "-xf", str(archive), cwd=directory)


def test_an_archive_of_a_commit(checkout: Path, tmp_path: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    git(checkout, "archive", f"--output={tmp_path / 'archive.tar'}", "HEAD")
    unpack(tmp_path / "archive.tar", tmp_path / "archive")
    assert found(tmp_path / "archive") == {
        "version": f"{NEXT_RELEASE}.dev0+g{head[:10]}",
        "commit": head,
        "modified": False,
    }


def test_files_inside_the_repository_of_another_project(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    shutil.rmtree(checkout / ".git")
    assert found(checkout) == {"version": f"{NEXT_RELEASE}.dev0", "commit": None, "modified": False}


def test_without_git(checkout: Path, tmp_path: Path) -> None:
    assert found(checkout, PATH=str(tmp_path)) == {"version": f"{NEXT_RELEASE}.dev0", "commit": None, "modified": False}


def test_sdist_and_wheel_keep_the_commit(tmp_path: Path) -> None:
    """The wheel is built from the unpacked sdist, as pip does where there is no wheel."""
    project = tmp_path / "project"
    for name in SOURCES:
        project.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    git(project, "init", "--quiet")
    head = commit(project)
    version = f"{NEXT_RELEASE}.dev1+g{head[:10]}"
    hatchling = (sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path / "dist"))
    command(*hatchling, "-t", "sdist", cwd=project)
    unpack(tmp_path / f"dist/snp_harness-{version}.tar.gz", tmp_path / "sdist")
    unpacked = tmp_path / f"sdist/snp_harness-{version}"
    command(*hatchling, "-t", "wheel", cwd=unpacked, SNP_HARNESS_NO_EMULATOR="1")
    with zipfile.ZipFile(tmp_path / f"dist/snp_harness-{version}-py3-none-any.whl") as wheel:
        recorded = json.loads(wheel.read("snp_harness/build.json"))
        wheel.extractall(tmp_path / "site")
    assert recorded == {"version": version, "commit": head, "modified": False}
    assert git(project, "status", "--porcelain") == ""
    program = "import snp_harness; print(snp_harness.__version__)"
    assert command(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site")) == version


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_an_editable_installation_reports_the_present_commit() -> None:
    """The tests run from one: nothing in the checkout records a commit that a later one would make wrong."""
    assert not (ROOT / "harness/snp_harness" / BUILD_FILE).exists()
    assert build().commit == git(ROOT, "rev-parse", "HEAD")


def test_the_version_is_not_looked_up_at_import() -> None:
    program = "import sys, snp_harness; print('snp_harness.version' in sys.modules)"
    assert command(sys.executable, "-c", program, cwd=ROOT / "harness") == "False"


def test_a_run_records_version_and_commit(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", "emulated")
    directory.write_environment()
    environment = json.loads(directory.file(ENVIRONMENT).read_text())
    assert environment["snp_harness"] == snp_harness.__version__ == build().version
    assert (environment["commit"], environment["modified"]) == (build().commit, build().modified)
