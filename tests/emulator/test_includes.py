# SPDX-License-Identifier: GPL-2.0-or-later
"""The halves of the emulator meet at one header, and includes make no circle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emulator.includes import ALLOWED, DOOR, graph, problems, reachable
from tests.emulator.native import EMULATOR


def test_the_emulator_keeps_the_rules() -> None:
    assert problems(EMULATOR) == []


def test_the_rules_see_every_source() -> None:
    sources = {path.relative_to(EMULATOR).as_posix() for path in EMULATOR.rglob("*.c") if "build" not in path.parts}
    assert sources < set(graph(EMULATOR))
    assert DOOR in reachable(graph(EMULATOR), "hypervisor/main.c")


def test_the_hypervisor_reaches_guest_memory_in_few_places() -> None:
    """Pointers to guest memory come from memory.c: shared pages, and pages that are not the guest's yet."""
    sources = {path.name: path.read_text() for path in (EMULATOR / "hypervisor").glob("*.c")}
    assert {name for name, text in sources.items() if "PHYSICAL_WINDOW" in text} == {"memory.c"}
    assert {name for name, text in sources.items() if "memory_launch(" in text} == {"memory.c", "launch.c"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small emulator that keeps the rules."""
    for directory in ALLOWED:
        (tmp_path / directory).mkdir()
    (tmp_path / "include" / "vmsa.h").write_text("struct vmsa;\n")
    (tmp_path / "common" / "log.h").write_text("")
    (tmp_path / "hardware" / "hw.h").write_text('#include "log.h"\n')
    (tmp_path / "hardware" / "cpu.h").write_text('#include "hw.h"\n#include "vmsa.h"\n')
    (tmp_path / "hardware" / "run.c").write_text('#include "cpu.h"\n')
    (tmp_path / "hypervisor" / "vcpu.h").write_text('#include "hardware/hw.h"\n')
    (tmp_path / "hypervisor" / "exit.c").write_text('#include "vcpu.h"\n')
    assert problems(tmp_path) == []
    return tmp_path


@pytest.mark.parametrize(
    ("path", "line", "problem"),
    [
        ("hypervisor/exit.c", '#include "vmsa.h"', "hypervisor/exit.c sees include/vmsa.h"),
        ("hardware/hw.h", '#include "vmsa.h"', "hypervisor/vcpu.h sees include/vmsa.h"),
        ("hypervisor/exit.c", '#include "hardware/cpu.h"', "hypervisor/exit.c includes hardware/cpu.h"),
        ("hypervisor/exit.c", '  # include "../hardware/cpu.h"', "hypervisor/exit.c includes hardware/cpu.h"),
        ("hardware/run.c", '#include "hypervisor/vcpu.h"', "hardware/run.c includes hypervisor/vcpu.h"),
        ("common/log.h", '#include "hardware/hw.h"', "common/log.h includes hardware/hw.h"),
        ("include/vmsa.h", '#include "common/log.h"', "include/vmsa.h includes common/log.h"),
        ("hardware/run.c", '#include "gone.h"', "hardware/run.c includes gone.h, which is nowhere"),
    ],
)
def test_a_forbidden_include_is_found(tree: Path, path: str, line: str, problem: str) -> None:
    source = tree / path
    source.write_text(f"{source.read_text()}{line}\n")
    assert problem in problems(tree)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"a.h": "b.h"}, {"b.h": "a.h"}, id="headers"),
        pytest.param({"a.h": "", "a.c": "b.h"}, {"b.h": "", "b.c": "a.h"}, id="sources"),
    ],
)
def test_a_circle_is_found(tree: Path, first: dict[str, str], second: dict[str, str]) -> None:
    for name, included in (first | second).items():
        (tree / "hypervisor" / name).write_text(f'#include "{included}"\n' if included else "")
    (problem,) = problems(tree)
    assert problem.startswith("a circle: ")
