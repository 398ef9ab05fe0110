# SPDX-License-Identifier: GPL-2.0-or-later
"""Projects that have the plugin installed and do not use it, or only in some of their tests."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import snp_harness
from snp_harness.testing import plugin

OLD = """
import pytest

@pytest.mark.kvm
def test_plain():
    pass

@pytest.mark.snp_emulated
@pytest.mark.snp_firmwares({firmware!r})
def test_boot(snp_boot, snp_golden):
    snp_golden.check(snp_boot())
"""

PLAIN = """
    import pytest

    @pytest.mark.kvm
    @pytest.mark.slow
    @pytest.mark.nested
    def test_it():
        pass
"""


@pytest.fixture(autouse=True)
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes need QEMU and find none."""
    monkeypatch.setenv("SNP_HARNESS_QEMU", "/nonexistent/qemu")


def test_a_harness_folder_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.mkpydir("harness").joinpath("own.py").write_text("ANSWER = 42\n")
    pytester.makeconftest("import harness.own")
    pytester.makepyfile("from harness.own import ANSWER\ndef test_it(snp_platform):\n    assert ANSWER == 42")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_its_own_markers_skip_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    kvm: needs /dev/kvm\n    slow: slow\n    nested: nested\n")
    pytester.makepyfile(PLAIN)
    result = pytester.runpytest("--strict-markers", "-m", "kvm")
    result.assert_outcomes(passed=1)
    assert "snp-harness:" not in result.stdout.str()


def test_the_plugin_can_be_left_out(pytester: pytest.Pytester) -> None:
    for left_out, options in ((False, ()), (True, ("-p", "no:snp_harness"))):
        printed = pytester.runpytest_subprocess(*options, "--markers").stdout.str()
        assert ("@pytest.mark.snp_emulated" in printed) is not left_out


def test_common_words_are_not_registered(pytester: pytest.Pytester) -> None:
    """So --strict-markers still finds a project's mistakes."""
    result = pytester.runpytest("--markers")
    for name in ("emulated", "tcg", "kvm", "nested", "slow"):
        result.stdout.no_fnmatch_line(f"@pytest.mark.{name}:*")


def test_nothing_is_probed_nor_printed_nor_imported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = [name for name in sys.modules if name.startswith("snp_harness.")]
            assert not [name for name in loaded if name.startswith(("snp_harness.vm", "snp_harness.apic"))]
            assert not [name for name in loaded if name.startswith("snp_harness.platforms.")]
        """
    )
    result = pytester.runpytest_subprocess("-v")
    result.assert_outcomes(passed=1)
    assert "snp-harness:" not in result.stdout.str()


def test_only_the_platforms_of_the_selected_tests_are_probed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.snp_tcg\ndef test_one(): pass\n@pytest.mark.snp_nested\ndef test_two(): pass\n"
    )
    lines = [line for line in pytester.runpytest("-k", "one").outlines if line.startswith("snp-harness:")]
    assert len(lines) == 1
    assert lines[0].startswith("snp-harness: tcg: cannot run here: QEMU")
    for options in (("--collect-only",), ("-q",)):
        assert not [line for line in pytester.runpytest(*options).outlines if line.startswith("snp-harness:")]


def test_a_boot_without_a_marker_shows_the_default_platform(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(snp_boot): pass")
    result = pytester.runpytest()
    result.stdout.fnmatch_lines(["snp-harness: emulated: cannot run here: QEMU*"])
    result.stdout.no_fnmatch_line("snp-harness: tcg:*")


def test_hosts_are_left_alone_where_no_test_needs_them(pytester: pytest.Pytester) -> None:
    """The inventory of the ini file does not exist, either."""
    pytester.makeini("[pytest]\nsnp_host = ssh://nobody@192.0.2.1\nsnp_inventory = none.toml\n")
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_m_snp_selects_the_tests_on_hardware(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\n@pytest.mark.snp\ndef test_hardware(): pass\n@pytest.mark.snp_tcg\ndef test_tcg(): pass\n"
    )
    result = pytester.runpytest("--strict-markers", "--collect-only", "-q", "-m", "snp")
    result.stdout.fnmatch_lines(["*::test_hardware", "1/2 tests collected (1 deselected)*"])


def test_a_short_marker_does_not_boot_on_another_platform_in_silence(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.tcg
        def test_it(snp_boot):
            snp_boot()
        """
    )
    result = pytester.runpytest("-W", "ignore")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["the test is marked tcg, which names no platform, and would boot on emulated: mark it snp_tcg, or *"]
    )


def test_the_hooks_need_no_newer_pluggy_than_debian_12s() -> None:
    """pluggy 1.0 raises TypeError at the argument `wrapper` of hookimpl."""
    marked = [vars(hook)["pytest_impl"] for _, hook in inspect.getmembers(plugin) if hasattr(hook, "pytest_impl")]
    assert len(marked) > 1
    assert not [options for options in marked if options.get("wrapper")]
    assert sys.modules["snp_harness.testing.plugin"] is plugin


@pytest.mark.slow
@pytest.mark.emulated
def test_the_pytest_of_debian_12(tmp_path: Path, snp_firmware: Path) -> None:
    """pytest 7.2 and pluggy 1.0, with all that the plugin adds to them."""
    packages = tmp_path / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(packages)]
    done = subprocess.run([*pip, "pytest==7.2.1", "pluggy==1.0.0"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pytest 7.2 cannot be installed: {done.stderr[-200:]}")
    (tmp_path / "test_it.py").write_text(OLD.format(firmware=str(snp_firmware)), encoding="utf-8")
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    environment |= {"PYTHONPATH": f"{packages}:{Path(snp_harness.__file__).parents[1]}"}
    environment.pop("SNP_HARNESS_QEMU")
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "snp_harness.testing.plugin",
        "--rootdir",
        str(tmp_path),
        "test_it.py",
    ]
    for options in (["--snp-update-golden", "--junitxml=junit.xml"], []):
        done = subprocess.run(
            [*argv, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert "pytest-7.2.1, pluggy-1.0.0" in done.stdout
        assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert "snp_run_directory" in (tmp_path / "junit.xml").read_text(encoding="utf-8")
