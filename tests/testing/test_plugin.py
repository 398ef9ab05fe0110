# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin is run as its users run it: by a pytest of its own, on test files of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from snp_harness.check import Check, CheckStatus
from snp_harness.platforms import platform_names
from snp_harness.testing import boot, plugin
from snp_harness.testing.markers import REPEATING, marker_of
from snp_harness.testing.options import OPTIONS

LACKING = Check("QEMU", CheckStatus.MISSING, "not installed", "apt-get install qemu-system-x86")


@pytest.fixture
def no_qemu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without QEMU: an empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SNP_HARNESS_QEMU", raising=False)


def test_markers_are_known_to_strict_markers(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest("--markers")
    for name in (*map(marker_of, platform_names()), *(f"{name}(*)" for name in REPEATING)):
        result.stdout.fnmatch_lines([f"@pytest.mark.{name}: *"])


def test_options_have_ini_twins_and_the_option_wins(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nsnp_platform = kvm\n")
    pytester.makepyfile("def test_it(snp_platform):\n    print(f'platform={snp_platform}.')")
    pytester.runpytest("-s").stdout.fnmatch_lines(["*platform=kvm.*"])
    pytester.runpytest("-s", "--snp-platform=tcg").stdout.fnmatch_lines(["*platform=tcg.*"])
    options = pytester.runpytest("--help").stdout.str()
    for name in (*OPTIONS, "host"):
        assert f"--snp-{name}" in options
        assert f"snp_{name.replace('-', '_')}" in options


def test_default_platform_is_emulated(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(snp_platform):\n    assert snp_platform == 'emulated'")
    pytester.runpytest().assert_outcomes(passed=1)


@pytest.mark.usefixtures("no_qemu")
def test_header_and_skip_name_what_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.snp_tcg\ndef test_it():\n    pass")
    result = pytester.runpytest("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "snp-harness: tcg: cannot run here: QEMU: *not installed: apt-get install*",
            "SKIPPED*platform tcg cannot run here: QEMU: *not installed: apt-get install*",
        ]
    )


@pytest.mark.usefixtures("no_qemu")
def test_required_platform_fails_instead_of_skipping(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.snp_tcg\ndef test_it():\n    pass")
    result = pytester.runpytest("--snp-require=emulated,tcg")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*platform tcg cannot run here: QEMU: *not installed*"])


@pytest.mark.usefixtures("no_qemu")
def test_unmarked_tests_run_anywhere_and_a_boot_in_them_skips(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "def test_plain():\n    pass\ndef test_boot(snp_boot):\n    snp_boot('none.fd', platform='tcg')\n"
    )
    pytester.runpytest().assert_outcomes(passed=1, skipped=1)


def test_a_platform_that_does_not_exist_fails_a_boot(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(snp_boot):\n    snp_boot('none.fd', platform='nothing')")
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no platform is named 'nothing': there are emulated, *"])


@pytest.mark.tcg
def test_boot_gives_a_result_and_a_failure_names_its_artefacts(
    pytester: pytest.Pytester, snp_firmware: Path, tmp_path: Path
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.snp_tcg
        @pytest.mark.parametrize("wanted", ["violated", "holds"])
        def test_contract(snp_boot, wanted):
            result = snp_boot(platform="tcg")
            assert result.verdict.status.value == wanted
        """
    )
    out = tmp_path / "out"
    result = pytester.runpytest(f"--snp-firmware={snp_firmware}", f"--snp-out={out}")
    result.assert_outcomes(passed=1, failed=1)
    passed, failed = sorted(out.iterdir(), key=lambda path: "violated" not in path.name)
    (directory,) = failed.glob("*-tcg")
    result.stdout.fnmatch_lines(["*snp-harness artefacts*", f"{directory}: *timeline.jsonl, *verdict.json"])
    assert str(passed) not in result.stdout.str()
    assert (directory / "timeline.jsonl").is_file()


@pytest.mark.tcg
def test_a_boot_that_breaks_raises_and_leaves_its_directory(pytester: pytest.Pytester, snp_firmware: Path) -> None:
    pytester.makepyfile(
        f"def test_it(snp_boot):\n    snp_boot({str(snp_firmware)!r}, platform='tcg', extra_args=('-no-such-option',))"
    )
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*QemuLaunchError: *no-such-option*", "*snp-harness artefacts*", "*: *qemu-stderr.log*"]
    )


@pytest.mark.tcg
def test_a_boot_that_is_refused_raises_and_leaves_nothing(pytester: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "text.fd").write_bytes(b"no firmware\n" * 16384)
    pytester.makepyfile(f"def test_it(snp_boot):\n    snp_boot({str(tmp_path / 'text.fd')!r}, platform='tcg')")
    result = pytester.runpytest(f"--snp-out={tmp_path / 'out'}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*FirmwareError: *text.fd*"])
    result.stdout.no_fnmatch_line("*snp-harness artefacts*")
    assert not any(tmp_path.rglob("*-tcg*"))


#: A boot of a test with marks.
MARKED = """
    import pytest

    MARKS
    def test_it(snp_boot):
        snp_boot(CALL)
"""


@pytest.mark.parametrize(
    ("marks", "call", "option", "platform"),
    [
        ("", "", "", "emulated"),
        ("", "", "tcg", "tcg"),
        ("nested", "", "", "nested"),
        ("nested", "platform='nested'", "", "nested"),
        ("nested", "", "nested", "nested"),
        ("tcg emulated", "", "", "emulated"),
        ("tcg emulated", "platform='tcg'", "", "tcg"),
        # What the marker does not name is not what the test is about.
        ("nested", "platform='tcg'", "", None),
        ("nested", "", "tcg", None),
        ("snp kvm", "", "", None),
    ],
)
def test_the_marker_is_the_platform(
    marks: str,
    call: str,
    option: str,
    platform: str | None,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without a boot: the platform that it would use is printed. Neither is it probed.
    monkeypatch.setattr(boot, "require_platform", lambda _config, name: pytest.skip(f"platform={name}."))
    monkeypatch.delattr(plugin, "pytest_runtest_setup")
    lines = "\n    ".join(f"@pytest.mark.{marker_of(name)}" for name in marks.split())
    pytester.makepyfile(MARKED.replace("MARKS", lines).replace("CALL", call))
    pytester.makeini("[pytest]\nsnp_platform = emulated\n")
    result = pytester.runpytest("-rs", *([f"--snp-platform={option}"] if option else []))
    if platform is None:
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*snp_boot is to use platform *, and the test is marked *"])
    else:
        result.stdout.fnmatch_lines([f"*platform={platform}.*"])
