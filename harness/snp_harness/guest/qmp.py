# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor of a guest that is held."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from snp_harness.guest.guest_errors import GuestTimeoutError
from snp_harness.launch.patience import Patience
from snp_harness.vm.qemu_errors import QemuError, QmpEndedError
from snp_harness.vm.qmp import DEFAULT_TIMEOUT_S, Qmp

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class QmpEvent:
    """An event of QEMU: its name, such as "STOP", and its data."""

    name: str
    data: dict[str, object]


class GuestQmp:
    """Commands and events of QMP, by qemu.qmp."""

    def __init__(self, session: Callable[[], Qmp], ended: Callable[[], Exception | None]) -> None:
        self._session = session
        self._ended = ended

    def execute(self, command: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: object) -> object:
        """Run a command, and return its answer; underscores in argument names become dashes.

        Raises QmpCommandError if QEMU refuses it, QemuTimeoutError, GuestEndedError.
        """
        try:
            return self._session().execute(command, timeout_s, **arguments)
        except QmpEndedError as error:
            raise self._ended() or error from None

    def query(self, command: str, kind: type[_T], *, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: object) -> _T:
        """Run a command as `execute`, and return its answer as `kind`: a type that msgspec converts to.

        Raises QemuError also if the answer is not of that type.
        """
        answer = self.execute(command, timeout_s=timeout_s, **arguments)
        try:
            return msgspec.convert(answer, kind)
        except msgspec.ValidationError as error:
            raise QemuError(f"QEMU answered {command} with something else: {error}", "see its version") from None

    def monitor(self, line: str) -> str:
        """Run a command of the human monitor, such as "info registers", and return what it prints."""
        return str(self.execute("human-monitor-command", command_line=line))

    def wait_event(self, name: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> QmpEvent:
        """Wait for an event of this name, after those that earlier calls have passed, and return it.

        Raises GuestTimeoutError, GuestEndedError.
        """
        patience = Patience(timeout_s)
        try:
            while (step_s := patience.step()) > 0:
                event = self._session().event(step_s)
                if event is not None and event.get("event") == name:
                    return QmpEvent(name, dict(event.get("data") or {}))
        except QmpEndedError as error:
            raise self._ended() or error from None
        raise GuestTimeoutError(f"QEMU sent no event {name} in {timeout_s:g} s", "allow more time")
