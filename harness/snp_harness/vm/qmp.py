# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's monitor protocol, QMP (QEMU docs/interop/qmp-spec.rst), in the loop of a run.

qemu.qmp is not used: it imports asyncio and ssl, 60 ms of processor time in each run.
"""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any, cast

from snp_harness.launch.loop import Loop
from snp_harness.vm.qemu_errors import QemuError, QemuTimeoutError, QmpCommandError, QmpEndedError, printable

DEFAULT_TIMEOUT_S = 60.0
#: Bytes of a message. QEMU's longest are some 100 KiB.
LIMIT = 10 << 20
_WORDS_MAX = 400
_HINT = "see qemu-stderr.log"


class _SessionError(Exception):
    """What a session has to end for."""


class Qmp:
    """A QMP session over a connected socket, which `close` closes.

    `loop` runs while a command waits for its answer: a QEMU that is blocked on a full pipe would never answer.
    Events are ignored, and so are answers to commands that timed out.
    """

    def __init__(self, connection: socket.socket, loop: Loop, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._connection = connection
        self._loop = loop
        self._received = bytearray()
        self._searched = 0
        self._unsent = bytearray()
        self._greeting: object = None
        self._numbers = itertools.count()
        #: By number: the answers of commands that are waited for; None: not there yet.
        self._answers: dict[object, dict[str, Any] | None] = {}
        self._why_ended: str | None = None
        try:
            connection.setblocking(False)
            loop.watch(connection, self._readable)
            self._wait(lambda: self._greeting is not None, "the greeting", timeout_s)
            self.execute("qmp_capabilities", timeout_s)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise QmpEndedError(f"no QMP session: {error.strerror}", _HINT) from error
            raise

    @property
    def version(self) -> tuple[int, int, int]:
        """Return QEMU's version in its greeting. Raises QemuError if the greeting has none."""
        try:
            found = cast(Any, self._greeting)["version"]["qemu"]
            major, minor, micro = (int(found[part]) for part in ("major", "minor", "micro"))
        except (KeyError, TypeError, ValueError):
            raise QemuError("QEMU's greeting on its monitor has no version", "see which program it is") from None
        return major, minor, micro

    def execute(self, command: str, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: object) -> object:
        """Run a command; underscores in argument names become dashes. Returns its answer.

        Raises QmpCommandError if QEMU refuses it, QemuTimeoutError, and QemuError if the session has ended.
        """
        number = self._send(command, {name.replace("_", "-"): value for name, value in arguments.items()})
        return self._answer(number, command, timeout_s)

    def give(self, name: str, fd: int) -> None:
        """Send QEMU a descriptor, which later commands name. The caller closes its own copy."""
        try:
            # A space between two messages means nothing.
            socket.send_fds(self._connection, [b" "], [fd])
        except OSError as error:
            raise QmpEndedError(f"the QMP session ended during a descriptor: {error.strerror}", _HINT) from error
        self.execute("getfd", fdname=name)

    def execute_all(self, commands: Sequence[tuple[str, dict[str, object]]]) -> None:
        """Run commands in their order; each is sent before the last is answered. Raises as `execute`.

        This saves a round trip for each command to a QEMU on another host.
        """
        numbers = [self._send(command, arguments) for command, arguments in commands]
        for number, (command, _) in zip(numbers, commands, strict=True):
            self._answer(number, command, DEFAULT_TIMEOUT_S)

    def close(self) -> None:
        """End the session, and close the connection."""
        self._end("it was closed")
        self._connection.close()

    def _send(self, command: str, arguments: dict[str, object]) -> int:
        """Send a command, or queue it while the socket is full. Returns the number of its answer."""
        number = next(self._numbers)
        self._answers[number] = None
        message = {"execute": command, "id": number, **({"arguments": arguments} if arguments else {})}
        self._unsent += json.dumps(message).encode() + b"\n"
        self._writable()
        return number

    def _answer(self, number: int, what: str, timeout_s: float) -> object:
        try:
            self._wait(lambda: self._answers[number] is not None, what, timeout_s)
        finally:
            answer = self._answers.pop(number)
        assert answer is not None
        if "return" in answer:
            return answer["return"]
        error = answer["error"]
        words = error.get("desc") if isinstance(error, dict) else error
        raise QmpCommandError(f"QEMU refused the QMP command {what}: {_words(words)}", "see its version")

    def _wait(self, done: Callable[[], bool], what: str, timeout_s: float) -> None:
        if not self._loop.run_until(lambda: done() or self._why_ended is not None, timeout_s):
            raise QemuTimeoutError(f"QEMU's monitor did not answer {what} in {timeout_s:g} s", _HINT)
        if not done():
            raise QmpEndedError(f"the QMP session ended during {what}: {self._why_ended}", _HINT)

    def _readable(self) -> None:
        try:
            data = self._connection.recv(1 << 16)
            if not data:
                raise _SessionError("QEMU closed it")
            self._received += data
            while (end := self._received.find(b"\n", self._searched)) >= 0:
                line = bytes(self._received[:end])
                del self._received[: end + 1]
                self._searched = 0
                self._message(line)
            self._searched = len(self._received)
            if self._searched > LIMIT:
                raise _SessionError(f"a message of more than {LIMIT >> 20} MiB")
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(str(error.strerror))
        except _SessionError as error:
            self._end(str(error))

    def _message(self, line: bytes) -> None:
        """Take a message. Raises _SessionError if a monitor does not send such a thing."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise _SessionError(f"not a message: {_words(line.decode(errors='replace'))}") from None
        if not isinstance(message, dict):
            raise _SessionError("a message that is not an object")
        if self._greeting is None:
            if "QMP" not in message:
                raise _SessionError("it has no greeting")
            self._greeting = message["QMP"] or {}
            return
        number = message.get("id")
        if isinstance(number, int) and number in self._answers and ("return" in message or "error" in message):
            self._answers[number] = message
        elif number is None and "error" in message:
            raise _SessionError(f"QEMU did not understand a command: {_words(message['error'])}")

    def _writable(self) -> None:
        if self._why_ended is not None:
            return
        try:
            del self._unsent[: self._connection.send(self._unsent)]
            self._loop.watch(self._connection, self._readable, self._writable if self._unsent else None)
        except BlockingIOError:
            self._loop.watch(self._connection, self._readable, self._writable)
        except OSError as error:
            self._end(str(error.strerror))

    def _end(self, why: str) -> None:
        if self._why_ended is None:
            self._why_ended = why
            if self._connection.fileno() >= 0:
                self._loop.forget(self._connection)


def _words(said: object) -> str:
    """Return what QEMU said as one printable line."""
    return printable(str(said), _WORDS_MAX)
