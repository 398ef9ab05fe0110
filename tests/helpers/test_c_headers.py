# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.c_headers import assert_same, constants, layout, values

TEXT = """
#include <stdint.h>
enum unused { T_FIRST = 1, T_SECOND = T_FIRST << 4, };
#define T_NUMBER 0x10ull
#define T_EXPRESSION (T_SECOND + 1)
#define T_CALL(a) ((a) + 1)
#ifdef T_NUMBER
#define OTHER 5
#else
#define T_NOT_DEFINED 1
#endif
struct s { uint8_t a; uint32_t b[2]; };
static inline int twice(int n) { return 2 * n; }
"""


@pytest.fixture
def header(tmp_path: Path) -> str:
    path = tmp_path / "t.h"
    path.write_text(TEXT)
    return str(path)


def test_constants_are_enumerators_and_macros_without_parameters(header: str) -> None:
    assert constants(header, "T_") == {"T_FIRST": 1, "T_SECOND": 16, "T_NUMBER": 16, "T_EXPRESSION": 17}
    with pytest.raises(AssertionError, match=r"t\.h has no NOTHING\*"):
        constants(header, "NOTHING")


def test_values_of_expressions(header: str) -> None:
    assert values([header], ["T_CALL(T_FIRST)", "twice(21)", "sizeof(struct s)", "-1"]) == {
        "T_CALL(T_FIRST)": 2,
        "twice(21)": 42,
        "sizeof(struct s)": 12,
        "-1": (1 << 64) - 1,
    }
    assert layout([header], "struct s", ["a", "b", "b[1]"]) == {"a": (0, 1), "b": (4, 8), "b[1]": (8, 4)}


def test_a_difference_fails(header: str) -> None:
    assert_same([header], {"OTHER": 5})
    with pytest.raises(AssertionError, match="T_FIRST: 0x1 in C, 0x2 in Python"):
        assert_same([header], {"OTHER": 5, "T_FIRST": 2})


def test_what_does_not_compile_fails_with_the_compilers_message(header: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="T_NOT_DEFINED"):
        values([header], ["T_NOT_DEFINED"])


def test_without_a_compiler_it_is_skipped(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(pytest.skip.Exception, match="no C compiler"):
        values([header], ["OTHER"])
