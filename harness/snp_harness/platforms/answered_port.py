# SPDX-License-Identifier: GPL-2.0-or-later
"""A serial port of the guest whose every byte is a question, and the answers to it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from snp_harness.launch.loop import Loop

#: Questions that are read at once, and bytes of answers that wait for a guest that does not read them.
_RECEIVE = 4096
_WAITING_MAX = 1 << 16


class AnsweredPort:
    """Answers while the loop turns. connection: the harness's end of the port, not blocking.

    answers: returns the answer to a byte, empty for none.
    """

    def __init__(self, connection: socket.socket, answers: Callable[[int], bytes], loop: Loop) -> None:
        self._connection = connection
        self._answers = answers
        self._loop = loop
        self._waiting = b""
        loop.watch(connection, self._readable)

    def _readable(self) -> None:
        try:
            questions = self._connection.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            questions = b""
        if not questions:
            self._loop.forget(self._connection)
            return
        for question in questions:
            # The answers to a guest that only asks are lost.
            if len(self._waiting) < _WAITING_MAX:
                self._waiting += self._answers(question)
        self._send()

    def _send(self) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[self._connection.send(self._waiting) :]
        except BlockingIOError:
            self._loop.watch(self._connection, self._readable, self._send)
            return
        except OSError:
            self._waiting = b""
        self._loop.watch(self._connection, self._readable)
