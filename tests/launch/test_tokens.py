# SPDX-License-Identifier: GPL-2.0-or-later
"""Tokens in QEMU's arguments."""

from __future__ import annotations

from snp_harness.launch.tokens import FILE, NUMBER, substitute, token


def _value(kind: str, name: str) -> str:
    return "/runs/a,b/host.rom" if kind == FILE else "5"


def test_a_path_is_the_argument() -> None:
    assert substitute(token(FILE, "host.rom"), _value) == "/runs/a,b/host.rom"


def test_commas_of_a_path_in_a_list_of_options_are_doubled() -> None:
    assert substitute(f"if=pflash,file={token(FILE, 'host.rom')}", _value) == "if=pflash,file=/runs/a,,b/host.rom"
    assert substitute(f"socket,fd={token(NUMBER, 'x')}", _value) == "socket,fd=5"
