# SPDX-License-Identifier: GPL-2.0-or-later
"""The command in odd surroundings: closed streams, other locales, users, directories and names."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import snp_harness
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_USAGE, EXIT_VIOLATED
from snp_harness.vm.qemu_binary import QemuBinary

pytestmark = pytest.mark.emulated

TIMEOUT_S = 300.0
NOBODY = 65534

#: Runs `snp-harness run` in a shell, with redirections and the like after it.
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(snp_firmware: Path, tmp_path: Path) -> Shell:
    def run(
        behind: str = "",
        *arguments: str,
        firmware: Path | None = None,
        out: str = "out",
        before: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        # On a slow machine a run tells its progress, on stderr.
        command = [sys.executable, "-m", "snp_harness", "run", "--quiet", "--firmware", str(firmware or snp_firmware)]
        line = f"{before} {shlex.join([*command, '--out', out, *arguments])} {behind}"
        return subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(snp_harness.__file__).parent.parent), **(env or {})},
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=TIMEOUT_S,
            check=False,
        )

    return run


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_closed_streams(shell: Shell, closed: str) -> None:
    done = shell(closed)
    assert done.returncode == EXIT_VIOLATED, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("violated") == (">&- " not in f"{closed} ".replace("2>&-", ""))


def test_a_stdout_that_is_full(shell: Shell) -> None:
    done = shell(">/dev/full")
    assert done.returncode == EXIT_ENVIRONMENT
    assert done.stderr.splitlines()[-1].startswith("snp-harness: error: the system: No space left on device")
    assert "Traceback" not in done.stderr


def test_a_stderr_that_is_full_changes_no_status(shell: Shell, tmp_path: Path) -> None:
    assert shell("2>/dev/full", "--until", "pei").returncode == EXIT_VIOLATED
    assert shell("2>/dev/full", firmware=tmp_path / "none.fd").returncode == EXIT_USAGE
    assert shell("2>/dev/full", "--no-such-option").returncode == EXIT_USAGE


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONOPTIMIZE": "2"},
        {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"},
        {"HOME": "/proc/none", "XDG_CACHE_HOME": ""},
        {"TERM": "", "COLUMNS": "x", "TZ": "Nowhere/None"},
    ],
    ids=lambda env: ",".join(env),
)
def test_environments(shell: Shell, tmp_path: Path, snp_firmware: Path, env: dict[str, str]) -> None:
    firmware = tmp_path / "fïrmware.fd"
    firmware.symlink_to(snp_firmware)
    done = shell("", "--qemu", str(QemuBinary.locate().path), firmware=firmware, out="öut", env=env)
    assert done.returncode == EXIT_VIOLATED, done.stderr
    assert done.stdout.startswith("violated")
    assert done.stderr == ""


def test_an_empty_environment(shell: Shell, tmp_path: Path) -> None:
    qemu = QemuBinary.locate().path
    parent = Path(snp_harness.__file__).parent.parent
    done = shell(
        "",
        "--qemu",
        str(qemu),
        before=f"cd {shlex.quote(str(tmp_path))} && env -i PYTHONPATH={shlex.quote(str(parent))}",
    )
    assert done.returncode == EXIT_VIOLATED, done.stderr


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"\x1b[31mred\x07", b"a,b=c:d", b"'\"$(x)`y`"])
def test_names(shell: Shell, tmp_path: Path, snp_firmware: Path, name: bytes) -> None:
    text = os.fsdecode(name)
    firmware = tmp_path / f"{text}.fd"
    firmware.symlink_to(snp_firmware)
    done = shell("", firmware=firmware, out=text)
    assert done.returncode == EXIT_VIOLATED, done.stderr
    assert done.stderr == ""
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert (tmp_path / text / "verdict.json").is_file()
    missing = shell("", firmware=tmp_path / f"{text}.none", out=text)
    assert missing.returncode == EXIT_USAGE
    assert missing.stderr.count("\n") == 1
    assert missing.stderr.rstrip("\n").isprintable() or name.startswith(b"\xff")


def test_too_few_descriptors(shell: Shell) -> None:
    done = shell(before="ulimit -n 10;")
    assert done.returncode == EXIT_ENVIRONMENT
    assert done.stderr.splitlines()[0].startswith("snp-harness: error: ")
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_that_the_user_made_keeps_its_mode_and_a_new_one_is_private(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o755)
    assert shell(out="mine").returncode == EXIT_VIOLATED
    assert shell(out="new").returncode == EXIT_VIOLATED
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.fixture
def nobody(tmp_path: Path, snp_firmware: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command as a user without home and rights, in a directory of its own."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    for directory in (tmp_path, *tmp_path.parents):
        # Pytest's own: its root, the run's, and with pytest-xdist the worker's.
        if directory != tmp_path and not directory.name.startswith(("pytest-", "popen-")):
            break
        directory.chmod(0o755)
    firmware = tmp_path / "firmware.fd"
    firmware.write_bytes(snp_firmware.read_bytes())
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)

    as_nobody: dict[str, Any] = {
        "user": NOBODY,
        "group": NOBODY,
        "extra_groups": [],
        "capture_output": True,
        "text": True,
    }
    search = [str(Path(snp_harness.__file__).parent.parent), *(path for path in sys.path if path.endswith("-packages"))]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(search)}
    for python in (sys.executable, "/usr/bin/python3"):
        program = "import sys, snp_harness.cli.main, snp_harness.svsm.config_files; open(sys.argv[1]).close()"
        probe = [python, "-c", program, str(firmware)]
        try:
            tried = subprocess.run(probe, cwd=own, env=env, timeout=TIMEOUT_S, check=False, **as_nobody)
        except OSError:
            continue
        if tried.returncode == 0:
            break
    else:
        pytest.skip("another user may not read this Python, this checkout or pytest's temporary directory")

    def run(*arguments: str, cwd: Path = own) -> subprocess.CompletedProcess[str]:
        command = [python, "-m", "snp_harness", "run", "--firmware", str(firmware), *arguments]
        return subprocess.run(command, cwd=cwd, env=env, timeout=TIMEOUT_S, check=False, **as_nobody)

    return run


def test_another_user(nobody: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """The checkout and everything but its own directory are not writable for this user."""
    done = nobody()
    assert done.returncode == EXIT_VIOLATED, done.stderr
    directory = (tmp_path / "own" / "runs" / "latest").resolve()
    assert {path.stat().st_uid for path in directory.iterdir()} == {NOBODY}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_another_user_s_directory(nobody: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir(mode=0o755)
    for arguments, said in (
        (("--out", str(tmp_path / "foreign")), "cannot be written to: name another directory with --out"),
        (("--out", str(tmp_path / "foreign" / "out")), "Permission denied: name another with --out"),
    ):
        done = nobody(*arguments)
        assert done.returncode == EXIT_USAGE
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert list((tmp_path / "foreign").iterdir()) == []
    done = nobody(cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "Permission denied" in done.stderr


def test_files_that_may_not_be_read(nobody: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("[svsm]\n")
    secret.chmod(0o600)
    for option in ("--svsm-config", "--firmware"):
        done = nobody(option, str(secret))
        assert done.returncode == EXIT_USAGE
        assert "secret.toml" in done.stderr
        assert "Permission denied" in done.stderr
        assert done.stderr.count("\n") == 1
