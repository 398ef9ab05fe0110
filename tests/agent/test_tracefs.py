# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors where the kernel cannot be traced. Tracing itself is tested on a real kernel: tests/platforms."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.tracefs import PREFIX, TraceInstance, find_root, remove_stale, survey


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Directories like those of tracefs, without a kernel behind them."""
    (tmp_path / "instances").mkdir()
    for name in ("kvm_exit", "kvm_apic"):
        (tmp_path / "events" / "kvm" / name).mkdir(parents=True)
    return tmp_path


def test_the_first_mount_point_that_is_one(root: Path, tmp_path: Path) -> None:
    assert find_root((tmp_path / "none", root)) == root


def test_not_mounted(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="tracefs is not mounted") as caught:
        find_root((tmp_path / "tracing",))
    assert caught.value.kind == "system"
    assert caught.value.hint == f"as root: mount -t tracefs tracefs {tmp_path / 'tracing'}"


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_not_this_users(root: Path, mode: int) -> None:
    for directory in (root, *root.parents):
        if directory != Path(directory.anchor):
            directory.chmod(directory.stat().st_mode | 0o055)
    (root / "instances").chmod(mode)
    facts = as_nobody(lambda: survey(["kvm_exit"], (root,)))
    assert facts["error"] == f"no permission to use tracefs at {root}"
    assert "SNP_HARNESS_SUDO=1" in facts["hint"]


def as_nobody(call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the result of a call by a user without privileges."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(theirs, json.dumps(call()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        answer: dict[str, Any] = json.loads(file.read())
    os.waitpid(pid, 0)
    return answer


def test_survey(root: Path) -> None:
    facts = survey(["kvm_exit", "kvm_apic", "kvm_new"], (root,))
    assert facts == {
        "root": str(root),
        "error": "",
        "hint": "",
        "events": ["kvm_exit", "kvm_apic"],
        "missing": ["kvm_new"],
    }


def test_kvm_is_not_loaded(root: Path) -> None:
    for event in (root / "events" / "kvm").iterdir():
        event.rmdir()
    (root / "events" / "kvm").rmdir()
    facts = survey(["kvm_exit"], (root,))
    assert facts["error"] == "KVM is not loaded: there are no trace events of it"
    assert facts["hint"] == "modprobe kvm_amd or kvm_intel"


def test_an_event_that_is_needed_and_missing(root: Path) -> None:
    with pytest.raises(AgentError, match="no trace event kvm_mmio, kvm_msr"):
        TraceInstance({"kvm_exit": ""}, ("kvm_exit", "kvm_mmio", "kvm_msr"), mount_points=(root,))
    assert list((root / "instances").iterdir()) == []


def test_an_instance_that_cannot_be_set_up_is_removed(root: Path) -> None:
    with pytest.raises(AgentError, match=r"cannot write '0' to .*tracing_on: No such file"):
        TraceInstance({"kvm_exit": ""}, mount_points=(root,))
    assert list((root / "instances").iterdir()) == []


def test_only_instances_of_dead_agents_are_removed(root: Path) -> None:
    # No process can have that number: include/linux/threads.h, PID_MAX_LIMIT.
    names = (f"{PREFIX}{1 + (4 << 20)}-1", f"{PREFIX}{os.getpid()}-1", "other", f"{PREFIX}x-1")
    for name in names:
        (root / "instances" / name).mkdir()
    assert remove_stale(root) == [names[0]]
    assert sorted(path.name for path in (root / "instances").iterdir()) == sorted(names[1:])
