# SPDX-License-Identifier: GPL-2.0-or-later
"""Mistakes in the options of the plugin end the session with pytest's status of a wrong command line, in one line."""

from __future__ import annotations

import pytest

TEST = "def test_it(snp_platform):\n    pass\n"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--snp-platform=bogus", "--snp-platform: no platform is named 'bogus': there are emulated, tcg, kvm, nested"),
        ("--snp-platform=emulate", "--snp-platform: no platform is named 'emulate': did you mean emulated? there are"),
        ("--snp-require=emulated,bogus", "--snp-require: no platform is named 'bogus': there are "),
        ("--snp-host-wait=foo", "--snp-host-wait: 'foo' is not a number of seconds"),
        ("--snp-host-wait=-1", "--snp-host-wait: '-1' is not a number of seconds"),
        ("--snp-host-wait=nan", "--snp-host-wait: 'nan' is not a number of seconds"),
        ("--snp-qemu=typo", "--snp-qemu: QEMU typo not found"),
        ("--snp-firmware=typo.fd", "--snp-firmware: 'typo.fd' is not a file"),
        ("--snp-firmware=debian:trixie/none", "--snp-firmware: 'debian:trixie/none' does not name a firmware"),
        ("--snp-igvm=typo.igvm", "--snp-igvm: 'typo.igvm' is not a file"),
    ],
)
def test_an_option_that_is_wrong(pytester: pytest.Pytester, option: str, message: str) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest(option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = filter(None, result.stderr.lines)
    assert line.startswith(f"ERROR: {message}")


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("snp_platform = bogus", "snp_platform in tox.ini: no platform is named 'bogus': *"),
        ("snp_require = emulated, bogus", "snp_require in tox.ini: no platform is named 'bogus': *"),
        ("snp_host_wait = foo", "snp_host_wait in tox.ini: 'foo' is not a number of seconds"),
        ("snp_qemu = build/qemu", "snp_qemu in tox.ini: QEMU */build/qemu not found"),
    ],
)
def test_an_ini_file_that_is_wrong(pytester: pytest.Pytester, ini: str, message: str) -> None:
    pytester.makeini(f"[pytest]\n{ini}\n")
    pytester.makepyfile(TEST)
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_qemu_of_the_ini_file_is_looked_for_when_a_test_needs_it(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nsnp_qemu = build/qemu\n")
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_a_worker_of_xdist_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nsnp_qemu = build/qemu\n")
    pytester.makepyfile("import pytest\n@pytest.mark.snp_tcg\ndef test_it(): pass")
    result = pytester.runpytest_subprocess("-n1")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*snp_qemu in tox.ini: QEMU */build/qemu not found*"])


def test_paths_of_the_ini_file_are_relative_to_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeini("[pytest]\nsnp_igvm = build/x.igvm\nsnp_firmware = build/OVMF.fd\n")
    pytester.mkdir("below").joinpath("test_it.py").write_text(
        "def test_it(snp_igvm, snp_firmware, pytestconfig):\n"
        "    assert snp_igvm == pytestconfig.rootpath / 'build' / 'x.igvm'\n"
        "    assert snp_firmware == pytestconfig.rootpath / 'build' / 'OVMF.fd'\n"
    )
    monkeypatch.chdir(pytester.path / "below")
    pytester.runpytest().assert_outcomes(passed=1)


def test_a_qemu_of_a_debian_suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with --qemu of the command: the one in the cache is used."""
    bundle = pytester.mkdir("bundle")
    monkeypatch.setattr(
        "snp_harness.debian.qemu_bundle.named_qemu", lambda spec: bundle if spec == "debian:x" else None
    )
    pytester.makepyfile(
        "import pytest\n@pytest.mark.snp_tcg\ndef test_it(): pass\n",
    )
    result = pytester.runpytest("-rs", "--snp-qemu=debian:x")
    result.stdout.fnmatch_lines(["SKIPPED*platform tcg cannot run here: QEMU: no qemu-system-x86_64 in */bundle*"])
