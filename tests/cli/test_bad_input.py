# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input of every kind: one line that says what to do, the right exit status, and no guest runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from snp_harness.cli import main as cli
from snp_harness.errors import EXIT_ENVIRONMENT, EXIT_USAGE
from snp_harness.vm import rundir
from snp_harness.vm.rundir import RunDirectory
from tests.hosts.sshd import closed_port
from tests.vm.qemus import script

#: edk2 OvmfPkg/ResetVector: OvmfSevMetadataOffsetGuid dc886566-984a-4798-a75e-5585a7bf67cc, as it lies in the image.
SEV_METADATA_GUID = bytes.fromhex("666588dc4a989847a75e5585a7bf67cc")

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `snp-harness run` and returns its exit status and its only line on stderr."""

    def call(*arguments: str | Path) -> tuple[int, str]:
        out = tmp_path / "out"
        status = cli.main(["run", "--quiet", "--out", str(out), *map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("snp-harness: error: ")
        assert captured.err.count("\n") == 1
        assert not (out / "serial.log").exists() or not (out / "serial.log").read_bytes(), "a guest ran"
        return status, captured.err

    return call


@pytest.fixture
def image(tmp_path: Path, snp_firmware: Path) -> Callable[[bytes], Path]:
    """Writes an image; for tests that change a real one."""

    def write(data: bytes) -> Path:
        path = tmp_path / "image.fd"
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize(("name", "said"), [("none.fd", "none.fd not found"), (".", "is a directory")])
def test_firmware_that_is_not_there(run: Run, tmp_path: Path, name: str, said: str) -> None:
    status, line = run("--firmware", tmp_path / name)
    assert status == EXIT_USAGE
    assert said in line


@pytest.mark.parametrize("platform", ["emulated", "tcg"])
@pytest.mark.parametrize("size", [0, 17, 4096, 1 << 20])
def test_file_that_is_no_firmware(run: Run, tmp_path: Path, platform: str, size: int) -> None:
    path = tmp_path / "text.fd"
    path.write_bytes((b"no firmware\n" * (size // 12 + 1))[:size])
    status, line = run("--platform", platform, "--firmware", path)
    assert status == EXIT_USAGE
    assert "text.fd" in line


@pytest.mark.parametrize("platform", ["emulated", "tcg"])
@pytest.mark.parametrize("keep", [0.25, 0.5, 0.9])
def test_truncated_image(
    run: Run, image: Callable[[bytes], Path], snp_firmware: Path, platform: str, keep: float
) -> None:
    data = snp_firmware.read_bytes()
    status, line = run("--platform", platform, "--firmware", image(data[: int(len(data) * keep)]))
    assert status == EXIT_USAGE
    assert "truncated" in line


def test_image_without_sev_metadata(run: Run, image: Callable[[bytes], Path], snp_firmware: Path) -> None:
    data = snp_firmware.read_bytes()
    assert data.count(SEV_METADATA_GUID) == 1
    status, line = run("--firmware", image(data.replace(SEV_METADATA_GUID, bytes(16))))
    assert status == EXIT_USAGE
    assert "no SEV metadata" in line


def test_qemu_that_is_not_there(run: Run, tmp_path: Path, snp_firmware: Path) -> None:
    status, line = run("--firmware", snp_firmware, "--qemu", tmp_path / "none")
    assert status >= EXIT_ENVIRONMENT
    assert f"{tmp_path / 'none'} not found" in line


def test_no_qemu_in_path(run: Run, tmp_path: Path, snp_firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SNP_HARNESS_QEMU", raising=False)
    status, line = run("--firmware", snp_firmware)
    assert status >= EXIT_ENVIRONMENT
    assert "not installed" in line
    assert "apt-get install qemu-system-x86" in line


@pytest.mark.parametrize("platform", ["emulated", "tcg"])
def test_qemu_that_is_too_old(run: Run, tmp_path: Path, snp_firmware: Path, platform: str) -> None:
    qemu = script(tmp_path / "qemu", "QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11)")
    status, line = run("--platform", platform, "--firmware", snp_firmware, "--qemu", qemu)
    assert status >= EXIT_ENVIRONMENT
    assert "5.2.0" in line
    assert "too old" in line
    assert "7.2 or newer" in line


def test_program_that_is_no_qemu(run: Run, tmp_path: Path, snp_firmware: Path) -> None:
    status, line = run("--firmware", snp_firmware, "--qemu", script(tmp_path / "qemu", "hello"))
    assert status >= EXIT_ENVIRONMENT
    assert "hello" in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[svsm\n", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"[svsm]\npresent = 3\n", "svsm.present"),
        (b"[svsm]\nprezent = true\n", "prezent"),
    ],
)
def test_configuration_that_cannot_be_read(run: Run, tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    status, line = run("--svsm-config", path)
    assert status == EXIT_USAGE
    assert "broken.toml" in line
    assert said in line


@pytest.mark.parametrize("name", ["none.toml", "none"])
def test_configuration_that_is_not_there(run: Run, name: str) -> None:
    status, line = run("--svsm-config", name)
    assert status == EXIT_USAGE
    assert "none" in line


def test_a_profile_on_a_platform_that_counts_no_exits(run: Run, snp_firmware: Path) -> None:
    status, line = run("--platform", "tcg", "--firmware", snp_firmware, "--profile")
    assert status == EXIT_USAGE
    assert line.endswith("the platform tcg does not count exits: leave out --profile\n")


def test_unknown_platform_names_the_known_ones(run: Run) -> None:
    status, line = run("--platform", "vax")
    assert status == EXIT_USAGE
    assert "emulated" in line
    assert "tcg" in line


def test_run_directory_that_holds_other_files(
    tmp_path: Path, snp_firmware: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("years of work\n")
    assert cli.main(["run", "--out", str(tmp_path), "--firmware", str(snp_firmware)]) == EXIT_USAGE
    assert "thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "years of work\n"


@pytest.fixture
def refusing_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a host that nothing listens on."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    with closed_port() as port:
        return ["--host", f"ssh://me@127.0.0.1:{port}"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["run", "--vcpus", "17"], EXIT_USAGE),
        (["run", "--vcpus", "17", "--out", "named"], EXIT_USAGE),
        (["run", "--qemu", "/bin/true"], EXIT_ENVIRONMENT),
        (["run", "--platform", "tcg", "--qemu", "/bin/true"], EXIT_ENVIRONMENT),
        (["run", "--vcpus", "256"], EXIT_USAGE),
        (["run", "--platform", "kvm", "--icount"], EXIT_USAGE),
        (["run", "--firmware", "none.fd"], EXIT_USAGE),
        (["run", "--qemu", "none"], EXIT_ENVIRONMENT),
        (["run", "HOST"], EXIT_ENVIRONMENT),
        (["conformance", "--svsm-config", "none"], EXIT_USAGE),
        (["conformance", "--platform", "kvm", "HOST"], EXIT_ENVIRONMENT),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_that_is_refused_leaves_nothing(
    command: list[str],
    status: int,
    earlier: bool,
    refusing_host: list[str],
    snp_firmware: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No directory of a run that never was, which `runs/latest` would point to."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    if earlier:
        with RunDirectory.create(None, "tcg") as run:
            run.write_text(rundir.SERIAL, "Shell> ")
    before = sorted(work.rglob("*"))
    if command[0] == "run" and "--firmware" not in command:
        command = [*command, "--firmware", str(snp_firmware)]
    if "HOST" in command:
        command = [word for word in command if word != "HOST"] + refusing_host
    assert cli.main([*command, "--quiet"]) == status
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(work.rglob("*")) == before
    if earlier:
        assert (work / "runs" / "latest").resolve() == run.path


@pytest.mark.parametrize("given", [[], ["--out", "out"]])
def test_an_error_of_the_harness_is_one_line_and_a_kept_traceback(
    given: list[str],
    tmp_path: Path,
    snp_firmware: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr("snp_harness.firmware_run.PreparedBoot.run", broken)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--firmware", str(snp_firmware), *given]) == EXIT_ENVIRONMENT
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    directory = tmp_path / "out" if given else (tmp_path / "runs" / "latest").resolve()
    kept = directory / "traceback.txt"
    assert f"ZeroDivisionError: of the test: report it with {kept}" in error
    assert "in broken" in kept.read_text()
