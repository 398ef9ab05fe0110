# SPDX-License-Identifier: GPL-2.0-or-later
"""A ProxyCommand's words are those that a shell would make of it; what takes a shell is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.errors import UsageError
from snp_harness.hosts.proxy_words import proxy_words


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("nc %h %p", ["nc", "%h", "%p"]),
        ("exec ssh -W [%h]:%p  gw", ["ssh", "-W", "[%h]:%p", "gw"]),
        ("sh -c 'a | b 2>&1; c $x'", ["sh", "-c", "a | b 2>&1; c $x"]),
        ('"/a b/proxy" --name="%h"', ["/a b/proxy", "--name=%h"]),
        (r"a\ b\$c 'it'\''s' " + '"q\\"w\\\\"', ["a b$c", "it's", 'q"w\\']),
        ("nc '' %h", ["nc", "", "%h"]),
        ("a b#c d~", ["a", "b#c", "d~"]),
    ],
)
def test_words(command: str, words: list[str]) -> None:
    assert proxy_words(command, "box") == words


def test_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert proxy_words("~/bin/proxy %h", "box") == [f"{tmp_path}/bin/proxy", "%h"]


@pytest.mark.parametrize(
    "command",
    [
        "nc %h %p 2>/dev/null",
        "a | b",
        "a; b",
        "a && b",
        "a $HOME",
        'a "$HOME"',
        "a `b`",
        'a "`b`"',
        "a *.c",
        "a {b,c}",
        "~other/a",
        "a ~other",
        "a #b",
        "A=1 a",
        "'a",
        '"a',
        "a\\",
        "(a)",
        "a\nb",
        " ",
        "exec",
    ],
)
def test_what_is_for_a_shell(command: str) -> None:
    with pytest.raises(UsageError, match="ProxyCommand for box that cannot be followed") as caught:
        proxy_words(command, "box")
    assert "sh -c" in caught.value.hint


@given(st.text(alphabet="ab '\"\\$`|&;<>()*?[]{}~#!=%\t\n", max_size=12))
def test_a_shell_agrees(command: str) -> None:
    """Whatever is taken, a shell makes the same words of it; where it has none of its own meaning for them."""
    try:
        words = proxy_words(f"printf '<%s>' {command}", "box")
    except UsageError:
        return
    done = subprocess.run(["sh", "-fc", f"printf '<%s>' {command}"], capture_output=True, check=False, cwd="/")
    assert done.stdout.decode() == "".join(f"<{word}>" for word in words[2:]) or words[2:] == []
