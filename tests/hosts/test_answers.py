# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent's answer is accepted if it has the expected type, and rejected otherwise."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snp_harness.hosts.answers import (
    ENTRIES_MAX,
    TEXT_MAX,
    Found,
    Image,
    KvmAnswer,
    Missing,
    Started,
    Traced,
    Tracing,
    Untraced,
    checked,
    shown,
)
from snp_harness.hosts.host_errors import HostError

GOOD: list[tuple[Any, Any]] = [
    (Found, {"path": "/q", "prefix": ["/q"], "status": 0, "stdout": "QEMU", "stderr": "", "newer": 1}),
    (Missing, {"missing": ["a"]}),
    (Started, {"pid": 7, "argv": ["/q", "-S"]}),
    (list[Image], [[0, 0x1000, 0x10], [(1 << 52) - 0x1000, 0xFFFFFFFF, 0xFFFFFFFF]]),
    (KvmAnswer, {"error": "", "hint": "", "modules": ["kvm"], "accelerated": ""}),
    (Tracing, {"root": "/t", "error": "", "hint": "", "events": ["kvm_exit"], "missing": []}),
    (Traced, {"missing": [], "unfiltered": ["kvm_pio"], "clock": "mono"}),
    (Untraced, {"lost": 0, "left": ""}),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(("kind", "value"), GOOD)
def test_what_an_agent_answers(kind: Any, value: Any) -> None:
    taken = checked("box", "x", value, kind)
    if isinstance(value, list):
        assert [[image.base, image.size, image.entry] for image in taken] == value
    else:
        assert all(getattr(taken, key) == entry for key, entry in value.items() if key != "newer")


@pytest.mark.parametrize(("kind", "value"), GOOD)
def test_what_lacks_something(kind: Any, value: Any) -> None:
    lacking = [entry[1:] for entry in value] if isinstance(value, list) else dict(list(value.items())[1:])
    with pytest.raises(HostError, match=r"^box: the answer to x is invalid"):
        checked("box", "x", lacking, kind)


@given(json_values, st.sampled_from([kind for kind, _ in GOOD]))
def test_any_answer_is_taken_or_refused(value: Any, kind: Any) -> None:
    with contextlib.suppress(HostError):
        checked("box", "x", value, kind)


def test_what_is_shown_is_bounded_and_printable() -> None:
    assert shown({"a\n": ["\x1b[2J", 5, None]}) == {"a?": ["?[2J", 5, None]}
    assert len(shown("x" * 10**6)) == TEXT_MAX
    with pytest.raises(ValueError, match="too large"):
        shown([0] * (ENTRIES_MAX + 1))
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="too large"):
        shown(deep)
