# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test's boots leave in its reports: verdict and files of a failed test, properties and attachments of JUnit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snp_harness.firmware_run import RunResult

#: The section of a report whose lines become attachments: JUnit has it with the captured output.
ATTACHMENTS = "Captured stdout snp-harness"
#: Values of pytest's junit_logging with which pytest writes captured output to JUnit itself.
_WITH_OUTPUT = ("system-out", "out-err", "all")


@dataclass
class Evidence:
    """A boot of a test. firmware: SHA-256 of the image. result: None as long as there is none.

    recorded: JUnit has its properties.
    """

    directory: Path
    platform: str
    firmware: str
    result: RunResult | None = None
    recorded: bool = False

    def files(self) -> list[Path]:
        """Return the files of the run directory; none of a boot that could not start."""
        return sorted(path for path in self.directory.glob("*") if path.is_file())

    def properties(self) -> Iterator[tuple[str, str]]:
        """Yield the properties for JUnit."""
        from snp_harness.apic.verdict import Status

        if self.result is not None:
            verdict = self.result.verdict
            yield "verdict", verdict.status.value
            broken = [result.rule for result in verdict.results if result.status is Status.VIOLATED]
            if broken:
                yield "rule", ", ".join(broken)
            if digest := self.result.timeline.launch_digest:
                yield "launch_digest", digest
        yield "platform", self.platform
        yield "firmware_sha256", self.firmware
        yield "run_directory", str(self.directory)


def file_name(text: str) -> str:
    """Return text, such as the id of a test, as the name of a file or as a part of it."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.")


#: The boots of a test.
EVIDENCE = pytest.StashKey[list[Evidence]]()


def record(item: pytest.Item) -> None:
    """Add the properties of boots to a test before its report is made; those of a second one end in [2]."""
    boots = item.stash.get(EVIDENCE, [])
    for number, boot in enumerate(boots, start=1):
        if not boot.recorded and boot.files():
            boot.recorded = True
            suffix = f"[{number}]" if number > 1 else ""
            item.user_properties += [(f"snp_{name}{suffix}", value) for name, value in boot.properties()]


def add(item: pytest.Item, report: pytest.TestReport, said: str) -> None:
    """Add to a report what the test's boots left. said: the message of the exception that ended the phase."""
    boots = item.stash.get(EVIDENCE, [])
    if report.failed:
        for boot in boots:
            _add_failure(boot, report, said)
    if report.when == "teardown" and item.config.getoption("xmlpath", None):
        lines = [f"[[ATTACHMENT|{path}]]" for boot in boots for path in boot.files()]
        if lines:
            report.sections.append((ATTACHMENTS, "\n".join(lines) + "\n"))
    if item.config.pluginmanager.hasplugin("html") and (report.when == "call" or report.failed):
        _add_extras(boots, report)


def _add_failure(boot: Evidence, report: pytest.TestReport, said: str) -> None:
    files = boot.files()
    if boot.result is not None and (text := _failure(boot.result)) not in said:
        report.sections.append(("snp-harness verdict", text))
    if files:
        names = ", ".join(path.name for path in files)
        report.sections.append(("snp-harness artefacts", f"{boot.directory}: {names}"))


def _failure(result: RunResult) -> str:
    from snp_harness.apic.verdict import Status
    from snp_harness.testing.assertions import failure_text

    return "" if result.verdict.status is Status.HOLDS else failure_text(result)


def _add_extras(boots: list[Evidence], report: Any) -> None:
    extras: Any = import_module("pytest_html.extras")
    found = [boot for boot in boots if boot.files()]
    for boot in found:
        report.extras = [*getattr(report, "extras", []), extras.url(boot.directory.as_uri(), name=boot.directory.name)]
        if boot.result is not None and (text := _failure(boot.result)):
            report.extras.append(extras.text(text, name="verdict"))


def attach(config: pytest.Config, report: pytest.TestReport) -> None:
    """Write the attachments of a report to JUnit, where pytest does not write captured output."""
    text = "".join(content for name, content in report.sections if name == ATTACHMENTS)
    if not text or config.getini("junit_logging") in _WITH_OUTPUT:
        return
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        element = ElementTree.Element("system-out")
        element.text = text
        xml.node_reporter(report).append(element)
