# SPDX-License-Identifier: GPL-2.0-or-later
"""Panics of an SVSM on its console, as it prints them, cut off, and hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.svsm.panic import FRAMES_MAX, SvsmPanic, find_panic

COCONUT = """\
[SVSM] Launch Firmware
[SVSM] ERROR: Panic on CPU[0]! COCONUT-SVSM Version: 2026.08
[SVSM] ERROR: Info: panicked at kernel/src/mm/alloc.rs:402:9:
assertion `left == right` failed
  left: 1
 right: 2
[SVSM] ---BACKTRACE---:
[SVSM]   [ffffff8000012345] svsm::mm::alloc::free+0x45
[SVSM]   [ffffff8000054321] @ svsm::requests::request_loop+0x1f
[SVSM]   [ffffff8000000000] @# ??
[SVSM] ---END---
"""
FOUND = SvsmPanic(
    "assertion `left == right` failed left: 1 right: 2, at kernel/src/mm/alloc.rs:402:9",
    (
        "FFFFFF8000012345 svsm::mm::alloc::free+0x45",
        "FFFFFF8000054321 svsm::requests::request_loop+0x1f",
        "FFFFFF8000000000 ??",
    ),
)


def test_coconut() -> None:
    assert find_panic(COCONUT) == FOUND
    assert find_panic(COCONUT.replace("\n", "\r\n")) == FOUND
    assert find_panic(COCONUT.replace("[SVSM] ", "[svsm-init] ")) == FOUND
    assert find_panic(COCONUT.replace("[SVSM] ", "")) == FOUND


def test_the_message_on_the_line_of_the_place() -> None:
    assert find_panic("ERROR: Info: panicked at a.rs:1:2: no memory\n") == SvsmPanic("no memory, at a.rs:1:2")


def test_the_reference_svsm() -> None:
    line = "SVSM: exception 13, error code 0, at offset 1234, CR2 0, RSP 800: ends the guest"
    assert find_panic(f"SVSM: reference SVSM 1\r\n{line}\r\n") == SvsmPanic(
        "exception 13, error code 0, at offset 1234, CR2 0, RSP 800"
    )


def test_the_last_of_several_counts() -> None:
    again = "[SVSM] ERROR: Info: panicked at kernel/src/io.rs:1:1:\nagain\n"
    assert find_panic(COCONUT + again) == SvsmPanic("again, at kernel/src/io.rs:1:1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "thread 'main' panicked at src/main.rs:2:5:\nindex out of bounds\n",
        "Kernel panic - not syncing\n",
        "SVSM: the guest's calling area 800 is not validated\n",
    ],
)
def test_what_is_not_a_panic_of_an_svsm(text: str) -> None:
    assert find_panic(text) is None


@given(st.integers(0, len(COCONUT)))
def test_a_panic_that_is_cut_off_is_one_without_what_is_missing(end: int) -> None:
    found = find_panic(COCONUT[:end])
    if found is not None:
        assert found.text.endswith(", at kernel/src/mm/alloc.rs:402:9")
        whole = [frame.split()[0] for frame in FOUND.frames]
        assert [frame.split()[0] for frame in found.frames] == whole[: len(found.frames)]


@given(st.lists(st.sampled_from(COCONUT.splitlines()) | st.text(max_size=40)))
def test_any_text_is_bounded_and_printable(lines: list[str]) -> None:
    found = find_panic("\n".join(lines))
    if found is not None:
        assert len(found.text) <= 400
        assert len(found.frames) <= FRAMES_MAX
        assert all(text.isprintable() for text in (found.text, *found.frames))


def test_a_backtrace_without_end() -> None:
    frame = "  [ffffff8000012345] f+0x1\n"
    found = find_panic(COCONUT.partition("[SVSM] ---END")[0] + 1000 * frame)
    assert found is not None
    assert len(found.frames) == FRAMES_MAX
