# SPDX-License-Identifier: GPL-2.0-or-later
"""A monitor with invalid answers: QEMU may run on another machine, and is not trusted."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from snp_harness.launch.loop import Loop
from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError, QmpCommandError
from snp_harness.vm.qmp import Qmp

VERSION = {"qemu": {"major": 9, "minor": 2, "micro": 1}, "package": ""}

#: Starts a monitor that greets with a version and answers each command with the given reply; returns the near end.
Monitor = Callable[..., socket.socket]


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    near, far = socket.socketpair()

    def start(version: object = VERSION, **answer: object) -> socket.socket:
        def serve() -> None:
            greeting = {"QMP": {"version": version, "capabilities": []}}
            with far, contextlib.suppress(OSError):
                far.sendall(json.dumps(greeting).encode() + b"\n")
                # A request does not end with a newline.
                while data := far.recv(1 << 16):
                    request = json.loads(data)
                    reply = {"return": {}} if request["execute"] == "qmp_capabilities" else answer
                    # The first one has no ID.
                    named = {"id": request["id"]} if "id" in request else {}
                    far.sendall(json.dumps({**reply, **named}).encode() + b"\n")

        threading.Thread(target=serve, daemon=True).start()
        return near

    yield start
    near.close()


def test_a_monitor_that_is_one(monitor: Monitor) -> None:
    qmp = Qmp(monitor(**{"return": {"status": "running"}}), Loop())
    assert qmp.version == (9, 2, 1)
    assert qmp.execute("query-status") == {"status": "running"}
    qmp.close()


@pytest.mark.parametrize("version", [{}, {"qemu": {}}, {"qemu": {"major": "x", "minor": 2, "micro": 1}}, {"qemu": [1]}])
def test_a_version_that_is_none(version: object, monitor: Monitor) -> None:
    qmp = Qmp(monitor(version), Loop())
    with pytest.raises(QemuError, match="greeting"):
        _ = qmp.version
    qmp.close()


def test_what_it_says_does_not_drive_the_terminal(monitor: Monitor) -> None:
    evil = "\x1b[2J\n" + "A" * 5000
    qmp = Qmp(monitor(error={"class": "GenericError", "desc": evil}), Loop())
    with pytest.raises(QmpCommandError) as caught:
        qmp.execute("query-status")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    qmp.close()


def test_one_that_never_answers_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(QemuTimeoutError, match=r"the greeting in 0\.01 s"):
        Qmp(near, Loop(), timeout_s=0.01)
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_one_that_falls_silent_leaves_nothing_behind(monitor: Monitor, caplog: pytest.LogCaptureFixture) -> None:
    qmp = Qmp(monitor(event="STOP", timestamp={"seconds": 0, "microseconds": 0}), Loop())
    with pytest.raises(QemuTimeoutError, match=r"query-status in 0\.01 s"):
        qmp.execute("query-status", timeout_s=0.01)
    qmp.close()
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []
