# SPDX-License-Identifier: GPL-2.0-or-later
"""Markers that repeat a test for firmwares and configurations."""

from __future__ import annotations

import pytest

from tests.testing.recorded import project

TESTS = """
    import json
    import pytest
    from snp_harness import SvsmConfig, Status, load_config

    @pytest.mark.snp_firmwares("stock.fd", "fixed.fd")
    def test_firmwares(snp_boot):
        assert snp_boot().verdict.status is Status.HOLDS

    @pytest.mark.snp_firmwares("stock.fd", pytest.param("fixed.fd", id="good"))
    @pytest.mark.snp_configs("alternate-injection", "alternate-injection-off")
    @pytest.mark.parametrize("number", [1, 2])
    def test_both(snp_boot, snp_firmware, snp_config, number):
        result = snp_boot(vcpus=number)
        seen = json.loads((result.directory / "configuration.json").read_text())
        assert seen["injection"] == load_config(snp_config).alternate_injection

    @pytest.mark.snp_configs(SvsmConfig(), "conf/own.toml")
    def test_values(snp_config):
        assert isinstance(snp_config, SvsmConfig) or snp_config.is_file()

    @pytest.mark.snp_configs("alternate-injection-off")
    class TestClass:
        def test_in_a_class(self, snp_config):
            assert snp_config == "alternate-injection-off"

        @pytest.mark.snp_configs("alternate-injection")
        def test_the_closest_counts(self, snp_config):
            assert snp_config == "alternate-injection"

    def test_without(snp_config):
        assert snp_config is None
"""


def test_a_test_is_repeated_for_each(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project(pytester, TESTS)
    pytester.makeini("[pytest]\n")
    pytester.mkdir("conf").joinpath("own.toml").write_text("")
    # Paths of markers are relative to the project, wherever pytest is started.
    monkeypatch.chdir(pytester.path / "conf")
    result = pytester.runpytest("-v", str(path))
    result.assert_outcomes(passed=1 + 8 + 2 + 2 + 1, failed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*::test_firmwares[[]stock.fd] FAILED*",
            "*::test_firmwares[[]fixed.fd] PASSED*",
            "*::test_both[[]stock.fd-alternate-injection-off-1] PASSED*",
            "*::test_both[[]good-alternate-injection-2] PASSED*",
            "*::test_values[[]snp_config0] PASSED*",
            "*::test_values[[]conf/own.toml] PASSED*",
            "*::TestClass::test_in_a_class[[]alternate-injection-off] PASSED*",
        ]
    )


def test_xdist_runs_them(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    pytester.mkdir("conf").joinpath("own.toml").write_text("")
    pytester.runpytest_subprocess("-n2", "-k", "test_firmwares or test_both").assert_outcomes(passed=9, failed=1)


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("snp_configs('alternate-injection-of')", "*snp_configs: no configuration is named 'alternate-injection-of'*"),
        ("snp_configs('none.toml')", "*snp_configs: cannot read */none.toml*"),
        ("snp_configs()", "*snp_configs needs what the test is repeated for*"),
        ("snp_firmwares(firmware='x')", "*snp_firmwares needs what the test is repeated for*"),
    ],
)
def test_a_marker_that_is_wrong_is_an_error_of_the_collection(
    pytester: pytest.Pytester, marker: str, message: str
) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(snp_boot): pass")
    result = pytester.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*snp_harness/*.py*")
