# SPDX-License-Identifier: GPL-2.0-or-later
"""A report of an in-SVSM test image as TAP version 14 and as JUnit's XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from snp_harness.svsm_test.lines import TestReport, TestResult, TestStatus

TAP_VERSION = "TAP version 14"


def tap_lines(report: TestReport) -> Iterator[str]:
    """Yield the report as lines of TAP: a point for each test; what is not complete is a comment, and a missing point.

    https://testanything.org/tap-version-14-specification.html
    """
    yield TAP_VERSION
    yield f"1..{max(report.plan, len(report.results))}"
    for number, result in enumerate(report.results, 1):
        failed = "not " if result.status is TestStatus.FAILED else ""
        skip = f" # SKIP {_escaped(result.reason)}" if result.status is TestStatus.SKIPPED else ""
        yield f"{failed}ok {number} - {_escaped(result.name)}{skip}"
        yield from _diagnostic(result)
    for defect in report.defects:
        yield f"# not complete: {defect}"


def _diagnostic(result: TestResult) -> Iterator[str]:
    if result.status is not TestStatus.FAILED and not result.warnings:
        return
    yield "  ---"
    if result.status is TestStatus.FAILED:
        yield f"  message: {_quoted(result.reason)}"
    for key, lines in (("warnings", result.warnings), ("output", result.output)):
        if lines:
            yield f"  {key}:"
            yield from (f"    - {_quoted(line)}" for line in lines)
    yield f"  seconds: {result.seconds:.3f}"
    yield "  ..."


def junit(report: TestReport, name: str, vcpus: int) -> str:
    """Return the report as XML. name: the image's. What is not complete is an error of a test case of its own."""
    failures = len(report.of(TestStatus.FAILED))
    skipped = len(report.of(TestStatus.SKIPPED))
    cases = len(report.results) + bool(report.defects)
    suite = ElementTree.Element(
        "testsuite",
        name=_xml(name),
        tests=str(cases),
        failures=str(failures),
        errors=str(int(bool(report.defects))),
        skipped=str(skipped),
        time=f"{sum(result.seconds for result in report.results):.3f}",
    )
    properties = ElementTree.SubElement(suite, "properties")
    ElementTree.SubElement(properties, "property", name="vcpus", value=str(vcpus))
    for result in report.results:
        group, _, test = result.name.rpartition("::")
        case = ElementTree.SubElement(
            suite, "testcase", classname=_xml(group or name), name=_xml(test), time=f"{result.seconds:.3f}"
        )
        if result.status is TestStatus.FAILED:
            ElementTree.SubElement(case, "failure", message=_xml(result.reason)).text = _xml(result.reason)
        elif result.status is TestStatus.SKIPPED:
            ElementTree.SubElement(case, "skipped", message=_xml(result.reason))
        if result.output:
            ElementTree.SubElement(case, "system-out").text = "\n".join(map(_xml, result.output))
    if report.defects:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(name), name="the whole image", time="0.000")
        ElementTree.SubElement(case, "error", message=_xml(report.defects[0])).text = "\n".join(
            map(_xml, report.defects)
        )
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _escaped(text: str) -> str:
    """Return text for a description or a directive: "#" and backslash are escaped."""
    return text.replace("\\", "\\\\").replace("#", "\\#")


def _quoted(text: str) -> str:
    """Return text as a double-quoted string of YAML."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _xml(text: str) -> str:
    """Return text without characters that XML 1.0 cannot have."""
    return "".join(character if character.isprintable() and character < "\ufffe" else "?" for character in text)
