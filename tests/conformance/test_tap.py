# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from snp_harness.conformance.tap import END, POINTS_MAX, VERSION, PointStatus, parse

NAMES = st.text(string.ascii_lowercase + string.digits + "-/", min_size=1, max_size=30)
REASONS = st.text(string.ascii_letters + " ", min_size=1, max_size=30)
POINTS = st.lists(
    st.tuples(NAMES, st.sampled_from([s for s in PointStatus if s is not PointStatus.ENDED_THE_RUN]), REASONS),
    min_size=1,
    max_size=30,
    unique_by=lambda point: point[0],
)


def write(points: list[tuple[str, PointStatus, str]]) -> str:
    lines = [VERSION, f"1..{len(points)}", "# a comment"]
    for number, (name, status, reason) in enumerate(points, 1):
        word = "not ok" if status is PointStatus.FAILED else "ok"
        skip = f" # SKIP {reason}" if status is PointStatus.SKIPPED else ""
        lines.append(f"{word} {number} - {name}{skip}")
        if status is PointStatus.FAILED:
            lines += ["  ---", f'  message: "{reason}"', "  got: 0x10", "  ..."]
    return "\n".join([*lines, f"# {END}", ""])


@given(POINTS)
def test_what_is_written_is_read(points: list[tuple[str, PointStatus, str]]) -> None:
    report = parse("noise before\n" + write(points))
    assert report.complete, report.defects
    assert [(point.name, point.status) for point in report.points] == [point[:2] for point in points]
    for point, (_, status, reason) in zip(report.points, points, strict=True):
        assert point.reason == (reason if status is PointStatus.SKIPPED else "")
        assert dict(point.diagnostic).get("message", reason) == reason


@given(POINTS, st.data())
def test_a_part_is_never_complete(points: list[tuple[str, PointStatus, str]], data: st.DataObject) -> None:
    text = write(points)
    cut = data.draw(st.integers(0, len(text) - len(END) - 3))
    assert not parse(text[:cut]).complete


@given(POINTS, st.data())
def test_a_lost_line_is_noticed(points: list[tuple[str, PointStatus, str]], data: st.DataObject) -> None:
    lines = write(points).splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    left = lines[:at] + lines[at + 1 :]
    harmless = lines[at] == "# a comment" or lines[at].startswith("  message") or lines[at].startswith("  got")
    assert parse("\n".join(left)).complete == harmless


def test_the_point_that_has_begun() -> None:
    begun = f"{VERSION}\n1..2\n# begin a\nok 1 - a\n# begin b\n"
    assert parse(begun).begun == "b"
    assert parse(begun + "ok 2 - b\n").begun == ""
    assert parse(begun + "ok 2 - c\n").defects[0].startswith("b has no result: ")


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert not parse(text).complete
    report = parse(f"{VERSION}\n{text}")
    assert len(report.points) <= POINTS_MAX


@given(
    st.lists(st.sampled_from([VERSION, "1..1", "1..2", "ok 1 - a", "not ok 1 - a", "  ---", "  got: 1", "  ...", ""]))
)
def test_any_lines_are_read(lines: list[str]) -> None:
    assert not parse("\n".join(lines)).complete


def test_a_guest_that_bails_out() -> None:
    report = parse(f"{VERSION}\n1..1\nok 1 - a\n# {END}\nBail out! a page of the SVSM could be accessed\n")
    assert report.defects == ("the guest bailed out: a page of the SVSM could be accessed",)


def test_what_follows_the_end_is_refused() -> None:
    assert not parse(f"{VERSION}\n1..1\nok 1 - a\n# {END}\nok 2 - b\n").complete


def test_no_points_prove_nothing() -> None:
    assert not parse(f"{VERSION}\n1..0\n# {END}\n").complete
