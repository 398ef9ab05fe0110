# SPDX-License-Identifier: GPL-2.0-or-later
"""--snp-report: the pages of a session's boots and their index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.report.browser import AXE_FAULTS, axe, look
from tests.testing.recorded import project

TESTS = """
    import pytest
    from snp_harness import assert_holds

    def test_fails(snp_boot):
        assert_holds(snp_boot("stock.fd"))

    @pytest.mark.parametrize("name", ["</script><b>", "b" * 200])
    def test_passes(snp_boot, name):
        snp_boot("stock.fd")
        assert_holds(snp_boot("fixed.fd", platform="emulated"))

    @pytest.mark.xfail(reason="known")
    def test_expected(snp_boot):
        assert_holds(snp_boot("stock.fd"))

    @pytest.fixture
    def broken():
        raise OSError("no fixture")

    def test_error(broken):
        pass

    def test_skipped():
        pytest.skip("not here")

    def test_no_boot():
        pass
"""
REMOVES = """
    import shutil

    def test_it(snp_boot):
        shutil.rmtree(snp_boot("fixed.fd").directory)
"""


def session(pytester: pytest.Pytester, directory: Path, *arguments: str) -> str:
    """Run the tests and return the index."""
    project(pytester, TESTS)
    result = pytester.runpytest_subprocess(f"--snp-report={directory}", *arguments)
    result.assert_outcomes(passed=3, failed=1, xfailed=1, errors=1, skipped=1)
    result.stdout.fnmatch_lines([f"snp-harness: report: {directory}/index.html"])
    return (directory / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["here", "xdist"])
def test_the_index_has_each_boot_with_its_page(
    pytester: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    index = session(pytester, tmp_path / "report", *workers)
    rows = re.findall(r'<tr><th scope="row">(.*?)</th>(.*?)</tr>', index)
    outcomes = [re.sub(r"<[^>]*>", "", cells.split("</td>")[0]) for _, cells in rows]
    assert outcomes == ["failed", "error", "skipped", "xfailed", "passed", "passed"]
    assert "2 of 7 tests failed" in index
    assert "Tests: 3 passed, 1 failed" in index
    assert "Verdicts: 4 violated, 2 holds" in index
    assert "1 more passed and booted nothing" in index
    for reason in ("AssertionError: the contract does not hold", "no fixture", "not here", "known"):
        assert reason in index
    pages = re.findall(r'<a href="([^"#]+)"><span class="status (\w+)">', index)
    assert len({name for name, _ in pages}) == len(pages) == 6
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"index.html", *(name for name, _ in pages)}
    for name, status in pages:
        assert f'<header id="verdict" class="{status}">' in (tmp_path / "report" / name).read_text(encoding="utf-8")
    assert "&lt;/script&gt;&lt;b&gt;" in index


def test_without_the_option_nothing_is_written(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    result = pytester.runpytest("-k", "test_passes")
    assert "report:" not in result.stdout.str()
    assert not list(pytester.path.rglob("*.html"))


def test_a_run_that_is_gone_has_a_verdict_and_no_page(pytester: pytest.Pytester, tmp_path: Path) -> None:
    project(pytester, REMOVES)
    pytester.runpytest(f"--snp-report={tmp_path / 'report'}").assert_outcomes(passed=1)
    (index,) = (tmp_path / "report").iterdir()
    assert '<div><span class="status holds">holds</span> ' in index.read_text(encoding="utf-8")


def test_a_directory_that_cannot_be_is_a_usage_error(pytester: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = pytester.runpytest(f"--snp-report={tmp_path / 'file'}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--snp-report: '*file' is not a directory*"])


@pytest.mark.slow
def test_the_index_in_a_browser(pytester: pytest.Pytester, tmp_path: Path) -> None:
    index = session(pytester, tmp_path / "report")
    found = look(
        index,
        """
        const rows = () => document.querySelectorAll("#list tbody tr:not([hidden])").length;
        const result = { all: rows() };
        const set = (id, value) => {
            document.getElementById(id).value = value;
            document.getElementById(id).dispatchEvent(new Event("input", { bubbles: true }));
        };
        set("outcome", "passed"); result.passed = rows(); set("outcome", "");
        set("find", "NO FIXTURE"); result.found = rows(); result.said = document.getElementById("said").textContent;
        set("find", "");
        """
        + AXE_FAULTS
        + "return { ...result, faults };",
        tmp_path,
        libraries=(axe(),),
    )
    assert found == {"errors": [], "all": 6, "passed": 2, "found": 1, "said": "1 of 6 rows", "faults": []}
