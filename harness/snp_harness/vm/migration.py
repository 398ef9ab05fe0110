# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a machine as QEMU's migration stream: saved from one QEMU, loaded into another.

The stream passes through a pipe, whose descriptor QEMU gets by its monitor: `fd:` is what all versions have, and for a
file newer ones have another name.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import cast

from snp_harness.errors import HarnessError
from snp_harness.launch.patience import Patience
from snp_harness.vm.machine_base import MachineBase
from snp_harness.vm.qemu_errors import (
    QemuError,
    QemuExitError,
    QemuTimeoutError,
    QmpEndedError,
    printable,
    telling_line,
)

_DESCRIPTOR = "state"
_READ = 1 << 20
_STEP_S = 0.02
_WORDS = 400
#: Bytes a second; QEMU's default is meant for a network that others use, too.
_BANDWIDTH = 1 << 40
#: Seconds until a failed migration has ended.
_END_S = 30.0


class MigrationError(QemuError):
    """QEMU cannot save or load the state of a machine; the message has its reason."""


def save(machine: MachineBase, take: Callable[[bytes], None], most: int, timeout_s: float) -> None:
    """Save the state of a stopped machine. take: called with the parts of the stream, which has at most `most` bytes.

    Raises MigrationError, QemuTimeoutError, and what `take` raises. The machine can go on in each case.
    """
    size, ended = 0, False
    read_fd, write_fd = os.pipe()

    def readable() -> None:
        nonlocal size, ended
        data = os.read(read_fd, _READ)
        size += len(data)
        if not data:
            ended = True
            machine.loop.forget(read_fd)
        elif size > most:
            raise MigrationError(f"the state of the machine has more than {most >> 20} MiB", "use another QEMU")
        else:
            take(data)

    machine.loop.watch(read_fd, readable)
    try:
        try:
            machine.qmp.give(_DESCRIPTOR, write_fd)
        finally:
            os.close(write_fd)
        machine.qmp.execute("migrate-set-parameters", max_bandwidth=_BANDWIDTH)
        machine.qmp.execute("migrate", uri=f"fd:{_DESCRIPTOR}")
        _until(machine, "query-migrate", _is_saved, "save the state", timeout_s)
        if not machine.loop.run_until(lambda: ended, timeout_s):
            raise QemuTimeoutError("the state that QEMU saves has no end", "use another QEMU")
    except BaseException:
        machine.loop.forget(read_fd)
        os.close(read_fd)
        read_fd = -1
        # Without a reader it fails; a machine cannot go on before that.
        with contextlib.suppress(HarnessError):
            _until(machine, "query-migrate", lambda answer: "status" not in answer or _is_saved(answer), "stop", _END_S)
        raise
    finally:
        if read_fd >= 0:
            machine.loop.forget(read_fd)
            os.close(read_fd)


def load(machine: MachineBase, parts: Iterable[bytes], timeout_s: float) -> None:
    """Load the state into a machine that was started with -S and -incoming defer; it is stopped afterwards.

    parts: of the stream, iterated in another thread. Raises MigrationError, QemuTimeoutError.
    """
    read_fd, write_fd = os.pipe()
    try:
        machine.qmp.give(_DESCRIPTOR, read_fd)
    except BaseException:
        os.close(write_fd)
        raise
    finally:
        os.close(read_fd)
    # A pipe holds less than the state.
    threading.Thread(target=_write, args=(write_fd, parts), name="state", daemon=True).start()
    try:
        machine.qmp.execute("migrate-incoming", uri=f"fd:{_DESCRIPTOR}")
        _until(machine, "query-status", lambda answer: answer.get("status") != "inmigrate", "load the state", timeout_s)
    except (QmpEndedError, QemuExitError) as error:
        machine.explain(error)
        why = telling_line(machine.stderr_tail()) or error.message
        raise MigrationError(f"QEMU cannot load the state: {why}", "see its stderr") from None


def _is_saved(answer: dict[str, object]) -> bool:
    return answer.get("status") == "completed"


def _until(
    machine: MachineBase, command: str, done: Callable[[dict[str, object]], bool], what: str, timeout_s: float
) -> None:
    """Run a command until its answer is the one that is waited for. Raises MigrationError, QemuTimeoutError."""
    patience = Patience(timeout_s)
    while True:
        machine.raise_if_ended()
        answer = cast("dict[str, object]", machine.qmp.execute(command))
        if done(answer):
            return
        if answer.get("status") in ("failed", "cancelled"):
            why = printable(str(answer.get("error-desc", "it gives no reason")), _WORDS)
            raise MigrationError(f"QEMU cannot {what}: {why}", "see its stderr")
        if patience.step() <= 0:
            raise QemuTimeoutError(f"QEMU did not {what} in {timeout_s:g} s: it says {answer}", "see its stderr")
        machine.loop.turn(_STEP_S)


def _write(fd: int, parts: Iterable[bytes]) -> None:
    try:
        for part in parts:
            while part:
                part = part[os.write(fd, part) :]
    except OSError:
        # QEMU has ended, and says why; or the file cannot be read, and QEMU says that it ends too early.
        return
    finally:
        os.close(fd)
