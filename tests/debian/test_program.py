# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from snp_harness.debian.program import run
from snp_harness.errors import FetchError


def test_output_and_environment(tmp_path: Path) -> None:
    done = run(
        ("sh", "-c", 'echo "$A $LC_ALL"; pwd; echo "W: no" >&2; echo "E: why." >&2; echo then >&2; exit 3'),
        timeout_s=300,
        env={"A": "a"},
        cwd=tmp_path,
    )
    assert done.status == 3
    assert done.stdout == f"a C.UTF-8\n{tmp_path}\n"
    assert done.last_words == "why"


def test_silent_failure() -> None:
    assert run(("false",), timeout_s=300, env={}).last_words == "exit status 1"


def test_words_are_made_one_printable_line() -> None:
    assert run(("sh", "-c", "printf 'E: a\\033[31mb' >&2; exit 1"), timeout_s=300, env={}).last_words == "a [31mb"


def test_program_that_is_missing() -> None:
    with pytest.raises(FetchError, match="no-such-program is not installed"):
        run(("no-such-program",), timeout_s=300, env={})


def test_timeout_ends_the_children_too() -> None:
    """The error names the program and its last line of output; its children are ended."""
    for timeout_s in (0.5, 60):
        with pytest.raises(FetchError, match=f"sh -c did not end within {timeout_s:g} s; last seen: ") as caught:
            run(("sh", "-c", "sleep 3600 & echo $!; wait"), timeout_s=timeout_s, env={})
        if str(caught.value.message)[-1].isdigit():
            break
        # A machine that was too busy to start the shell.
    child = int(str(caught.value.message).rpartition(" ")[2])
    try:
        descriptor = os.pidfd_open(child)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], 300)[0], "it has been ended"
    finally:
        os.close(descriptor)


def test_input_is_empty() -> None:
    assert run(("cat",), timeout_s=300, env={}).stdout == ""
