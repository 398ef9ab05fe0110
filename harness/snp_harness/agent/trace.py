# SPDX-License-Identifier: GPL-2.0-or-later
"""Sends KVM's trace events of a run's QEMU as a stream of lines (tracefs.py).

kvm                             test whether KVM runs a guest here: see kvm_probe.py
tracing  events: [names]        which events can be recorded here: see tracefs.survey
trace    run, stream            record the events of the run's process from now on, and send them
         events                 {name: filter of its fields, "" for none}; events that the kernel lacks are ignored
         required               [names]; it is an error if the kernel lacks one
         buffer_kb              of each processor; null: chosen for the host
         interval_s             between two reads while there are events
         -> {"missing", "unfiltered", "clock"}
filter   run, event, filter     change the filter of a recorded event
untrace  run                    stop, send the rest and the stream's end, remove the instance
         -> {"lost": number of lost events, "left": why the instance remains, or ""}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snp_harness.agent.agent_errors import AgentError
from snp_harness.agent.kvm_probe import kvm_facts
from snp_harness.agent.mux import Stream
from snp_harness.agent.tracefs import TraceInstance, survey
from snp_harness.launch.loop import Loop, Timer

if TYPE_CHECKING:
    from snp_harness.agent.__main__ import Agent

#: Bytes sent at once.
BATCH = 128 << 10


class TraceForwarder:
    """Sends the events that one instance records."""

    def __init__(self, loop: Loop, stream: Stream, instance: TraceInstance, interval_s: float) -> None:
        self._loop = loop
        self._interval_s = interval_s
        self._stream = stream
        self._instance = instance
        self._timer: Timer | None = None
        self._done: Callable[[], None] | None = None
        self._broken = False
        stream.on_credit = self._look
        self._watch(True)

    def finish(self, done: Callable[[], None]) -> None:
        """Stop recording, send the rest, then call `done`. Raises AgentError."""
        self._instance.stop()
        self._done = done
        self._look()

    def close(self) -> str:
        """Remove the instance and discard its events. Return "", or the reason if it could not be removed."""
        if self._instance.fileno() >= 0:
            self._watch(False)
        self._stream.on_credit = None
        return self._instance.close()

    def lost(self) -> int:
        """Return the number of lost events so far. Raises AgentError."""
        return self._instance.lost()

    def filter(self, event: str, rule: str) -> None:
        """Change the filter of an event. Raises AgentError."""
        self._instance.filter(event, rule)

    def end(self) -> None:
        """Send the end of the stream."""
        self._stream.end()

    def _watch(self, on: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop.watch(self._instance.fileno(), self._look if on else None)

    def _look(self) -> None:
        """Send the recorded events, as far as the credit allows, and schedule the next look."""
        self._watch(False)
        while self._stream.credit > 0:
            try:
                data = self._instance.read(min(BATCH, self._stream.credit))
            except AgentError:
                # The early end of the stream reports the failure; the run continues.
                self._broken = True
                self._stream.end()
                data = b""
            if data:
                self._stream.send(data)
            elif self._broken and self._done is None:
                self._stream.on_credit = None
                return
            elif self._done is not None:
                self._stream.on_credit = None
                self._done()
                return
            else:
                self._timer = self._loop.later(self._interval_s, lambda: self._watch(True))
                return


class Traces:
    """The traces of one agent's runs."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._traces: dict[str, TraceForwarder] = {}
        agent.on_end.append(self._end)
        agent.ops.update(
            {
                "kvm": lambda _: kvm_facts(),
                "tracing": lambda request: survey([str(name) for name in request["events"]]),
                "trace": self._trace,
                "filter": self._filter,
                "untrace": self._untrace,
            }
        )

    def _trace(self, request: dict[str, Any]) -> dict[str, Any]:
        run = str(request["run"])
        pid = self._agent.runs.pid(run)
        if pid is None or run in self._traces:
            raise AgentError("usage", f"the run {run} cannot be traced: it has no process, or is traced")
        events = {str(name): str(rule) for name, rule in request["events"].items()}
        size = request.get("buffer_kb")
        required = [str(name) for name in request["required"]]
        instance = TraceInstance(events, required, None if size is None else int(size))
        try:
            instance.follow(pid)
            instance.start()
            stream = self._agent.mux.open(int(request["stream"]), None, writes=False)
            interval_s = float(request["interval_s"])
            self._traces[run] = TraceForwarder(self._agent.loop, stream, instance, interval_s)
        except BaseException:
            instance.close()
            raise
        return {
            "missing": list(instance.missing),
            "unfiltered": list(instance.unfiltered),
            "clock": instance.clock,
        }

    def _filter(self, request: dict[str, Any]) -> None:
        self._trace_of(request).filter(str(request["event"]), str(request["filter"]))

    def _trace_of(self, request: dict[str, Any]) -> TraceForwarder:
        trace = self._traces.get(str(request["run"]))
        if trace is None:
            raise AgentError("usage", f"the run {request['run']!a} is not traced")
        return trace

    def _untrace(self, request: dict[str, Any]) -> object:
        trace = self._trace_of(request)
        trace.finish(lambda: self._agent.answer(int(request["id"]), lambda: self._finished(str(request["run"]))))
        return self._agent.LATER

    def _finished(self, run: str) -> dict[str, Any]:
        """Return the answer to `untrace`, after all events were sent. Raises AgentError."""
        trace = self._traces.pop(run)
        try:
            lost = trace.lost()
        finally:
            trace.end()
            left = trace.close()
        return {"lost": lost, "left": left}

    def _end(self) -> None:
        for trace in self._traces.values():
            trace.close()
        self._traces.clear()
