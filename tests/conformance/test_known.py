# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.conformance.known import NONE_KNOWN, SHIPPED_DIRECTORY, SIZE_MAX, load_known, parse_known
from snp_harness.conformance.tap import Point, PointStatus
from snp_harness.errors import UsageError
from tests.guests.points import all_points

TEXT = """\
# an SVSM of 2026-08
fails classes/ppr-low-nibble  # keeps the nibble

ends-the-run registration/query-again # panics
"""


def point(name: str, status: PointStatus) -> Point:
    return Point(1, name, status)


def test_lines_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text(TEXT, encoding="ascii")
    known = load_known(path)
    assert known.source == str(path)
    assert {name: (failure.status, failure.reason) for name, failure in known.by_name.items()} == {
        "classes/ppr-low-nibble": (PointStatus.FAILED, "keeps the nibble"),
        "registration/query-again": (PointStatus.ENDED_THE_RUN, "panics"),
    }


@pytest.mark.parametrize(
    "line",
    [
        "classes/ppr-low-nibble # no word",
        "fails classes/ppr-low-nibble",
        "fails classes/ppr-low-nibble #",
        "fails # no name",
        "passes classes/ppr-low-nibble # unknown word",
        "fails classes/ppr-low-nibble # named twice",
        "fails a b # two names",
    ],
)
def test_a_line_that_is_refused_is_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"^list:5: "):
        parse_known(TEXT + line, "list")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        load_known(tmp_path / "none")
    (tmp_path / "large").write_bytes(b"#" * (SIZE_MAX + 1))
    with pytest.raises(UsageError, match="has more than"):
        load_known(tmp_path / "large")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_known(text, "list")
    except UsageError:
        return


@pytest.mark.parametrize("status", PointStatus)
def test_what_is_expected(status: PointStatus) -> None:
    known = parse_known(TEXT, "list")
    skipped = status is PointStatus.SKIPPED
    failing = point("classes/ppr-low-nibble", status)
    assert known.is_unexpected(failing) == (not skipped and status is not PointStatus.FAILED)
    assert (known.explains(failing) is not None) == (status is PointStatus.FAILED)
    ending = point("registration/query-again", status)
    assert known.is_unexpected(ending) == (not skipped and status is not PointStatus.ENDED_THE_RUN)
    for other in (known, NONE_KNOWN):
        assert other.is_unexpected(point("classes/class-1", status)) == (
            not skipped and status is not PointStatus.PASSED
        )


def test_those_of_the_harness_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in SHIPPED_DIRECTORY.glob("*.txt"):
        known = load_known(Path(path.stem))
        assert known.source == str(path)
        assert set(known.by_name) <= set(all_points())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coconut-svsm").write_text("fails a/1 # own\n", encoding="ascii")
    assert set(load_known(Path("coconut-svsm")).by_name) == {"a/1"}
