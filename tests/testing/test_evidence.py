# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user sees of a boot in the reports of pytest, JUnit and pytest-html."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.testing.recorded import project

TESTS = """
    import pytest
    from snp_harness import Status, assert_holds

    def test_plain(snp_boot):
        assert snp_boot("stock.fd").verdict.status is Status.HOLDS

    def test_assertion(snp_boot):
        assert_holds(snp_boot("stock.fd"))

    def test_passes(snp_boot):
        snp_boot("stock.fd")
        assert_holds(snp_boot("fixed.fd", platform="emulated"))

    def test_no_boot():
        pass
"""


def test_a_contract_that_is_broken_shows_rule_reason_and_offence(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    result = pytester.runpytest("-k", "test_plain")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *<Verdict violated: 7 local-APIC accesses in SEC before x2APIC mode>*",
            "*snp-harness verdict*",
            "violated: 7 local-APIC accesses in SEC before x2APIC mode *",
            "Offences against x2apic-before-sec",
            "*read*SVR 0F0*FF*SecMain+1A2B*",
            "*x2apic-before-sec *violated *7 local-APIC accesses in SEC before x2APIC mode",
            "artefacts: */runs/*-emulated",
            "*snp-harness artefacts*",
            "*timeline.jsonl, verdict.json",
        ]
    )


def test_an_assertion_shows_the_same_once_and_no_frame_of_the_harness(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    result = pytester.runpytest("-k", "test_assertion")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: the contract does not hold",
            "E *violated: 7 local-APIC accesses in SEC before x2APIC mode *",
            "E *Offences against x2apic-before-sec",
        ]
    )
    result.stdout.no_fnmatch_line("*snp-harness verdict*")
    result.stdout.no_fnmatch_line("*snp_harness/*.py*")


def test_a_wrong_firmware_shows_no_frame_of_the_harness(pytester: pytest.Pytester) -> None:
    project(pytester, "def test_it(snp_boot):\n    snp_boot('text.fd')")
    pytester.path.joinpath("text.fd").write_bytes(b"no firmware\n" * 16384)
    result = pytester.runpytest()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">   *snp_boot('text.fd')", "E *FirmwareError: *text.fd*"])
    result.stdout.no_fnmatch_line("*snp_harness/*.py*")


def properties(case: ElementTree.Element) -> dict[str, str]:
    return {found.attrib["name"]: found.attrib["value"] for found in case.iter("property")}


@pytest.mark.parametrize(("logging", "workers"), [("all", ()), ("no", ("-n2",))], ids=["here", "xdist"])
def test_junit_has_properties_and_attachments(
    pytester: pytest.Pytester, tmp_path: Path, logging: str, workers: tuple[str, ...]
) -> None:
    project(pytester, TESTS)
    out, xml = tmp_path / "out", tmp_path / "junit.xml"
    result = pytester.runpytest_subprocess(
        f"--snp-out={out}", f"--junitxml={xml}", "-o", f"junit_logging={logging}", *workers
    )
    result.assert_outcomes(passed=2, failed=2)
    cases = {case.attrib["name"]: case for case in ElementTree.parse(xml).getroot().iter("testcase")}
    found = properties(cases["test_plain"])
    directory = Path(found["snp_run_directory"])
    assert directory.parent.parent == out
    assert found == {
        "snp_verdict": "violated",
        "snp_rule": found["snp_rule"],
        "snp_platform": "emulated",
        "snp_firmware_sha256": hashlib.sha256((pytester.path / "stock.fd").read_bytes()).hexdigest(),
        "snp_run_directory": str(directory),
    }
    assert found["snp_rule"].split(", ")[0] == "x2apic-before-sec"
    (written,) = cases["test_plain"].findall("system-out")
    attached = re.findall(r"^\[\[ATTACHMENT\|(.+)\]\]$", written.text or "", re.MULTILINE)
    assert sorted(map(Path, attached)) == sorted(path for path in directory.iterdir() if path.is_file())
    assert len(attached) > 2
    second = properties(cases["test_passes"])
    assert (second["snp_verdict"], second["snp_verdict[2]"]) == ("violated", "holds")
    assert second["snp_run_directory"] != second["snp_run_directory[2]"]
    assert not properties(cases["test_no_boot"])
    assert "ATTACHMENT" not in ElementTree.tostring(cases["test_no_boot"], encoding="unicode")


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["here", "xdist"])
def test_html_has_the_verdict_and_links(pytester: pytest.Pytester, tmp_path: Path, workers: tuple[str, ...]) -> None:
    project(pytester, TESTS)
    out, html = tmp_path / "out", tmp_path / "report.html"
    result = pytester.runpytest_subprocess(f"--snp-out={out}", f"--html={html}", "--self-contained-html", *workers)
    result.assert_outcomes(passed=2, failed=2)
    page = html.read_text(encoding="utf-8")
    for directory in out.glob("*/*-emulated"):
        assert directory.as_uri() in page
    assert "verdict" in page
    assert "7 local-APIC accesses in SEC before x2APIC mode" in page


def test_nothing_is_attached_without_junit(pytester: pytest.Pytester) -> None:
    project(pytester, TESTS)
    result = pytester.runpytest("-rA")
    assert "ATTACHMENT" not in result.stdout.str()
