# SPDX-License-Identifier: GPL-2.0-or-later
"""The near end of the wire to an agent: requests and their answers, events, and streams as local sockets.

A thread of its own serves the byte stream, so that the connection is kept alive whatever the caller does, and several
runs can use it. Streams end in socket pairs: consoles, QMP and witnesses read them as they read QEMU's own.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, TypeVar

from snp_harness.agent import frames
from snp_harness.agent.mux import CLOSED, Mux, Port
from snp_harness.errors import HarnessError
from snp_harness.hosts.answers import checked
from snp_harness.hosts.host_errors import HostLostError, HostTimeoutError, from_agent
from snp_harness.launch.loop import Loop
from snp_harness.launch.patience import Patience, Silence

#: Seconds that an agent may take to answer where the caller names no other time. One that is gone is lost before.
ANSWER_S = 120.0
#: Seconds between two pings, and of silence after which the other side counts as gone, on either side.
PING_S = 5.0
PATIENCE_S = 30.0
#: Seconds that the agent may take to clean up, and the thread to end after it.
_END_S = 20.0
_THREAD_S = 60.0
_Kind = TypeVar("_Kind")
_log = logging.getLogger(__name__)


class Link:
    """A connection to an agent.

    name: of the host. explain: makes the error of a connection that is lost, given why, in words. shut: closes the byte
    stream. error: why it is lost, None while it is not. All methods are for any thread.
    """

    def __init__(
        self, name: str, port: Port, first: bytes, explain: Callable[[str], HarnessError], shut: Callable[[], None]
    ) -> None:
        self.name = name
        self.error: HarnessError | None = None
        self._explain = explain
        self._shut = shut
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._listeners: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._exited: set[str] = set()
        self._numbers = itertools.count(1)
        self._runs = itertools.count(1)
        self._streams = itertools.cycle(range(1, frames.STREAM_MAX + 1))
        self._ending = False
        self._closing = False
        self._over = threading.Event()
        self._greeting = frames.GreetingFinder()
        self._loop = Loop()
        self._mux = Mux(port, self._loop, self._control, lambda _: None, self._lost, self._greeting)
        self._silence = Silence()
        self._mux.send(first)
        self._loop.later(PING_S, self._ping)
        self._thread = threading.Thread(target=self._serve, name=f"link-{name}", daemon=True)
        self._thread.start()

    def ask(self, operation: str, **fields: object) -> Future[Any]:
        """Send a request. The future gives its answer, or raises HarnessError."""
        return self._send(None, operation, fields)

    def put(self, digest: str, content: bytes) -> Future[Any]:
        """Send a content for the store."""
        return self._send(content, "put", {"sha256": digest, "size": len(content)})

    def result(self, future: Future[Any], what: str, timeout_s: float | None = None) -> Any:
        """Wait for the answer of `ask`. Raises what the agent answered, HostTimeoutError, HostLostError."""
        timeout_s = ANSWER_S if timeout_s is None else timeout_s
        patience = Patience(timeout_s)
        while (step_s := patience.step()) > 0:
            with contextlib.suppress(FutureTimeoutError):
                return future.result(step_s)
        silent = time.monotonic() - self._mux.received_at
        raise HostTimeoutError(
            f"{self.name}: no answer to {what} in {timeout_s:g} s, the last sign of it is {silent:.0f} s old",
            "see the host's load and the network",
        )

    def call(self, operation: str, timeout_s: float | None = None, **fields: object) -> Any:
        """`ask`, and wait for the answer."""
        return self.result(self.ask(operation, **fields), operation, timeout_s)

    def take(self, operation: str, kind: type[_Kind], timeout_s: float | None = None, **fields: object) -> _Kind:
        """`call` whose answer is used: checked. Raises HostError if it is not of that kind."""
        return checked(self.name, operation, self.call(operation, timeout_s, **fields), kind)

    def new_run(self, listener: Callable[[dict[str, Any]], None]) -> str:
        """A name for a run. listener: given its events, and {"event": "lost"}, in the link's thread."""
        name = f"r{next(self._runs)}"
        with self._lock:
            self._listeners[name] = listener
        return name

    def end_run(self, name: str) -> None:
        """No more events of that run."""
        with self._lock:
            self._listeners.pop(name, None)
            self._exited.discard(name)

    def stream(self, finished: Callable[[int], None], *, reads: bool = True) -> tuple[int, socket.socket]:
        """A new stream's number and its local end, which is the caller's. reads: what is written to it goes there.

        finished: called with the number, in the link's thread, when all that comes from there can be read.
        """
        ours, theirs = socket.socketpair()
        with self._lock:
            number = next(number for number in self._streams if number not in self._mux.streams)
        self._loop.soon(lambda: self._open(number, theirs, reads, finished))
        return number, ours

    def drop(self, numbers: list[int]) -> None:
        """Close streams, whatever is under way; returns when it is done."""
        done = threading.Event()

        def close() -> None:
            for number in numbers:
                stream = self._mux.streams.get(number)
                if stream is not None:
                    stream.close()
            done.set()

        self._soon(close)
        done.wait(_THREAD_S)

    def close(self) -> None:
        """End the connection, once the agent has cleaned up if it still can. Never raises."""
        self._ending = True
        if self.error is None:
            self.ask("bye")
            patience = Patience(_END_S)
            while (step_s := patience.step()) > 0 and not self._over.wait(step_s):
                continue
        self._closing = True
        self._loop.wake()
        self._thread.join(_THREAD_S)
        if not self._thread.is_alive():
            self._loop.close()

    def _soon(self, call: Callable[[], None]) -> None:
        if self._thread.is_alive():
            self._loop.soon(call)
        else:
            call()

    def _send(self, content: bytes | None, operation: str, fields: dict[str, object]) -> Future[Any]:
        future: Future[Any] = Future()
        number = next(self._numbers)
        frame = frames.encode_control({"id": number, "op": operation, **fields})
        with self._lock:
            if self.error is not None:
                future.set_exception(self.error)
                return future
            self._waiting[number] = future

        def send() -> None:
            self._mux.send(frame)
            if content is not None:
                self._mux.send(frames.encode(frames.BLOB, 0, content))

        self._soon(send)
        return future

    def _open(self, number: int, theirs: socket.socket, reads: bool, finished: Callable[[int], None]) -> None:
        if self.error is not None:
            theirs.close()
        else:
            self._mux.open(number, theirs, reads=reads).on_finished = lambda: finished(number)

    def _serve(self) -> None:
        try:
            self._mux.flush()
            while not self._closing and self.error is None:
                self._loop.turn()
            # Those that use its streams close them, when they know that it is lost.
            while not self._closing:
                self._loop.turn()
        except Exception as error:
            _log.exception("the link to %s failed", self.name)
            self._lost(f"the harness failed, {type(error).__name__}: {error}")
        finally:
            self._lost(CLOSED)
            self._mux.close()
            self._shut()

    def _control(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._event(message)
            return
        number = message.get("id")
        if not isinstance(number, int):
            return
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is None:
            return
        if isinstance(message.get("error"), dict):
            future.set_exception(from_agent(self.name, message["error"]))
        else:
            future.set_result(message.get("ok"))

    def _event(self, message: dict[str, Any]) -> None:
        """The one event that an agent tells, once for each run: its process has ended."""
        run, status = str(message.get("run")), message.get("status")
        if message["event"] != "exit" or type(status) is not int:
            return
        with self._lock:
            listener = self._listeners.get(run) if run not in self._exited else None
            if listener is not None:
                self._exited.add(run)
        if listener is not None:
            listener({"event": "exit", "run": run, "status": status})

    def _ping(self) -> None:
        if self.error is not None:
            return
        silent_s = self._silence.seconds(self._mux.received_at, PING_S)
        if silent_s > PATIENCE_S:
            self._lost(f"nothing came for {silent_s:.0f} s")
            return
        self._mux.send(frames.encode(frames.PING, 0))
        self._loop.later(PING_S, self._ping)

    def _lost(self, why: str) -> None:
        with self._lock:
            if self.error is not None:
                return
            chatter = self._greeting.seen.decode(errors="replace").strip() if not self._greeting.found else ""
            said = f"; it said: {chatter[-200:]!a}" if chatter else ""
            self.error = HostLostError("the connection was closed") if self._ending else self._explain(why + said)
            waiting, self._waiting = list(self._waiting.values()), {}
            listeners = list(self._listeners.values())
        self._over.set()
        for future in waiting:
            future.set_exception(self.error)
        for listener in listeners:
            listener({"event": "lost"})
