# SPDX-License-Identifier: GPL-2.0-or-later
"""What the C compiler knows of headers of this repository: values of expressions, and names of constants.

Headers are named by their paths from the repository's root. Answers are kept for the session. A test that needs them is
skipped without a C compiler, and fails with the compiler's message when the headers do not compile.
"""

from __future__ import annotations

import enum
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: The headers that several programs share.
INCLUDE = "harness/emulator/include"
#: Where headers look for others that are not beside them.
_EMULATOR = ROOT / "harness" / "emulator"
_DIRECTORIES = (ROOT, ROOT / INCLUDE, ROOT / "guests" / "lib", _EMULATOR, _EMULATOR / "common")
_FLAGS = ("-std=gnu11", *(f"-I{directory}" for directory in _DIRECTORIES))
_TIMEOUT_S = 60


def values(headers: Iterable[str], expressions: Iterable[str]) -> dict[str, int]:
    """The values of C expressions such as "SIZE", "offsetof(struct s, field)" or a call of a function of a header.

    Each is converted to an unsigned number of 64 bits.
    """
    names = tuple(dict.fromkeys(expressions))
    return dict(zip(names, _values(tuple(headers), names), strict=True))


def constants(header: str, prefix: str) -> dict[str, int]:
    """Every enumerator, and every macro without parameters, whose name starts with `prefix`: its name and value."""
    found = values([header], [name for name in _names(header) if name.startswith(prefix)])
    assert found, f"{header} has no {prefix}*"
    return found


def layout(headers: Iterable[str], struct: str, fields: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Offset and size in bytes of fields of a type such as "struct record"."""
    names = list(fields)
    offsets = [f"offsetof({struct}, {name})" for name in names]
    sizes = [f"sizeof((({struct} *)0)->{name})" for name in names]
    found = values(headers, [*offsets, *sizes])
    return {name: (found[at], found[size]) for name, at, size in zip(names, offsets, sizes, strict=True)}


def members(numbers: type[enum.IntEnum] | type[enum.IntFlag], form: str = "{}") -> dict[str, int]:
    """An enumeration's members and aliases as a header may have them. form: the name in C, such as "PREFIX_{}"."""
    return {form.format(name): int(member) for name, member in numbers.__members__.items()}


def assert_same(headers: Iterable[str], expected: Mapping[str, int]) -> None:
    """Each C expression has the value that Python has for it."""
    found = values(headers, expected)
    wrong = [
        f"{name}: {found[name]:#x} in C, {value:#x} in Python"
        for name, value in expected.items()
        if found[name] != value
    ]
    assert not wrong, "\n".join(wrong)


@functools.cache
def _values(headers: tuple[str, ...], expressions: tuple[str, ...]) -> tuple[int, ...]:
    lines = [f'printf("%llu\\n", (unsigned long long)({expression}));' for expression in expressions]
    source = "\n".join(
        [
            "#include <stddef.h>",
            "#include <stdio.h>",
            *(f'#include "{header}"' for header in headers),
            "int main(void) {",
            *lines,
            "}",
        ]
    )
    with tempfile.TemporaryDirectory(prefix="c-headers-") as directory:
        program = Path(directory) / "values"
        # Functions that nothing calls are left out: a source file among the headers may use what others define.
        _compile(source, "-ffunction-sections", "-Wl,--gc-sections", "-o", str(program))
        done = subprocess.run([program], check=True, timeout=_TIMEOUT_S, capture_output=True, text=True)
    return tuple(int(line) for line in done.stdout.splitlines())


@functools.cache
def _names(header: str) -> tuple[str, ...]:
    """The names of the constants of a header and of what it includes: gcc writes them as declarations of Go."""
    with tempfile.TemporaryDirectory(prefix="c-headers-") as directory:
        dump = Path(directory) / "names.go"
        debug = ("-g", "-fno-eliminate-unused-debug-types")  # else enumerations that are not used are left out
        _compile(f'#include "{header}"', "-S", *debug, f"-fdump-go-spec={dump}", "-o", os.devnull)
        lines = dump.read_text(encoding="utf-8").splitlines()
    return tuple(
        line.removeprefix(start).split()[0]
        for start in ("const _", "// unknowndefine ")  # a value that Go can write, and another expression
        for line in lines
        if line.startswith(start)
    )


def _compile(source: str, *options: str) -> None:
    compiler = shutil.which(os.environ.get("CC", "gcc"))
    if compiler is None:
        pytest.skip("no C compiler (install gcc)")
    command = [compiler, *_FLAGS, "-x", "c", "-", *options]
    done = subprocess.run(
        command, input=source, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, cwd=ROOT
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr}", pytrace=False)
