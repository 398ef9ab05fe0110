# SPDX-License-Identifier: GPL-2.0-or-later
"""QMP for synchronous code: qemu.qmp in a thread of its own, while the caller's event loop runs."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError

from snp_harness.launch.loop import Loop
from snp_harness.launch.patience import Patience
from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError, QmpCommandError, QmpEndedError, printable

DEFAULT_TIMEOUT_S = 60.0
#: Seconds for the end of a session after a call timed out.
_END_TIMEOUT_S = 1.0
_WORDS_MAX = 400
# The library also logs the errors that it raises: without a handler they would go to stderr.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
_T = TypeVar("_T")


class Qmp:
    """A QMP session over a connected socket.

    `loop` runs while a command waits for its answer: a QEMU that is blocked on a full pipe would never answer. The
    thread that makes the object turns it; a command of another thread waits while that one does.
    """

    def __init__(self, connection: socket.socket, loop: Loop, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._loop = loop
        self._owner = threading.get_ident()
        self._events = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._events.run_forever, name="qmp", daemon=True)
        self._thread.start()
        self._client = QMPClient("snp-harness")
        try:
            self._call(self._client.connect(connection), "the greeting", timeout_s)
        except BaseException:
            self._stop()
            raise

    @property
    def version(self) -> tuple[int, int, int]:
        """Return QEMU's version in its greeting. Raises QemuError if the greeting has none."""
        greeting = self._client.greeting
        assert greeting is not None
        try:
            found = cast(dict[str, Any], greeting.QMP.version["qemu"])
            major, minor, micro = (int(found[part]) for part in ("major", "minor", "micro"))
        except (KeyError, TypeError, ValueError):
            raise QemuError("QEMU's greeting on its monitor has no version", "see which program it is") from None
        return major, minor, micro

    def execute(self, command: str, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: object) -> object:
        """Run a command; underscores in argument names become dashes. Returns its answer.

        Raises QmpCommandError if QEMU refuses it, QemuTimeoutError, and QemuError if the session has ended.
        """
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        return self._call(self._client.execute(command, given or None), command, timeout_s)

    def event(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next event, in their order; None at the timeout. Raises QmpEndedError."""
        try:
            return dict(self._call(self._client.events.get(), "an event", timeout_s))
        except QemuTimeoutError:
            return None

    def give(self, name: str, fd: int) -> None:
        """Send QEMU a descriptor, which later commands name. The caller closes its own copy."""

        async def send() -> None:
            self._client.send_fd_scm(fd)

        self._call(send(), "a descriptor", DEFAULT_TIMEOUT_S)
        self.execute("getfd", fdname=name)

    def execute_all(self, commands: Sequence[tuple[str, dict[str, object]]]) -> None:
        """Run commands in their order; each is sent before the last is answered. Raises as `execute`.

        This saves a round trip for each command to a QEMU on another host.
        """

        async def run() -> None:
            await asyncio.gather(*(self._client.execute(command, arguments) for command, arguments in commands))

        self._call(run(), commands[0][0], DEFAULT_TIMEOUT_S)

    def close(self) -> None:
        """End the session and the thread. Raises nothing: QEMU may have ended."""
        try:
            self._call(self._client.disconnect(), "the session's end", DEFAULT_TIMEOUT_S)
        except (QemuError, EOFError):
            pass
        finally:
            self._stop()

    def _call(self, coroutine: Coroutine[Any, Any, _T], what: str, timeout_s: float) -> _T:
        future: Future[_T] = asyncio.run_coroutine_threadsafe(coroutine, self._events)
        if not self._wait(future, timeout_s):
            future.cancel()
            raise QemuTimeoutError(f"QEMU's monitor did not answer {what} in {timeout_s:g} s", "see qemu-stderr.log")
        try:
            return future.result()
        except ExecuteError as error:
            raise QmpCommandError(f"QEMU refused the QMP command {what}: {_words(error)}", "see its version") from error
        except ConnectError as error:
            raise QmpEndedError(f"no QMP session: {_words(error)}", "see qemu-stderr.log") from error
        except (QMPError, EOFError, OSError) as error:
            raise QmpEndedError(
                f"the QMP session ended during {what}: {_words(error)}", "see qemu-stderr.log"
            ) from error

    def _wait(self, future: Future[_T], timeout_s: float) -> bool:
        if threading.get_ident() == self._owner:
            future.add_done_callback(lambda _: self._loop.wake())
            return self._loop.run_until(future.done, timeout_s)
        patience = Patience(timeout_s)
        while not future.done() and (step_s := patience.step()) > 0:
            concurrent.futures.wait([future], step_s)
        return future.done()

    def _stop(self) -> None:
        # A task that still waits for an answer would report the end of its loop on stderr.
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_end_tasks(), self._events).result(DEFAULT_TIMEOUT_S)
        self._events.call_soon_threadsafe(self._events.stop)
        self._thread.join(DEFAULT_TIMEOUT_S)
        self._events.close()


async def _end_tasks() -> None:
    """Wait for the end of every other task of the running loop. A cancelled call still closes its connection."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        _, left = await asyncio.wait(others, timeout=_END_TIMEOUT_S)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _words(error: Exception) -> str:
    """Return the message of an error as one printable line: it may quote QEMU."""
    return printable(str(error), _WORDS_MAX)
