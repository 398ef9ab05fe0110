# SPDX-License-Identifier: GPL-2.0-or-later
"""The near end of the wire to an agent: requests and their answers, events, and streams as local sockets.

A separate thread serves the byte stream: the connection stays alive while the caller is busy, and several runs can use
it. Streams end in socket pairs: consoles, QMP and witnesses read them like the sockets of a local QEMU.
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
#: Seconds between two pings, and seconds without data after which either side treats the other as lost.
PING_S = 5.0
PATIENCE_S = 30.0
#: Timeouts of the agent's cleanup, and of the thread's end after it, seconds.
_END_S = 20.0
_THREAD_S = 60.0
_Kind = TypeVar("_Kind")
_log = logging.getLogger(__name__)


class Link:
    """A connection to an agent.

    name: of the host. first: bytes to send before the first frame. explain: makes the error of a lost connection from
    its reason, a text. shut: closes the byte stream. error: None until the connection is lost. Every method may be
    called from any thread.
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
        """Send a request. The future returns the answer's value, or raises HarnessError."""
        return self._send(None, operation, fields)

    def put(self, digest: str, content: bytes) -> Future[Any]:
        """Send a content for the store. digest: its SHA-256, in hexadecimal. The future is as for `ask`."""
        return self._send(content, "put", {"sha256": digest, "size": len(content)})

    def result(self, future: Future[Any], what: str, timeout_s: float | None = None) -> Any:
        """Wait for the answer to `ask` and return it. what: for the message of a timeout.

        Raises the error that the agent answered, HostTimeoutError, HostLostError.
        """
        timeout_s = ANSWER_S if timeout_s is None else timeout_s
        patience = Patience(timeout_s)
        while (step_s := patience.step()) > 0:
            with contextlib.suppress(FutureTimeoutError):
                return future.result(step_s)
        silent = time.monotonic() - self._mux.received_at
        raise HostTimeoutError(
            f"{self.name}: no answer to {what} in {timeout_s:g} s, nothing received for {silent:.0f} s",
            "check the host's load and the network",
        )

    def call(self, operation: str, timeout_s: float | None = None, **fields: object) -> Any:
        """Send a request and return its answer. Raises as `result` does."""
        return self.result(self.ask(operation, **fields), operation, timeout_s)

    def take(self, operation: str, kind: type[_Kind], timeout_s: float | None = None, **fields: object) -> _Kind:
        """Send a request and return its answer as a `kind`.

        Raises as `result` does, and HostError if the answer is not one.
        """
        return checked(self.name, operation, self.call(operation, timeout_s, **fields), kind)

    def new_run(self, listener: Callable[[dict[str, Any]], None]) -> str:
        """Return a name for a run. listener: called with its events and {"event": "lost"}, in the link's thread."""
        name = f"r{next(self._runs)}"
        with self._lock:
            self._listeners[name] = listener
        return name

    def end_run(self, name: str) -> None:
        """Stop calling the listener of that run."""
        with self._lock:
            self._listeners.pop(name, None)
            self._exited.discard(name)

    def stream(self, finished: Callable[[int], None], *, reads: bool = True) -> tuple[int, socket.socket]:
        """Open a stream; return its number and its local end, which the caller closes.

        reads: data written to the local end is sent to the agent. finished: called with the number, in the link's
        thread, when all data from the agent can be read from the local end.
        """
        ours, theirs = socket.socketpair()
        with self._lock:
            number = next(number for number in self._streams if number not in self._mux.streams)
        self._loop.soon(lambda: self._open(number, theirs, reads, finished))
        return number, ours

    def drop(self, numbers: list[int]) -> None:
        """Close streams at once and discard their pending data. Returns when they are closed."""
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
        """Close the connection after the agent has cleaned up, if it still answers. Never raises."""
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
            # The users of the streams close them after they are notified that the connection is lost.
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
        """Handle the one event that an agent sends, once for each run: its process has ended."""
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
            self._lost(f"nothing was received for {silent_s:.0f} s")
            return
        self._mux.send(frames.encode(frames.PING, 0))
        self._loop.later(PING_S, self._ping)

    def _lost(self, why: str) -> None:
        with self._lock:
            if self.error is not None:
                return
            chatter = self._greeting.seen.decode(errors="replace").strip() if not self._greeting.found else ""
            said = f"; it wrote: {chatter[-200:]!a}" if chatter else ""
            self.error = HostLostError("the connection was closed") if self._ending else self._explain(why + said)
            waiting, self._waiting = list(self._waiting.values()), {}
            listeners = list(self._listeners.values())
        self._over.set()
        for future in waiting:
            future.set_exception(self.error)
        for listener in listeners:
            listener({"event": "lost"})
